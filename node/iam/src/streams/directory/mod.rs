//! The directory's view of a tenant.

mod decide;
mod entry;
mod event;
mod state;

use domicile_storage::codec::CodecError;

use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::TenantId;

pub use decide::{decide_activate, decide_entry_change, decide_expire, decide_release, decide_reserve};
pub use entry::DirectoryEntry;

pub use event::{
    DirectoryTenantActivated, DirectoryTenantEntryChanged, DirectoryTenantEvent, DirectoryTenantReleased,
    DirectoryTenantReserved, ReleaseReason, SignedEntry,
};
pub use state::{DirectoryTenant, EntryPhase};

impl Aggregate for DirectoryTenant {
    const KIND: StreamKind = StreamKind::DirectoryTenant;
    const STATE_FORMAT: u8 = 1;
    type Id = TenantId;
    type Event = DirectoryTenantEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        Self::evolve(state, event, meta.at)
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
