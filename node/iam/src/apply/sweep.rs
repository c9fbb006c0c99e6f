//! Removes what expired, in order of expiry.

use std::ops::Bound;

use domicile_raft::{ApplyFault, Timestamp};
use domicile_storage::{KeyRange, Order, Transaction};

use crate::tables::{self, OutcomeRow, RecordRowStored, Table};

/// Removes at most `count` rows that expired at or before `cutoff`; returns how many.
pub(super) fn sweep(
    transaction: &mut Transaction<'_>,
    cutoff: Timestamp,
    count: u32,
) -> Result<u32, ApplyFault> {
    let range = KeyRange {
        start: Bound::Included(vec![Table::Expiry.number()]),
        end: Bound::Excluded(tables::expiry_key(cutoff.plus_ms(1), &[])),
    };
    let due = transaction.scan(&range, Order::Ascending, usize::try_from(count).unwrap_or(usize::MAX))?;
    let mut removed = 0;
    for (index_key, _) in due {
        let (row_key, at) = split(&index_key)?;
        if expiry_of(transaction, row_key)? == Some(at) {
            transaction.delete(row_key.to_vec());
        }
        transaction.delete(index_key);
        removed += 1;
    }
    Ok(removed)
}

fn split(index_key: &[u8]) -> Result<(&[u8], Timestamp), ApplyFault> {
    index_key
        .get(1..)
        .and_then(|rest| rest.split_first_chunk::<8>())
        .map(|(at, row_key)| (row_key, Timestamp(u64::from_be_bytes(*at))))
        .ok_or_else(|| ApplyFault::Invalid("expiry index key is too short".to_owned()))
}

/// When the row under `row_key` expires; None if it is gone.
fn expiry_of(transaction: &Transaction<'_>, row_key: &[u8]) -> Result<Option<Timestamp>, ApplyFault> {
    let Some(bytes) = transaction.get(row_key)? else {
        return Ok(None);
    };
    let table = row_key.first().copied().and_then(Table::from_number);
    if table == Some(Table::Records) {
        return Ok(Some(RecordRowStored::decode_row(&bytes)?.expires_at));
    }
    if table == Some(Table::Outcomes) {
        return Ok(Some(OutcomeRow::decode_row(&bytes)?.expires_at));
    }
    Err(ApplyFault::Invalid(format!("expiry index names table {table:?}, whose rows do not expire")))
}
