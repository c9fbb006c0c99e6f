//! Whether everything a proposal depends on still stands.

use domicile_raft::Timestamp;

use crate::ids::TenantId;
use crate::proposal::{ClaimChange, ConflictReason, KeyChange, Proposal, ReadSet, RecordChange};
use crate::tables::{self, Rows, TableFault};

/// The first dependency that moved, in a fixed order; None if all stand.
///
/// # Errors
/// [`TableFault`].
pub fn proposal<R: Rows + ?Sized>(
    rows: &R,
    proposal: &Proposal,
    at: Timestamp,
) -> Result<Option<ConflictReason>, TableFault> {
    let tenant = proposal.tenant;
    let row = tables::tenant_row(rows, tenant)?;
    let right_epoch = match (&row, &proposal.genesis) {
        (Some(row), None) => row.epoch == proposal.epoch,
        (None, Some(_)) => true,
        (Some(_), Some(_)) | (None, None) => false,
    };
    if !right_epoch {
        return Ok(Some(ConflictReason::Epoch));
    }
    if let Some(reason) = reads(rows, tenant, &proposal.reads, at)? {
        return Ok(Some(reason));
    }
    for append in &proposal.appends {
        let version = tables::stream_row(rows, tenant, append.stream)?.map_or(0, |row| row.version);
        if version != append.expected_version {
            return Ok(Some(ConflictReason::Stream(append.stream)));
        }
    }
    if let Some(reason) = claims(rows, tenant, &proposal.claims)? {
        return Ok(Some(reason));
    }
    if let Some(reason) = records(rows, tenant, &proposal.records, at)? {
        return Ok(Some(reason));
    }
    for change in &proposal.keys {
        if let KeyChange::Put { id, .. } = change
            && tables::wrapped_key(rows, tenant, *id)?.is_some()
        {
            return Ok(Some(ConflictReason::Key(*id)));
        }
    }
    Ok(None)
}

/// The first read of `set` that would give something else now; None if all would be the same.
///
/// # Errors
/// [`TableFault`].
pub fn reads<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    set: &ReadSet,
    at: Timestamp,
) -> Result<Option<ConflictReason>, TableFault> {
    for (stream, version) in &set.streams {
        if tables::stream_row(rows, tenant, *stream)?.map_or(0, |row| row.version) != *version {
            return Ok(Some(ConflictReason::Stream(*stream)));
        }
    }
    for (claim, owner) in &set.claims {
        if tables::claim_owner(rows, tenant, *claim)? != *owner {
            return Ok(Some(ConflictReason::Claim(*claim)));
        }
    }
    for (record, version) in &set.records {
        if tables::record(rows, tenant, *record, at)?.map(|row| row.version) != *version {
            return Ok(Some(ConflictReason::Record(*record)));
        }
    }
    for (range, counter) in &set.ranges {
        if tables::range_counter(rows, tenant, *range)? != *counter {
            return Ok(Some(ConflictReason::Range(*range)));
        }
    }
    Ok(None)
}

/// Claim changes see each other in order: a value may be released and taken in one proposal.
fn claims<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    changes: &[ClaimChange],
) -> Result<Option<ConflictReason>, TableFault> {
    let mut seen = std::collections::BTreeMap::new();
    for change in changes {
        let (key, owner, take) = match change {
            ClaimChange::Take { key, owner } => (*key, *owner, true),
            ClaimChange::Release { key, owner } => (*key, *owner, false),
        };
        let holder = match seen.get(&key) {
            Some(holder) => *holder,
            None => tables::claim_owner(rows, tenant, key)?,
        };
        let allowed = match holder {
            Some(holder) => holder == owner,
            None => take,
        };
        if !allowed {
            return Ok(Some(ConflictReason::Claim(key)));
        }
        seen.insert(key, take.then_some(owner));
    }
    Ok(None)
}

fn records<R: Rows + ?Sized>(
    rows: &R,
    tenant: TenantId,
    changes: &[RecordChange],
    at: Timestamp,
) -> Result<Option<ConflictReason>, TableFault> {
    for change in changes {
        let (key, expected) = match change {
            RecordChange::Put { key, expected, .. } => (*key, *expected),
            RecordChange::Take { key, expected } => (*key, Some(*expected)),
        };
        if tables::record(rows, tenant, key, at)?.map(|row| row.version) != expected {
            return Ok(Some(ConflictReason::Record(key)));
        }
    }
    Ok(None)
}
