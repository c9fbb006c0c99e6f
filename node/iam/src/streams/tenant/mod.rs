//! A tenant in its home partition.

mod decide;
mod event;
mod state;

use domicile_storage::codec::CodecError;

use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::TenantId;

pub use decide::{
    check_display_name, check_issuer, check_slug, decide_delete, decide_repoint, decide_update,
};

pub use event::{TenantChanged, TenantCreated, TenantDeleted, TenantEvent, TenantIssuerRepointed};
pub use state::Tenant;

impl Aggregate for Tenant {
    const KIND: StreamKind = StreamKind::Tenant;
    const STATE_FORMAT: u8 = 1;
    type Id = TenantId;
    type Event = TenantEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        Self::evolve(state, event, meta.at)
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
