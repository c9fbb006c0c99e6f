//! Where everything lies in a partition's state: key layouts, row formats and typed reads.
//!
//! The first byte of a key names the table; 0x00 is Raft's. Keys of one tenant share a prefix after
//! it. Numbers in keys are big-endian, so that byte order is their order.

mod decoded;
mod keys;
mod rows;

pub(crate) use decoded::DecodedStates;
pub use keys::{
    PROJECTION, Table, claim_key, event_key, expiry_key, key_key, key_prefix, outcome_key, range_key,
    record_key, record_kind_prefix, stream_event_key, stream_event_prefix, stream_key, stream_kind_prefix,
    tenant_key, tenant_table_prefix,
};
pub use rows::{
    ClaimRow, ExpiryTarget, OutcomeRow, RecordRowStored, Rows, StreamRow, TableFault, TenantRow,
    apply_version, claim_owner, log_time, outcome, range_counter, record, stream_row, stream_version,
    tenant_row, wrapped_key,
};
pub(crate) use rows::{put_apply_version, put_log_time, put_range_counter, stored_record};

use crate::ids::{Id, TenantId};

/// The "tenant" that owns the directory's own streams.
pub fn directory_tenant() -> TenantId {
    TenantId::from_bytes([0; 16])
}

/// The format byte of record bodies: a MessagePack map.
pub const RECORD_FORMAT: u8 = 1;
