//! A token family: what one redeemed code gave.

mod decide;
mod event;
mod state;

use domicile_storage::codec::CodecError;

use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::FamilyId;

pub use decide::{Standing, decide_reuse, decide_revoke, stands};

pub use event::{FamilyCreated, FamilyEvent, FamilyReuseDetected, FamilyRevocation, FamilyRevoked};
pub use state::{Family, Origin};

impl Aggregate for Family {
    const KIND: StreamKind = StreamKind::Family;
    const STATE_FORMAT: u8 = 1;
    type Id = FamilyId;
    type Event = FamilyEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        state.unwrap_or_default().evolve(event, meta.at)
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
