//! Login sessions.

use std::sync::Arc;

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::SessionRefusal;
use super::digest::{base64url, sha256};
use super::logout::announce;
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads, Versioned};
use crate::ids::{Id, SessionId, UserId};
use crate::model::{Authentication, TenantSettings};
use crate::proposal::RecordKind;
use crate::streams::session::{
    Session, SessionEndReason, decide_end, decide_reauthenticate, decide_start, is_live,
};
use crate::streams::tenant::Tenant;
use crate::streams::user::User;

type Decided<R> = Result<Decision<R>, DecideError<SessionRefusal>>;

/// Writes of "last used" are at least so far apart.
const TOUCH_MS: u64 = 60_000;

/// When a session was last used; a record, since it is no audit fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionUse {
    /// Log time.
    pub at: Timestamp,
}

/// The record key of what belongs to a session.
pub(crate) fn session_use_key(id: SessionId) -> [u8; 32] {
    sha256(&id.bytes())
}

/// The tenant's settings, as a dependency of the decision.
pub(super) fn settings(reads: &mut Reads<'_>) -> Result<TenantSettings, ReadFault> {
    let tenant = reads.tenant();
    Ok(reads.stream::<Tenant>(tenant)?.map(|tenant| tenant.state.settings.clone()).unwrap_or_default())
}

/// When the session was last used, as far as recorded.
pub(super) fn last_seen(reads: &mut Reads<'_>, id: SessionId) -> Result<Option<Timestamp>, ReadFault> {
    let row = reads.record::<SessionUse>(RecordKind::SessionUse, session_use_key(id))?;
    Ok(row.map(|row| row.body.at))
}

/// A session with its user.
type SessionOf = (Versioned<Session>, Arc<User>);

/// A session that counts at the time of this decision.
pub(super) fn live_session(
    reads: &mut Reads<'_>,
    id: SessionId,
    settings: &TenantSettings,
) -> Result<Option<SessionOf>, ReadFault> {
    let Some(session) = reads.stream::<Session>(id)? else { return Ok(None) };
    let Some(user) = reads.stream::<User>(session.state.user)? else { return Ok(None) };
    let seen = last_seen(reads, id)?;
    let live = is_live(&session.state, &user.state, seen, reads.at(), settings);
    Ok(live.then_some((session, user.state)))
}

/// Notes the use in `draft` if the last note is old enough. True if it did.
pub(super) fn touch(
    reads: &mut Reads<'_>,
    draft: &mut Draft,
    id: SessionId,
    session: &Session,
    settings: &TenantSettings,
) -> Result<bool, ReadFault> {
    let now = reads.at();
    let noted = last_seen(reads, id)?.unwrap_or_default().max(session.renewed_at);
    let due = now.since_ms(noted) >= TOUCH_MS.min(settings.session_idle_ms / 10);
    if due {
        draft.put_record(
            RecordKind::SessionUse,
            session_use_key(id),
            &SessionUse { at: now },
            session.expires_at,
        );
    }
    Ok(due)
}

/// A login.
#[derive(Clone, Debug)]
pub struct StartSession {
    /// Who.
    pub user: UserId,
    /// How.
    pub authentication: Authentication,
    /// The session of this browser that ends with it.
    pub replaces: Option<SessionId>,
}

impl Command for StartSession {
    type Reply = (SessionId, String);
    type Refusal = SessionRefusal;
    const NAME: &'static str = "session.start";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Self::Reply> {
        let settings = settings(reads)?;
        let user = reads.stream::<User>(self.user)?;
        let secret = base64url(fresh.secret().as_slice());
        let event = decide_start(
            self.user,
            user.as_ref().map(|user| &*user.state),
            &self.authentication,
            sha256(secret.as_bytes()),
            self.replaces,
            fresh.at().plus_ms(settings.session_absolute_ms),
        )
        .map_err(DecideError::Refused)?;
        let id: SessionId = fresh.id();
        let mut draft = Draft::new();
        draft.about(self.user);
        draft.append::<Session>(id, 0, event);
        if let Some(old) = self.replaces
            && let Some(session) = reads.stream::<Session>(old)?
            && let Some(event) = decide_end(&session.state, SessionEndReason::Replaced)
        {
            draft.append::<Session>(old, session.version, event);
            announce(reads, &mut draft, old, &session.state)?;
        }
        Ok(Decision::Propose(draft, (id, secret)))
    }
}

/// A further authentication in a session; the secret changes with it.
#[derive(Clone, Debug)]
pub struct ReauthenticateSession {
    /// Which.
    pub id: SessionId,
    /// How.
    pub authentication: Authentication,
}

impl Command for ReauthenticateSession {
    type Reply = String;
    type Refusal = SessionRefusal;
    const NAME: &'static str = "session.reauthenticate";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<String> {
        let session =
            reads.stream::<Session>(self.id)?.ok_or(DecideError::Refused(SessionRefusal::NotFound))?;
        let settings = settings(reads)?;
        let seen = last_seen(reads, self.id)?;
        let idle_expires_at = session.state.idle_expires_at(seen, settings.session_idle_ms);
        // A session that a password change voided may be renewed by the new password; one that ended may not.
        if session.state.is_over(fresh.at(), idle_expires_at) {
            return Err(DecideError::Refused(SessionRefusal::Over));
        }
        let user = reads.stream::<User>(session.state.user)?.map(|user| user.state);
        let secret = base64url(fresh.secret().as_slice());
        let (proof, hash) = (&self.authentication, sha256(secret.as_bytes()));
        let event = decide_reauthenticate(&session.state, user.as_deref(), proof, hash)
            .map_err(DecideError::Refused)?;
        let mut draft = Draft::new();
        draft.about(session.state.user);
        draft.append::<Session>(self.id, session.version, event);
        Ok(Decision::Propose(draft, secret))
    }
}

/// Notes that a session was used, coarsely.
#[derive(Clone, Debug)]
pub struct TouchSession {
    /// Which.
    pub id: SessionId,
}

impl Command for TouchSession {
    type Reply = ();
    type Refusal = SessionRefusal;
    const NAME: &'static str = "session.touch";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let settings = settings(reads)?;
        let Some((session, _)) = live_session(reads, self.id, &settings)? else {
            return Err(DecideError::Refused(SessionRefusal::Over));
        };
        let mut draft = Draft::new();
        draft.about(session.state.user);
        let due = touch(reads, &mut draft, self.id, &session.state, &settings)?;
        Ok(if due { Decision::Propose(draft, ()) } else { Decision::Answer(()) })
    }
}

/// The end of a session.
#[derive(Clone, Debug)]
pub struct EndSession {
    /// Which.
    pub id: SessionId,
    /// Why.
    pub reason: SessionEndReason,
}

impl Command for EndSession {
    type Reply = ();
    type Refusal = SessionRefusal;
    const NAME: &'static str = "session.end";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let session =
            reads.stream::<Session>(self.id)?.ok_or(DecideError::Refused(SessionRefusal::NotFound))?;
        let Some(event) = decide_end(&session.state, self.reason) else { return Ok(Decision::Answer(())) };
        let mut draft = Draft::new();
        draft.about(session.state.user);
        draft.append::<Session>(self.id, session.version, event);
        announce(reads, &mut draft, self.id, &session.state)?;
        Ok(Decision::Propose(draft, ()))
    }
}
