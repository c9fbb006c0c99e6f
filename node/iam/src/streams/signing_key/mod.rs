//! A signing key of a tenant.

mod decide;
mod event;
mod state;

use domicile_storage::codec::CodecError;

use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::SigningKeyId;

pub use decide::{
    KeyStep, decide_end, decide_revocation, decide_rotation, next_phase, next_steps, of_algorithm, wind_down,
};

pub use event::{
    PublicKey, SigningKeyActivated, SigningKeyCreated, SigningKeyEnded, SigningKeyEvent, SigningKeyPublished,
    SigningKeyRemoved, SigningKeyRetired,
};
pub use state::{KeyMaterial, KeyPhase, SigningKeyState};

impl Aggregate for SigningKeyState {
    const KIND: StreamKind = StreamKind::SigningKey;
    const STATE_FORMAT: u8 = 1;
    type Id = SigningKeyId;
    type Event = SigningKeyEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        Self::evolve(state, event, meta.at)
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
