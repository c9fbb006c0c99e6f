//! Sessions that end by themselves, for clients that want to hear of it (docs/adr/0018).
//!
//! Nothing happens when a session runs out, so nothing could write. A record under the time at which it will have
//! run out unless it is used makes it found: whoever leads the home looks at what is due, in order of time.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::SessionRefusal;
use super::logout::announce;
use super::session::{last_seen, settings};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, Reads};
use crate::ids::{Id, SessionId};
use crate::proposal::RecordKind;
use crate::streams::session::{Session, SessionEvent, SessionExpired};
use crate::streams::user::User;

/// How long a watch outlives its session, for a home without a leader.
const KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Which session is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionWatch {
    pub(crate) session: SessionId,
}

/// The key of a watch: the time in milliseconds, so that what is due comes first, and the session.
fn watch_key(due: Timestamp, session: SessionId) -> [u8; 32] {
    let mut key = [0; 32];
    let parts = due.0.to_be_bytes().into_iter().chain(session.bytes());
    key.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    key
}

/// When a watch under this key is due.
pub(crate) fn watch_due(key: &[u8; 32]) -> Timestamp {
    Timestamp(key.first_chunk().map_or(u64::MAX, |due| u64::from_be_bytes(*due)))
}

/// Has `session`, which ends unless used at `idle_expires_at`, looked at then.
pub(super) fn watch(draft: &mut Draft, id: SessionId, session: &Session, idle_expires_at: Timestamp) {
    let until = session.expires_at.plus_ms(KEPT_MS);
    let key = watch_key(idle_expires_at, id);
    draft.put_record(RecordKind::SessionWatch, key, &SessionWatch { session: id }, until);
}

/// Looks at a session that may have run out: its clients are told, or it is looked at again later.
#[derive(Clone, Debug)]
pub struct ExpireSession {
    /// The watch.
    pub(crate) key: [u8; 32],
}

impl Command for ExpireSession {
    type Reply = ();
    type Refusal = SessionRefusal;
    const NAME: &'static str = "session.expire";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
    ) -> Result<Decision<()>, DecideError<SessionRefusal>> {
        let found = reads.record::<SessionWatch>(RecordKind::SessionWatch, self.key)?;
        let Some(watched) = found.filter(|_| watch_due(&self.key) <= fresh.at()) else {
            return Ok(Decision::Answer(()));
        };
        let id = watched.body.session;
        let mut draft = Draft::new();
        draft.take_record(RecordKind::SessionWatch, self.key);
        let session = reads.stream::<Session>(id)?.filter(|session| session.state.ended_at.is_none());
        let Some(session) = session else { return Ok(Decision::Propose(draft, ())) };
        let user = reads.stream::<User>(session.state.user)?.map(|user| user.state);
        // Who was logged out everywhere was told of it then.
        let counts =
            user.is_some_and(|user| user.is_usable() && session.state.authenticated_at() > user.not_before);
        draft.about(session.state.user);
        let idle_ms = settings(reads)?.session_idle_ms;
        let idle_expires_at = session.state.idle_expires_at(last_seen(reads, id)?, idle_ms);
        // One that a new password voided may still be renewed by it.
        if !session.state.is_over(fresh.at(), idle_expires_at) {
            watch(&mut draft, id, &session.state, idle_expires_at);
            return Ok(Decision::Propose(draft, ()));
        }
        draft.append::<Session>(id, session.version, SessionEvent::Expired(SessionExpired {}));
        if counts {
            announce(reads, &mut draft, id, &session.state)?;
        }
        Ok(Decision::Propose(draft, ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_come_in_the_order_in_which_they_are_due() {
        let session = |byte| SessionId::from_bytes([byte; 16]);
        let keys =
            [(5, 9), (255, 1), (256, 0), (70_000, 3)].map(|(due, id)| watch_key(Timestamp(due), session(id)));
        assert!(keys.is_sorted());
        assert_eq!(keys.map(|key| watch_due(&key).0), [5, 255, 256, 70_000]);
        assert_ne!(watch_key(Timestamp(5), session(1)), watch_key(Timestamp(5), session(2)));
    }
}
