//! Password logins.

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::Timestamp;

use super::Iam;
use super::failures::{Account, Consequence};
use super::route::step_of;
use crate::blind::normalise;
use crate::commands::{AuthenticatedUser, LockUser, LoginRefusal, PlainPassword, RehashPassword, sha256};
use crate::execute::RequestContext;
use crate::ids::{Id, TenantId, UserId};
use crate::model::{ACR_PASSWORD, Authentication, TenantSettings};
use crate::password::{HashingFault, PASSWORD_BYTES_MAX};
use crate::personal::Personal;
use crate::proposal::ClaimKind;
use crate::query::{Consistency, QueryError, View};
use crate::streams::user::{User, field, locked_until};
use crate::streams::{StreamKind, StreamRef};

impl From<HashingFault> for LoginRefusal {
    fn from(fault: HashingFault) -> Self {
        match fault {
            HashingFault::Busy { retry_after_s } => Self::Busy { retry_after_s },
            HashingFault::Failed => Self::Unavailable(fault.to_string()),
        }
    }
}

fn unavailable(error: QueryError) -> LoginRefusal {
    match error {
        QueryError::Fault(text) => LoginRefusal::Unavailable(text),
        QueryError::NotLeader { .. }
        | QueryError::Elsewhere { .. }
        | QueryError::Unavailable { .. }
        | QueryError::UnknownTenant
        | QueryError::InvalidPageToken
        | QueryError::ForeignToken
        | QueryError::Erased => LoginRefusal::Unavailable(error.to_string()),
    }
}

/// A user found by login, with the stored hash.
struct Found {
    id: UserId,
    user: Arc<User>,
    hash: Option<(Personal, String)>,
}

impl Iam {
    /// Checks a password. `login` is a username or an e-mail address; an unknown one costs the same
    /// hash and is locked alike. A lock is told only for the name it was brought about with; a user whose
    /// other name is locked is refused as if the password were wrong. A hash of another kind or of lower cost is replaced on success.
    ///
    /// # Errors
    /// [`LoginRefusal`].
    pub async fn authenticate_password(
        &self,
        ctx: &RequestContext,
        login: &str,
        password: &PlainPassword,
    ) -> Result<AuthenticatedUser, LoginRefusal> {
        let view = self.view(ctx.tenant, &Consistency::Linearizable).await.map_err(unavailable)?;
        let settings = view.tenant_state().map_err(unavailable)?.map(|(_, tenant)| tenant.settings.clone());
        let settings = settings.unwrap_or_default();
        let found = find(&view, login).map_err(unavailable)?;
        let account = account_key(login);
        if let Some(until) = self.locked(ctx.tenant, &account, view.now) {
            return Err(LoginRefusal::LockedUntil(until));
        }
        let hash = found.as_ref().and_then(|found| found.hash.as_ref()).map(|(_, hash)| hash.clone());
        // Longer ones were never accepted; hashing a megabyte would cost more than it should.
        let too_long = password.text().len() > PASSWORD_BYTES_MAX;
        let cut = PlainPassword::new("");
        let checked = self.inner.hasher.verify(if too_long { &cut } else { password }, hash).await?;
        match found {
            Some(found) if checked.matches && !too_long && may_log_in(&found.user, view.now) => {
                self.inner.failures.forget(ctx.tenant, &account);
                if checked.outdated {
                    self.rehash(ctx, &found, password).await;
                }
                // As of the state that the password was checked against, before the hashing: what is set
                // meanwhile voids it. Later than what that state voids, whatever this node's clock says.
                let at = view.now.max(found.user.not_before.plus_ms(1));
                Ok(password_proved(found.id, at))
            }
            found => {
                self.count_failure(ctx, account, found.map(|found| found.id), &settings).await;
                Err(LoginRefusal::BadCredentials)
            }
        }
    }

    fn locked(&self, tenant: TenantId, account: &Account, now: Timestamp) -> Option<Timestamp> {
        let left = self.inner.failures.locked_for(tenant, account, self.inner.clock.monotonic())?;
        Some(now.plus_ms(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Forgets the wrong passwords of a user's names, after a new password. Best effort: a lock that
    /// stays runs out.
    pub(super) fn forget_failures(&self, tenant: TenantId, id: UserId) {
        let user = self.local_view(tenant).and_then(|view| view.user_view(id));
        let Ok(Some(user)) = user else { return };
        for name in std::iter::once(&user.username).chain(&user.email) {
            self.inner.failures.forget(tenant, &account_key(name));
        }
    }

    /// Best effort: the login stands without it.
    async fn rehash(&self, ctx: &RequestContext, found: &Found, password: &PlainPassword) {
        let Some((checked, _)) = &found.hash else { return };
        let Ok(hash) = self.inner.hasher.hash(password).await else { return };
        let command = RehashPassword { id: found.id, hash, checked: checked.clone() };
        if let Err(error) = self.run(&step_of(ctx, ctx.tenant, "rehash"), &command).await {
            tracing::warn!(tenant = %ctx.tenant, %error, "a password hash was not renewed");
        }
    }

    async fn count_failure(
        &self,
        ctx: &RequestContext,
        account: Account,
        user: Option<UserId>,
        settings: &TenantSettings,
    ) {
        let lock_for = Duration::from_millis(settings.lockout_ms);
        let now = self.inner.clock.monotonic();
        let (failures, attempts) = (&self.inner.failures, settings.lockout_attempts);
        let consequence = failures.wrong(ctx.tenant, account, now, attempts, lock_for);
        if let (Consequence::Locked { replicate: true }, Some(id)) = (consequence, user) {
            let command = LockUser { id, for_ms: settings.lockout_ms };
            if let Err(error) = self.run(&step_of(ctx, ctx.tenant, "lock"), &command).await {
                tracing::warn!(tenant = %ctx.tenant, %error, "a lock-out is known to this node only");
            }
        }
    }

    /// The user with this login name or e-mail address.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn find_user(
        &self,
        tenant: TenantId,
        login: &str,
        consistency: &Consistency,
    ) -> Result<Option<UserId>, QueryError> {
        find_id(&self.view(tenant, consistency).await?, login)
    }
}

/// What a password proves that was right, or was set, at `at`.
pub(super) fn password_proved(user: UserId, at: Timestamp) -> AuthenticatedUser {
    let authentication = Authentication { method: "pwd".to_owned(), at, acr: ACR_PASSWORD.to_owned() };
    AuthenticatedUser { user, authentication }
}

fn find_id(view: &View, login: &str) -> Result<Option<UserId>, QueryError> {
    let mut owner = view.claim(ClaimKind::LoginName, login)?;
    if owner.is_none() {
        owner = view.claim(ClaimKind::Email, login)?;
    }
    Ok(owner.filter(|owner| owner.kind == StreamKind::User).map(|owner| UserId::from_bytes(owner.id)))
}

fn find(view: &View, login: &str) -> Result<Option<Found>, QueryError> {
    let Some(id) = find_id(view, login)? else { return Ok(None) };
    let Some((_, user)) = view.stream::<User>(id)? else { return Ok(None) };
    let sealed = user.person.as_ref().and_then(|person| person.password.clone());
    let hash = match sealed {
        Some(sealed) => {
            let opened = view.open(StreamRef::of::<User>(id), field::PASSWORD, &sealed)?;
            opened.map(|text| (sealed, text.as_str().to_owned()))
        }
        None => None,
    };
    Ok(Some(Found { id, user, hash }))
}

/// Not while locked, by whatever name: the others' locks are known from the user's state alone.
fn may_log_in(user: &User, now: Timestamp) -> bool {
    user.is_usable() && locked_until(user, now).is_none()
}

/// A typed name in the table of wrong passwords, in the form that finds a user by it.
fn account_key(login: &str) -> Account {
    let kind = if login.contains('@') { ClaimKind::Email } else { ClaimKind::LoginName };
    let name = normalise(kind, login)
        .map_or_else(|_| login.chars().take(256).collect(), |name| name.as_str().to_owned());
    sha256(name.as_bytes())
}
