//! What may be done to a session.

use domicile_raft::Timestamp;

use super::event::{
    SessionClientJoined, SessionEndReason, SessionEnded, SessionEvent, SessionReauthenticated, SessionStarted,
};
use super::state::Session;
use crate::commands::SessionRefusal;
use crate::ids::{ClientId, SessionId, UserId};
use crate::model::{Authentication, METHOD_OTP, TenantSettings};
use crate::streams::user::User;

/// Logins in one session at most; with second factors, twice as many proofs.
const PROOFS_MAX: usize = 100;

/// Whether the session counts: not over, and its user may act and has not changed the password
/// since the last authentication.
pub fn is_live(
    session: &Session,
    user: &User,
    last_seen: Option<Timestamp>,
    now: Timestamp,
    settings: &TenantSettings,
) -> bool {
    let idle_expires_at = session.idle_expires_at(last_seen, settings.session_idle_ms);
    !session.is_over(now, idle_expires_at) && user.is_usable() && session.authenticated_at() > user.not_before
}

/// A login. `authentication` must be newer than what voids the user's sessions.
///
/// # Errors
/// [`SessionRefusal::UserRefused`].
pub fn decide_start(
    id: UserId,
    user: Option<&User>,
    authentication: &Authentication,
    secret_sha256: [u8; 32],
    replaces: Option<SessionId>,
    expires_at: Timestamp,
) -> Result<SessionEvent, SessionRefusal> {
    check_user(user, authentication)?;
    Ok(SessionEvent::Started(SessionStarted {
        user: id,
        authentications: vec![authentication.clone()],
        secret_sha256,
        replaces,
        expires_at,
    }))
}

/// A further authentication of the session's user. A session that has many is not added to: whoever logs in gets
/// another, so that no state grows for as long as somebody logs in.
///
/// # Errors
/// [`SessionRefusal::UserRefused`]; [`SessionRefusal::Over`] for a session of 100 logins.
pub fn decide_reauthenticate(
    session: &Session,
    user: Option<&User>,
    authentication: &Authentication,
    secret_sha256: [u8; 32],
) -> Result<SessionEvent, SessionRefusal> {
    // A second factor completes the login before it, which found room.
    let most = if authentication.method == METHOD_OTP { 2 * PROOFS_MAX } else { PROOFS_MAX };
    if session.authentications.len() >= most {
        return Err(SessionRefusal::Over);
    }
    check_user(user, authentication)?;
    let authentication = authentication.clone();
    Ok(SessionEvent::Reauthenticated(SessionReauthenticated { authentication, secret_sha256 }))
}

fn check_user(user: Option<&User>, authentication: &Authentication) -> Result<(), SessionRefusal> {
    match user {
        Some(user) if user.is_usable() && authentication.at > user.not_before => Ok(()),
        Some(_) | None => Err(SessionRefusal::UserRefused),
    }
}

/// `sid` for a client; no event if it has one.
pub fn decide_join(session: &Session, client: ClientId, fresh_sid: String) -> (String, Option<SessionEvent>) {
    if let Some(sid) = session.clients.get(&client) {
        return (sid.clone(), None);
    }
    let joined = SessionClientJoined { client, sid: fresh_sid.clone() };
    (fresh_sid, Some(SessionEvent::ClientJoined(joined)))
}

/// The end; no event if it ended before.
pub fn decide_end(session: &Session, reason: SessionEndReason) -> Option<SessionEvent> {
    session.ended_at.is_none().then_some(SessionEvent::Ended(SessionEnded { reason }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    #[test]
    fn a_session_takes_so_many_logins_and_a_second_factor_after_the_last() {
        let proof = |method: &str| Authentication {
            method: method.to_owned(),
            at: Timestamp(1),
            acr: "urn:test".to_owned(),
        };
        let with = |logins: usize| {
            let started = SessionStarted {
                user: UserId::from_bytes([1; 16]),
                authentications: vec![proof("pwd"); logins],
                secret_sha256: [0; 32],
                replaces: None,
                expires_at: Timestamp(9),
            };
            Session::evolve(None, &SessionEvent::Started(started), Timestamp(1))
        };
        // Without a user the refusal is another one: whether there is room is asked first.
        let taken = |logins, method: &str| {
            let refused = decide_reauthenticate(&with(logins), None, &proof(method), [0; 32]);
            refused != Err(SessionRefusal::Over)
        };
        assert!(taken(PROOFS_MAX - 1, "pwd") && !taken(PROOFS_MAX, "pwd"));
        assert!(taken(PROOFS_MAX, METHOD_OTP) && !taken(2 * PROOFS_MAX, METHOD_OTP));
    }
}
