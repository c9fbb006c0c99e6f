//! The second factor: set up, proved, taken away (RFC 6238).
//!
//! A code counts once: the step of the last one is a record that is written with the session's event, so that of
//! two requests with the same code, on whichever nodes, one is refused (RFC 6238 §5.2).

use std::fmt;

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SessionRefusal;
use super::digest::{base64url, sha256};
use super::recovery_code::{hash, new_codes};
use super::session::{live_session, settings};
use super::totp::{Authenticator, STEP_S};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, Reads, Versioned};
use crate::ids::{Id, SessionId, UserId};
use crate::model::{ACR_TWO_FACTORS, Authentication, METHOD_OTP};
use crate::proposal::RecordKind;
use crate::streams::StreamRef;
use crate::streams::session::{Session, decide_reauthenticate};
use crate::streams::user::{
    User, decide_enrol, decide_recover, decide_remove, decide_replace_recovery_codes, field, locked_until,
};

/// How long the last step is kept: longer than its code could count.
const STEP_KEPT_MS: u64 = 20 * STEP_S * 1_000;

/// Why a step with a second factor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecondFactorRefusal {
    /// The session is over, or not this user's.
    #[error("the session is over")]
    SessionOver,
    /// No such user, or one who may not act.
    #[error("the user may not do this")]
    UserRefused,
    /// There is one already.
    #[error("the user has a second factor")]
    Present,
    /// There is none.
    #[error("the user has no second factor")]
    Absent,
    /// The code is wrong, or was used.
    #[error("the code does not count")]
    WrongCode,
    /// Too many wrong ones.
    #[error("the user is locked until {}", .0.0)]
    LockedUntil(Timestamp),
}

type Decided<R> = Result<Decision<R>, DecideError<SecondFactorRefusal>>;

fn refused(refusal: SecondFactorRefusal) -> DecideError<SecondFactorRefusal> {
    DecideError::Refused(refusal)
}

/// The step of the last code of a user that counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LastStep {
    step: u64,
}

fn step_key(user: UserId) -> [u8; 32] {
    sha256(&user.bytes())
}

/// What a person shows.
#[derive(Clone, PartialEq, Eq)]
pub enum SecondFactorProof {
    /// What their authenticator shows.
    Code(Zeroizing<String>),
    /// A recovery code.
    Recovery(Zeroizing<String>),
}

/// Sets up an authenticator that shows a right code; the session has two factors by it.
#[derive(Clone)]
pub struct EnrolTotp {
    /// In which session.
    pub session: SessionId,
    /// The secret, base32.
    pub secret: Zeroizing<String>,
    /// What the authenticator shows.
    pub code: Zeroizing<String>,
}

impl fmt::Debug for EnrolTotp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolTotp").field("session", &self.session).finish_non_exhaustive()
    }
}

/// What is shown once after that.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolledTotp {
    /// Recovery codes.
    pub recovery_codes: Vec<String>,
    /// The session's new secret.
    pub session_secret: String,
}

impl Command for EnrolTotp {
    type Reply = EnrolledTotp;
    type Refusal = SecondFactorRefusal;
    const NAME: &'static str = "user.totp.enrol";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<EnrolledTotp> {
        let (session, user) = present(reads, self.session)?;
        let id = session.state.user;
        let (recovery_codes, hashes) = new_codes(id, fresh);
        let event = decide_enrol(&user.state, &self.secret, hashes);
        let event = event.ok_or(refused(SecondFactorRefusal::Present))?;
        let authenticator =
            Authenticator::from_text(&self.secret).ok_or(refused(SecondFactorRefusal::WrongCode))?;
        let step = authenticator.step_of(&self.code, fresh.at().seconds());
        let step = step.ok_or(refused(SecondFactorRefusal::WrongCode))?;
        let mut draft = Draft::new();
        draft.append::<User>(id, user.version, event);
        note_step(&mut draft, id, step, fresh.at());
        let session_secret = authenticate(&mut draft, self.session, &session, &user.state, fresh)?;
        Ok(Decision::Propose(draft, EnrolledTotp { recovery_codes, session_secret }))
    }
}

/// A second factor in a session that has a first; the session's secret changes with it.
#[derive(Clone)]
pub struct ProveSecondFactor {
    /// Which session.
    pub session: SessionId,
    /// What was shown.
    pub proof: SecondFactorProof,
}

impl fmt::Debug for ProveSecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProveSecondFactor").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Command for ProveSecondFactor {
    type Reply = String;
    type Refusal = SecondFactorRefusal;
    const NAME: &'static str = "session.second_factor";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<String> {
        let (session, user) = present(reads, self.session)?;
        let id = session.state.user;
        if let Some(until) = locked_until(&user.state, fresh.at()) {
            return Err(refused(SecondFactorRefusal::LockedUntil(until)));
        }
        let factor = user.state.second_factor().ok_or(refused(SecondFactorRefusal::Absent))?;
        let wrong = || refused(SecondFactorRefusal::WrongCode);
        let mut draft = Draft::new();
        draft.about(id);
        match &self.proof {
            SecondFactorProof::Code(code) => {
                let secret = reads.open(StreamRef::of::<User>(id), field::TOTP, &factor.totp)?;
                let authenticator = Authenticator::from_text(&secret).ok_or_else(wrong)?;
                let step = authenticator.step_of(code, fresh.at().seconds()).ok_or_else(wrong)?;
                let last = reads.record::<LastStep>(RecordKind::TotpStep, step_key(id))?;
                if last.is_some_and(|last| last.body.step >= step) {
                    return Err(wrong());
                }
                note_step(&mut draft, id, step, fresh.at());
            }
            SecondFactorProof::Recovery(code) => {
                let event = decide_recover(&user.state, &hash(id, code)).ok_or_else(wrong)?;
                draft.append::<User>(id, user.version, event);
            }
        }
        let secret = authenticate(&mut draft, self.session, &session, &user.state, fresh)?;
        Ok(Decision::Propose(draft, secret))
    }
}

/// The session and its user, if both count.
fn present(
    reads: &mut Reads<'_>,
    id: SessionId,
) -> Result<(Versioned<Session>, Versioned<User>), DecideError<SecondFactorRefusal>> {
    let over = || refused(SecondFactorRefusal::SessionOver);
    let settings = settings(reads)?;
    let (session, _) = live_session(reads, id, &settings)?.ok_or_else(over)?;
    let user = reads.stream::<User>(session.state.user)?.ok_or_else(over)?;
    Ok((session, user))
}

fn note_step(draft: &mut Draft, user: UserId, step: u64, now: Timestamp) {
    let until = now.plus_ms(STEP_KEPT_MS);
    draft.put_record(RecordKind::TotpStep, step_key(user), &LastStep { step }, until);
}

/// The session has a second factor from here on, and another secret.
fn authenticate(
    draft: &mut Draft,
    id: SessionId,
    session: &Versioned<Session>,
    user: &User,
    fresh: &mut Fresh,
) -> Result<String, DecideError<SecondFactorRefusal>> {
    let secret = base64url(fresh.secret().as_slice());
    let authentication =
        Authentication { method: METHOD_OTP.to_owned(), at: fresh.at(), acr: ACR_TWO_FACTORS.to_owned() };
    let hash = sha256(secret.as_bytes());
    let event =
        decide_reauthenticate(&session.state, Some(user), &authentication, hash).map_err(|refusal| {
            match refusal {
                SessionRefusal::Over | SessionRefusal::NotFound => refused(SecondFactorRefusal::SessionOver),
                SessionRefusal::UserRefused => refused(SecondFactorRefusal::UserRefused),
            }
        })?;
    draft.append::<Session>(id, session.version, event);
    Ok(secret)
}

/// Takes a user's second factor away.
#[derive(Clone, Debug)]
pub struct RemoveSecondFactor {
    /// Whose.
    pub user: UserId,
}

impl Command for RemoveSecondFactor {
    type Reply = ();
    type Refusal = SecondFactorRefusal;
    const NAME: &'static str = "user.second_factor.remove";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let user = reads.stream::<User>(self.user)?.ok_or(refused(SecondFactorRefusal::Absent))?;
        let event = decide_remove(&user.state).ok_or(refused(SecondFactorRefusal::Absent))?;
        let mut draft = Draft::new();
        draft.append::<User>(self.user, user.version, event);
        Ok(Decision::Propose(draft, ()))
    }
}

/// Other recovery codes in place of those there are.
#[derive(Clone, Debug)]
pub struct ReplaceRecoveryCodes {
    /// Whose.
    pub user: UserId,
}

impl Command for ReplaceRecoveryCodes {
    type Reply = Vec<String>;
    type Refusal = SecondFactorRefusal;
    const NAME: &'static str = "user.recovery_codes.replace";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Vec<String>> {
        let user = reads.stream::<User>(self.user)?.ok_or(refused(SecondFactorRefusal::Absent))?;
        let (codes, hashes) = new_codes(self.user, fresh);
        let event = decide_replace_recovery_codes(&user.state, hashes);
        let event = event.ok_or(refused(SecondFactorRefusal::Absent))?;
        let mut draft = Draft::new();
        draft.append::<User>(self.user, user.version, event);
        Ok(Decision::Propose(draft, codes))
    }
}
