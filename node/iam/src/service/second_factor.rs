//! Second factors. Wrong codes are counted as wrong passwords are, and fewer of them lock the account: who can try
//! them has the password already.

use std::time::Duration;

use zeroize::Zeroizing;

use super::Iam;
use super::failures::{Account, Consequence};
use super::route::{read_failed, step_of, with_reply};
use crate::commands::{
    EnrolTotp, LockUser, NewSession, ProveSecondFactor, RemoveSecondFactor, ReplaceRecoveryCodes,
    SECRET_BYTES, SecondFactorProof, SecondFactorRefusal, secret_text, sha256,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{Id, SessionId, TenantId, UserId};
use crate::model::{SessionView, TenantSettings};

type Outcome<T> = Result<Written<T>, ExecuteError<SecondFactorRefusal>>;

/// Wrong codes in a row before the account is locked: of a million codes three count at a time.
const ATTEMPTS_MAX: u32 = 5;

impl Iam {
    /// A secret for a new authenticator, base32. Nothing is kept: who shows it keeps it, sealed, until a code
    /// proves that an authenticator has it.
    #[must_use]
    pub fn new_totp_secret(&self) -> Zeroizing<String> {
        let mut random = Zeroizing::new([0; SECRET_BYTES]);
        self.inner.clock.fill_random(random.as_mut_slice());
        secret_text(*random)
    }

    /// Sets up an authenticator, and counts its code as the session's second factor. Gives recovery codes, which are
    /// in this answer and in none after it.
    ///
    /// # Errors
    /// [`SecondFactorRefusal`].
    pub async fn enrol_totp(
        &self,
        ctx: &RequestContext,
        session: SessionId,
        secret: Zeroizing<String>,
        code: Zeroizing<String>,
    ) -> Outcome<(NewSession, Vec<String>)> {
        let written = self.run(ctx, &EnrolTotp { session, secret, code }).await?;
        let enrolled = written.reply.clone();
        let view = self.session_with(ctx.tenant, session)?;
        let session = NewSession { view, secret: enrolled.session_secret };
        Ok(with_reply(&written, (session, enrolled.recovery_codes)))
    }

    /// A second factor in `session`; its cookie's secret changes. Too many wrong ones lock the account, on all
    /// nodes.
    ///
    /// # Errors
    /// [`SecondFactorRefusal`].
    pub async fn prove_second_factor(
        &self,
        ctx: &RequestContext,
        session: &SessionView,
        settings: &TenantSettings,
        proof: SecondFactorProof,
    ) -> Outcome<NewSession> {
        let account = tries_of(session.user);
        let now = self.inner.clock.monotonic();
        if let Some(left) = self.inner.failures.locked_for(ctx.tenant, &account, now) {
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let until = self.inner.clock.now().plus_ms(left_ms);
            return Err(ExecuteError::Refused(SecondFactorRefusal::LockedUntil(until)));
        }
        match self.run(ctx, &ProveSecondFactor { session: session.id, proof }).await {
            Ok(written) => {
                self.inner.failures.forget(ctx.tenant, &account);
                let view = self.session_with(ctx.tenant, session.id)?;
                Ok(with_reply(&written, NewSession { view, secret: written.reply.clone() }))
            }
            Err(ExecuteError::Refused(SecondFactorRefusal::WrongCode)) => {
                self.count_wrong_code(ctx, account, session.user, settings).await;
                Err(ExecuteError::Refused(SecondFactorRefusal::WrongCode))
            }
            Err(other) => Err(other),
        }
    }

    async fn count_wrong_code(
        &self,
        ctx: &RequestContext,
        account: Account,
        user: UserId,
        settings: &TenantSettings,
    ) {
        let lock_for = Duration::from_millis(settings.lockout_ms);
        let attempts = settings.lockout_attempts.min(ATTEMPTS_MAX);
        let now = self.inner.clock.monotonic();
        let consequence = self.inner.failures.wrong(ctx.tenant, account, now, attempts, lock_for);
        if matches!(consequence, Consequence::Locked { replicate: true }) {
            let command = LockUser { id: user, for_ms: settings.lockout_ms };
            if let Err(error) = self.run(&step_of(ctx, ctx.tenant, "lock"), &command).await {
                tracing::warn!(tenant = %ctx.tenant, %error, "a lock-out is known to this node only");
            }
        }
    }

    /// Takes a user's second factor away; sessions and tokens stay.
    ///
    /// # Errors
    /// [`SecondFactorRefusal::Absent`].
    pub async fn remove_second_factor(&self, ctx: &RequestContext, user: UserId) -> Outcome<()> {
        self.run(ctx, &RemoveSecondFactor { user }).await
    }

    /// Other recovery codes; those before count no more.
    ///
    /// # Errors
    /// [`SecondFactorRefusal::Absent`].
    pub async fn replace_recovery_codes(&self, ctx: &RequestContext, user: UserId) -> Outcome<Vec<String>> {
        self.run(ctx, &ReplaceRecoveryCodes { user }).await
    }

    fn session_with(
        &self,
        tenant: TenantId,
        id: SessionId,
    ) -> Result<SessionView, ExecuteError<SecondFactorRefusal>> {
        let session =
            self.local_view(tenant).and_then(|view| view.live_session(id)).map_err(|e| read_failed(&e))?;
        session.map(|(session, _)| session).ok_or(ExecuteError::Refused(SecondFactorRefusal::SessionOver))
    }
}

/// A user's codes in the table of wrong passwords.
fn tries_of(user: UserId) -> Account {
    sha256(&[b"second factor".as_slice(), &user.bytes()].concat())
}
