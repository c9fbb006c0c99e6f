//! Logouts that clients are told of (OpenID Connect Back-Channel Logout 1.0).
//!
//! What ends a session also leaves a notice for each of its clients that wants to know: a record, in the same
//! batch as the event. The leader of the tenant's home tells the clients and takes the records away.

use domicile_raft::Timestamp;
use domicile_storage::{KeyRange, Order};
use serde::{Deserialize, Serialize};

use super::SessionRefusal;
use super::digest::sha256;
use crate::execute::{
    Command, DecideError, Decision, Draft, Fresh, LatchKey, LatchSet, ReadFault, Reads, Scope,
};
use crate::ids::{ClientId, Id, SessionId, UserId};
use crate::projections::{Projection, id_of_row, owner_prefix};
use crate::proposal::RecordKind;
use crate::streams::StreamRef;
use crate::streams::client::Client;
use crate::streams::session::{LogoutFailure, Session, SessionEvent, SessionLogoutUndelivered};
use crate::streams::user::User;

/// How long a client is tried to be told: an hour after the logout.
pub const LOGOUT_NOTICE_MS: u64 = 60 * 60 * 1_000;
/// A notice that nobody settled by then goes with the sweep. Time for the failure to be noted first.
const KEPT_MS: u64 = 2 * LOGOUT_NOTICE_MS;
/// Sessions that one change to a user looks at, newest first.
const SESSIONS_MAX: usize = 256;
/// Sessions that it counts, so that the log says how many were not looked at.
const COUNTED_MAX: usize = 16 * SESSIONS_MAX;
/// Notices that one change leaves. A proposal has to fit into the log.
const NOTICES_MAX: usize = 1_024;

/// Somebody who has still to be told of a logout. Nothing personal: the subject is looked up when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutNotice {
    /// Whom to tell.
    pub client: ClientId,
    /// Which session is over.
    pub session: SessionId,
    /// Whose it was.
    pub user: UserId,
    /// `sid` of it there.
    pub sid: String,
    /// When it ended.
    pub at: Timestamp,
}

impl LogoutNotice {
    /// Its record's key: one notice for each session and client.
    pub(crate) fn record_key(&self) -> [u8; 32] {
        sha256(&[self.session.bytes(), self.client.bytes()].concat())
    }
}

/// Leaves notices for the clients of a session that ends by `draft`.
pub(super) fn announce(
    reads: &mut Reads<'_>,
    draft: &mut Draft,
    id: SessionId,
    session: &Session,
) -> Result<(), ReadFault> {
    let mut room = Room::default();
    announce_within(reads, draft, id, session, &mut room)?;
    draft.leave_untold(0, room.left_out);
    Ok(())
}

/// For notices, in one change.
struct Room {
    left: usize,
    left_out: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: NOTICES_MAX, left_out: 0 }
    }
}

/// As [`announce`], as far as there is room.
fn announce_within(
    reads: &mut Reads<'_>,
    draft: &mut Draft,
    id: SessionId,
    session: &Session,
    room: &mut Room,
) -> Result<(), ReadFault> {
    let at = reads.at();
    for (client, sid) in &session.clients {
        let wants = reads.stream::<Client>(*client)?.is_some_and(|client| {
            let usable = client.state.usable();
            usable.is_some_and(|registration| registration.metadata.backchannel_logout_uri.is_some())
        });
        if !wants {
            continue;
        }
        if room.left == 0 {
            room.left_out += 1;
            continue;
        }
        room.left -= 1;
        let notice = LogoutNotice { client: *client, session: id, user: session.user, sid: sid.clone(), at };
        let expires_at = at.plus_ms(KEPT_MS);
        draft.put_record(RecordKind::LogoutNotice, notice.record_key(), &notice, expires_at);
    }
    Ok(())
}

/// Leaves notices for all sessions of a user whom `draft` logs out everywhere. `user` is as before it.
pub(super) fn announce_all(
    reads: &mut Reads<'_>,
    draft: &mut Draft,
    id: UserId,
    user: &User,
) -> Result<(), ReadFault> {
    let prefix = owner_prefix(Projection::SessionsOfUser, reads.tenant(), id.bytes());
    let rows = reads.engine().scan(&KeyRange::prefix(&prefix), Order::Descending, COUNTED_MAX)?;
    let mut room = Room::default();
    let seen = rows.iter().take(SESSIONS_MAX);
    for session_id in seen.filter_map(|(key, _)| id_of_row::<SessionId>(key)) {
        let Some(session) = reads.stream::<Session>(session_id)? else { continue };
        let session = session.state;
        let over = session.is_over(reads.at(), session.expires_at);
        // Those that an earlier change voided were told of then.
        if !over && user.is_usable() && session.authenticated_at() > user.not_before {
            announce_within(reads, draft, session_id, &session, &mut room)?;
        }
    }
    draft.leave_untold(rows.len().saturating_sub(SESSIONS_MAX), room.left_out);
    Ok(())
}

/// What a command that logs a user out everywhere holds from its beginning: no session of theirs begins or
/// gets another client meanwhile, since both read the user.
pub(super) fn alone_with(scope: &Scope<'_>, user: UserId) -> LatchSet {
    LatchSet::default().exclusive(LatchKey::Stream(scope.tenant(), StreamRef::of::<User>(user)))
}

/// A notice that needs no more tries.
#[derive(Clone, Debug)]
pub struct SettledLogout {
    /// As it was read.
    pub notice: LogoutNotice,
    /// Why the client was not told; `None` if it was, or is not there or not interested any more.
    pub failure: Option<LogoutFailure>,
}

/// Takes notices away, several in one write. What could not be delivered becomes an event.
#[derive(Clone, Debug)]
pub struct SettleLogouts {
    /// Which.
    pub settled: Vec<SettledLogout>,
}

impl Command for SettleLogouts {
    type Reply = ();
    type Refusal = SessionRefusal;
    const NAME: &'static str = "logout.settle";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        _fresh: &mut Fresh,
    ) -> Result<Decision<()>, DecideError<SessionRefusal>> {
        let mut draft = Draft::new();
        for SettledLogout { notice, failure } in &self.settled {
            let key = notice.record_key();
            let row = reads.record::<LogoutNotice>(RecordKind::LogoutNotice, key)?;
            // A later logout of the same session has still to be told.
            if row.is_none_or(|row| row.body != *notice) {
                continue;
            }
            draft.take_record(RecordKind::LogoutNotice, key);
            if let Some(reason) = *failure
                && let Some(session) = reads.stream::<Session>(notice.session)?
            {
                let undelivered = SessionLogoutUndelivered { client: notice.client, reason };
                let event = SessionEvent::LogoutUndelivered(undelivered);
                draft.append::<Session>(notice.session, session.version, event);
            }
        }
        Ok(if draft.is_empty() { Decision::Answer(()) } else { Decision::Propose(draft, ()) })
    }
}
