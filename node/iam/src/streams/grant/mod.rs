//! What a user allows a client: one stream for each pair.

mod decide;
mod event;
mod requested;
mod state;

use domicile_storage::codec::CodecError;

use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::GrantId;

pub use decide::{covers, decide_consent, decide_revoke};

pub use event::{Allowed, GrantChanged, GrantEvent, GrantGiven, GrantRevoked};
pub use requested::{STANDARD_CLAIMS, allowed_claims, claims_beyond_scopes, scope_of_claim};
pub use state::Grant;

impl Aggregate for Grant {
    const KIND: StreamKind = StreamKind::Grant;
    const STATE_FORMAT: u8 = 1;
    type Id = GrantId;
    type Event = GrantEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        Self::evolve(state, event, meta.at)
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
