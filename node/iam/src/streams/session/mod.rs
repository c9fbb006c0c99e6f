//! A login session of a browser.

mod decide;
mod event;
mod state;

use domicile_storage::codec::CodecError;

use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::SessionId;

pub use decide::{decide_end, decide_join, decide_reauthenticate, decide_start, is_live};

pub use event::{
    LogoutFailure, SessionClientJoined, SessionEndReason, SessionEnded, SessionEvent, SessionExpired,
    SessionLogoutUndelivered, SessionReauthenticated, SessionStarted,
};
pub use state::Session;

impl Aggregate for Session {
    const KIND: StreamKind = StreamKind::Session;
    const STATE_FORMAT: u8 = 1;
    type Id = SessionId;
    type Event = SessionEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        Self::evolve(state, event, meta.at)
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
