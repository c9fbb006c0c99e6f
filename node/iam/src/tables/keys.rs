//! Key layouts.

use crate::ids::{DataKeyId, Id, ProposalId, TenantId};
use crate::proposal::{ClaimKey, RangeKey, RecordKey, RecordKind};
use crate::streams::{StreamKind, StreamRef, wire_enum};
use domicile_raft::Timestamp;

wire_enum! {
    /// The first byte of every key.
    Table {
        /// Single values of the partition: log time, apply version.
        Partition = 1,
        /// tenant -> epoch, chain head, keys.
        Tenants = 2,
        /// (tenant, sequence) -> stored event.
        Events = 3,
        /// (tenant, stream, revision) -> sequence.
        StreamIndex = 4,
        /// (tenant, stream) -> version and state.
        Streams = 5,
        /// (tenant, claim) -> stream.
        Claims = 6,
        /// (tenant, record) -> version, expiry, body.
        Records = 7,
        /// (time, table, row key) -> nothing: what expires when.
        Expiry = 8,
        /// (tenant, proposal) -> outcome.
        Outcomes = 9,
        /// (tenant, range) -> counter.
        Ranges = 10,
        /// (tenant, key id) -> wrapped key.
        Keys = 11,
        /// Each projection takes a byte after this one.
        Projections = 12,
        /// tenant -> signed checkpoint behind which events were dropped.
        Checkpoints = 13,
    }
}

/// The table byte of projections; the next byte names the projection, then the tenant follows.
pub const PROJECTION: u8 = Table::Projections.number();

/// Where a tenant's rows of a table begin.
#[must_use]
pub fn tenant_table_prefix(table: Table, tenant: TenantId) -> Vec<u8> {
    let mut key = Vec::with_capacity(50);
    key.push(table.number());
    key.extend_from_slice(&tenant.bytes());
    key
}

/// A tenant's row.
#[must_use]
pub fn tenant_key(tenant: TenantId) -> Vec<u8> {
    tenant_table_prefix(Table::Tenants, tenant)
}

/// An event by its place in the tenant's chain; the first is 1.
#[must_use]
pub fn event_key(tenant: TenantId, sequence: u64) -> Vec<u8> {
    let mut key = tenant_table_prefix(Table::Events, tenant);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

fn with_stream(table: Table, tenant: TenantId, stream: StreamRef) -> Vec<u8> {
    let mut key = tenant_table_prefix(table, tenant);
    key.push(stream.kind.number());
    key.extend_from_slice(&stream.id);
    key
}

/// Where the index of a stream's events begins.
#[must_use]
pub fn stream_event_prefix(tenant: TenantId, stream: StreamRef) -> Vec<u8> {
    with_stream(Table::StreamIndex, tenant, stream)
}

/// The place of an event of a stream.
#[must_use]
pub fn stream_event_key(tenant: TenantId, stream: StreamRef, revision: u64) -> Vec<u8> {
    let mut key = stream_event_prefix(tenant, stream);
    key.extend_from_slice(&revision.to_be_bytes());
    key
}

/// A stream's version and state.
#[must_use]
pub fn stream_key(tenant: TenantId, stream: StreamRef) -> Vec<u8> {
    with_stream(Table::Streams, tenant, stream)
}

/// Where a tenant's streams of a kind begin; they follow in order of creation.
#[must_use]
pub fn stream_kind_prefix(tenant: TenantId, kind: StreamKind) -> Vec<u8> {
    let mut key = tenant_table_prefix(Table::Streams, tenant);
    key.push(kind.number());
    key
}

/// A claim.
#[must_use]
pub fn claim_key(tenant: TenantId, claim: ClaimKey) -> Vec<u8> {
    let mut key = tenant_table_prefix(Table::Claims, tenant);
    key.push(claim.kind.number());
    key.extend_from_slice(&claim.blind);
    key
}

/// Where a tenant's records of a kind begin.
#[must_use]
pub fn record_kind_prefix(tenant: TenantId, kind: RecordKind) -> Vec<u8> {
    let mut key = tenant_table_prefix(Table::Records, tenant);
    key.push(kind.number());
    key
}

/// A record.
#[must_use]
pub fn record_key(tenant: TenantId, record: RecordKey) -> Vec<u8> {
    let mut key = record_kind_prefix(tenant, record.kind);
    key.extend_from_slice(&record.key);
    key
}

/// A proposal's outcome.
#[must_use]
pub fn outcome_key(tenant: TenantId, proposal: ProposalId) -> Vec<u8> {
    let mut key = tenant_table_prefix(Table::Outcomes, tenant);
    key.extend_from_slice(&proposal.bytes());
    key
}

/// A range's counter.
#[must_use]
pub fn range_key(tenant: TenantId, range: RangeKey) -> Vec<u8> {
    let mut key = tenant_table_prefix(Table::Ranges, tenant);
    key.push(range.kind.number());
    key.extend_from_slice(&range.id);
    key
}

/// A wrapped key.
#[must_use]
pub fn key_key(tenant: TenantId, id: DataKeyId) -> Vec<u8> {
    let mut key = key_prefix(tenant);
    key.extend_from_slice(&id.bytes());
    key
}

/// Where a tenant's wrapped keys begin.
#[must_use]
pub fn key_prefix(tenant: TenantId) -> Vec<u8> {
    tenant_table_prefix(Table::Keys, tenant)
}

/// The expiry index entry of the row under `row`: time first, so that a sweep is one scan.
#[must_use]
pub fn expiry_key(at: Timestamp, row: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + row.len());
    key.push(Table::Expiry.number());
    key.extend_from_slice(&at.0.to_be_bytes());
    key.extend_from_slice(row);
    key
}
