//! Row formats and typed reads, over the engine or a transaction.

use domicile_raft::{ApplyFault, Timestamp};
use domicile_storage::codec::{self, CodecError};
use domicile_storage::{Engine, EngineError, KeyRange, Order, Pair, Transaction};

use super::keys::{self, Table};
use crate::ids::{DataKeyId, ProposalId, TenantId};
use crate::proposal::{ClaimKey, RangeKey, RecordKey, TenantKeys};
use crate::streams::StreamRef;

const ROW_FORMAT: u8 = 1;
const LOG_TIME: &[u8] = &[Table::Partition.number(), 1];
const APPLY_VERSION: &[u8] = &[Table::Partition.number(), 2];

/// Rows that can be read: the applied state, or a transaction over it.
pub trait Rows {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`EngineError`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Shows the value under `key` where it lies; false if there is none. `look` must not read rows itself.
    ///
    /// # Errors
    /// [`EngineError`].
    fn read(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool, EngineError>;

    /// At most `limit` pairs.
    ///
    /// # Errors
    /// [`EngineError`].
    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError>;
}

impl Rows for Transaction<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Transaction::get(self, key)
    }

    fn read(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool, EngineError> {
        Transaction::read(self, key, look)
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        Transaction::scan(self, range, order, limit)
    }
}

impl Rows for dyn Engine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Engine::get(self, key)
    }

    fn read(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool, EngineError> {
        Engine::read(self, key, look)
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        Engine::scan(self, range, order, limit)
    }
}

/// A row cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableFault {
    /// The engine failed.
    #[error("state engine")]
    Engine(#[from] EngineError),
    /// The row does not decode.
    #[error("row of table {table:?}")]
    Row {
        /// Its table.
        table: Table,
        /// Why.
        #[source]
        cause: CodecError,
    },
}

impl From<TableFault> for ApplyFault {
    fn from(fault: TableFault) -> Self {
        match fault {
            TableFault::Engine(cause) => Self::Engine(cause),
            TableFault::Row { table, cause } => Self::Invalid(format!("row of table {table:?}: {cause}")),
        }
    }
}

/// What a partition knows of a tenant that lives in it.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct TenantRow {
    /// Raised when the tenant moves.
    pub epoch: u64,
    /// The last event's place in the chain; 0 before the first.
    pub sequence: u64,
    /// The chain's hash after it.
    pub head: [u8; 32],
    /// Its keys.
    pub keys: TenantKeys,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct StreamRow {
    /// Revision of its last event.
    pub version: u64,
    /// Format byte and state.
    pub state: Vec<u8>,
}

/// A claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ClaimRow {
    /// Whose.
    pub owner: StreamRef,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct RecordRowStored {
    /// The log index that wrote it: never repeats.
    pub version: u64,
    /// When it stops to count.
    pub expires_at: Timestamp,
    /// Format byte and body.
    pub body: Vec<u8>,
}

/// What a proposal came to.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct OutcomeRow {
    /// SHA-256 of the request.
    pub request_hash: Option<[u8; 32]>,
    /// Where it was applied.
    pub index: u64,
    /// Until when this is kept.
    pub expires_at: Timestamp,
    /// The sealed reply.
    pub reply: Option<Vec<u8>>,
}

/// What the expiry index points at; the row's own table byte says which.
pub type ExpiryTarget = Table;

macro_rules! stored {
    ($($row:ty = $table:expr;)*) => {$(
        impl $row {
            /// As stored.
            ///
            /// # Errors
            /// [`CodecError::NotEncodable`].
            pub fn encode_row(&self) -> Result<Vec<u8>, CodecError> {
                codec::encode_fixed(ROW_FORMAT, self)
            }

            /// From its stored form.
            ///
            /// # Errors
            /// [`TableFault::Row`].
            pub fn decode_row(bytes: &[u8]) -> Result<Self, TableFault> {
                decode(bytes, $table)
            }
        }
    )*};
}

stored! {
    TenantRow = Table::Tenants;
    StreamRow = Table::Streams;
    ClaimRow = Table::Claims;
    RecordRowStored = Table::Records;
    OutcomeRow = Table::Outcomes;
}

fn decode<T: bincode::Decode<()>>(bytes: &[u8], table: Table) -> Result<T, TableFault> {
    codec::split_format(bytes, &[ROW_FORMAT])
        .and_then(|(_, body)| codec::decode_fixed(body))
        .map_err(|cause| TableFault::Row { table, cause })
}

/// What `decode` makes of the value under `key`, read where it lies.
fn decoded<T, R: Rows + ?Sized>(
    rows: &R,
    key: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, TableFault>,
) -> Result<Option<T>, TableFault> {
    let mut found = None;
    rows.read(key, &mut |bytes| found = Some(decode(bytes)))?;
    found.transpose()
}

fn number<R: Rows + ?Sized>(rows: &R, key: &[u8], table: Table) -> Result<Option<u64>, TableFault> {
    decoded(rows, key, |bytes| decode(bytes, table))
}

fn put_number(txn: &mut Transaction<'_>, key: Vec<u8>, value: u64) -> Result<(), CodecError> {
    txn.put(key, codec::encode_fixed(ROW_FORMAT, &value)?);
    Ok(())
}

/// Log time: the latest `decided_at` or sweep that was applied.
///
/// # Errors
/// [`TableFault`].
pub fn log_time<R: Rows + ?Sized>(rows: &R) -> Result<Timestamp, TableFault> {
    Ok(Timestamp(number(rows, LOG_TIME, Table::Partition)?.unwrap_or(0)))
}

pub(crate) fn put_log_time(txn: &mut Transaction<'_>, at: Timestamp) -> Result<(), CodecError> {
    put_number(txn, LOG_TIME.to_vec(), at.0)
}

/// How apply behaves; 1 until an entry raises it.
///
/// # Errors
/// [`TableFault`].
pub fn apply_version<R: Rows + ?Sized>(rows: &R) -> Result<u16, TableFault> {
    let stored = number(rows, APPLY_VERSION, Table::Partition)?.unwrap_or(1);
    u16::try_from(stored)
        .map_err(|e| TableFault::Row { table: Table::Partition, cause: CodecError::Malformed(e.to_string()) })
}

pub(crate) fn put_apply_version(txn: &mut Transaction<'_>, version: u16) -> Result<(), CodecError> {
    put_number(txn, APPLY_VERSION.to_vec(), u64::from(version))
}

/// A tenant's row; None if it does not live here.
///
/// # Errors
/// [`TableFault`].
pub fn tenant_row<R: Rows + ?Sized>(rows: &R, tenant: TenantId) -> Result<Option<TenantRow>, TableFault> {
    decoded(rows, &keys::tenant_key(tenant), TenantRow::decode_row)
}

/// A stream's version and state.
///
/// # Errors
/// [`TableFault`].
pub fn stream_row<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    stream: StreamRef,
) -> Result<Option<StreamRow>, TableFault> {
    decoded(rows, &keys::stream_key(tenant, stream), StreamRow::decode_row)
}

/// A stream's version alone, 0 if it is not there: its state, which may be long, is not decoded.
///
/// # Errors
/// [`TableFault`].
pub fn stream_version<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    stream: StreamRef,
) -> Result<u64, TableFault> {
    // The version is the first field of the row.
    let version = |bytes: &[u8]| {
        codec::split_format(bytes, &[ROW_FORMAT])
            .and_then(|(_, body)| codec::decode_fixed_start::<u64>(body))
            .map_err(|cause| TableFault::Row { table: Table::Streams, cause })
    };
    Ok(decoded(rows, &keys::stream_key(tenant, stream), version)?.unwrap_or(0))
}

/// Who holds a claim.
///
/// # Errors
/// [`TableFault`].
pub fn claim_owner<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    claim: ClaimKey,
) -> Result<Option<StreamRef>, TableFault> {
    let row = decoded(rows, &keys::claim_key(tenant, claim), ClaimRow::decode_row)?;
    Ok(row.map(|row| row.owner))
}

/// A record that is not expired at `at`.
///
/// # Errors
/// [`TableFault`].
pub fn record<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    record: RecordKey,
    at: Timestamp,
) -> Result<Option<RecordRowStored>, TableFault> {
    Ok(stored_record(rows, tenant, record)?.filter(|row| row.expires_at > at))
}

pub(crate) fn stored_record<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    record: RecordKey,
) -> Result<Option<RecordRowStored>, TableFault> {
    decoded(rows, &keys::record_key(tenant, record), RecordRowStored::decode_row)
}

/// A proposal's outcome that is not expired at `at`.
///
/// # Errors
/// [`TableFault`].
pub fn outcome<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    proposal: ProposalId,
    at: Timestamp,
) -> Result<Option<OutcomeRow>, TableFault> {
    let row = decoded(rows, &keys::outcome_key(tenant, proposal), OutcomeRow::decode_row)?;
    Ok(row.filter(|row| row.expires_at > at))
}

/// A range's counter.
///
/// # Errors
/// [`TableFault`].
pub fn range_counter<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    range: RangeKey,
) -> Result<u64, TableFault> {
    Ok(number(rows, &keys::range_key(tenant, range), Table::Ranges)?.unwrap_or(0))
}

pub(crate) fn put_range_counter(
    txn: &mut Transaction<'_>,
    tenant: TenantId,
    range: RangeKey,
    counter: u64,
) -> Result<(), CodecError> {
    put_number(txn, keys::range_key(tenant, range), counter)
}

/// A wrapped key as stored; None once it is destroyed.
///
/// # Errors
/// [`TableFault`].
pub fn wrapped_key<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    id: DataKeyId,
) -> Result<Option<Vec<u8>>, TableFault> {
    Ok(rows.get(&keys::key_key(tenant, id))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use domicile_storage::{Batch, MemoryEngine, Write};

    use super::*;
    use crate::ids::Id;
    use crate::streams::StreamKind;

    #[test]
    fn a_version_read_alone_is_that_of_the_row() {
        let engine = MemoryEngine::new();
        let engine: &dyn Engine = &engine;
        let tenant = TenantId::from_bytes([1; 16]);
        let stream = StreamRef { kind: StreamKind::Client, id: [2; 16] };
        assert_eq!(stream_version(engine, tenant, stream).unwrap(), 0);
        let key = keys::stream_key(tenant, stream);
        let put = |value: Vec<u8>| {
            engine.commit(Batch { writes: vec![Write::Put { key: key.clone(), value }] }).unwrap();
        };
        for version in [1, 258, u64::MAX] {
            let row = StreamRow { version, state: vec![9; 5_000] };
            put(row.encode_row().unwrap());
            assert_eq!(stream_version(engine, tenant, stream).unwrap(), version);
            assert_eq!(stream_row(engine, tenant, stream).unwrap(), Some(row));
        }
        put(vec![ROW_FORMAT, 1, 2]);
        assert!(stream_version(engine, tenant, stream).is_err());
        put(vec![ROW_FORMAT + 1; 40]);
        assert!(stream_version(engine, tenant, stream).is_err());
    }
}
