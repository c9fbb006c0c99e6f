//! The effects of a proposal whose dependencies stand.

use domicile_raft::{ApplyFault, Timestamp};
use domicile_storage::Transaction;

use super::{OUTCOME_KEPT_MS, advance, invalid};
use crate::event::{self, StoredEvent};
use crate::proposal::{Append, ClaimChange, KeyChange, Proposal, RecordChange};
use crate::streams::Streams;
use crate::tables::{self, ClaimRow, OutcomeRow, RecordRowStored, StreamRow, TenantRow};

pub(super) fn proposal<S: Streams>(
    streams: &S,
    transaction: &mut Transaction<'_>,
    proposal: &Proposal,
    index: u64,
    at: Timestamp,
) -> Result<(), ApplyFault> {
    let tenant = proposal.tenant;
    let mut row = match (tables::tenant_row(transaction, tenant)?, proposal.genesis) {
        (Some(row), _) => row,
        (None, Some(keys)) => {
            TenantRow { epoch: proposal.epoch, sequence: 0, head: event::CHAIN_START, keys }
        }
        (None, None) => {
            return Err(ApplyFault::Invalid(format!("tenant {tenant} vanished between check and write")));
        }
    };
    for append in &proposal.appends {
        events(streams, transaction, proposal, append, &mut row, at)?;
    }
    transaction.put(tables::tenant_key(tenant), row.encode_row().map_err(invalid)?);
    for change in &proposal.claims {
        match change {
            ClaimChange::Take { key, owner } => transaction.put(
                tables::claim_key(tenant, *key),
                ClaimRow { owner: *owner }.encode_row().map_err(invalid)?,
            ),
            ClaimChange::Release { key, .. } => transaction.delete(tables::claim_key(tenant, *key)),
        }
    }
    for change in &proposal.records {
        record(transaction, proposal, change, index)?;
    }
    for range in &proposal.ranges {
        let counter = tables::range_counter(transaction, tenant, *range)?;
        tables::put_range_counter(transaction, tenant, *range, counter.wrapping_add(1)).map_err(invalid)?;
    }
    for change in &proposal.keys {
        match change {
            KeyChange::Put { id, wrapped } => transaction.put(tables::key_key(tenant, *id), wrapped.clone()),
            KeyChange::Destroy { id } => transaction.delete(tables::key_key(tenant, *id)),
        }
    }
    outcome(transaction, proposal, index, at)?;
    advance(transaction, at)
}

fn events<S: Streams>(
    streams: &S,
    transaction: &mut Transaction<'_>,
    proposal: &Proposal,
    append: &Append,
    row: &mut TenantRow,
    at: Timestamp,
) -> Result<(), ApplyFault> {
    let (tenant, stream) = (proposal.tenant, append.stream);
    let apply_version = tables::apply_version(transaction)?;
    let before = tables::stream_row(transaction, tenant, stream)?;
    let (mut revision, mut state) = before.map_or((0, None), |row| (row.version, Some(row.state)));
    for proposed in &append.events {
        revision += 1;
        row.sequence += 1;
        let event = StoredEvent {
            tenant,
            sequence: row.sequence,
            stream,
            revision,
            event_type: proposed.event_type.clone(),
            schema: proposed.schema,
            at,
            actor: proposal.actor.clone(),
            request_id: proposal.request_id,
            proposal: proposal.id,
            actor_details: proposal.actor_details.clone(),
            body: proposed.body.clone(),
        };
        let stored = event.encode().map_err(invalid)?;
        row.head = event::chain(&row.head, &stored);
        transaction.put(tables::event_key(tenant, row.sequence), stored);
        transaction
            .put(tables::stream_event_key(tenant, stream, revision), row.sequence.to_be_bytes().to_vec());
        state =
            Some(streams.apply(transaction, apply_version, state.as_deref(), event.raw(), &event.meta())?);
    }
    if let Some(state) = state {
        let row = StreamRow { version: revision, state };
        transaction.put(tables::stream_key(tenant, stream), row.encode_row().map_err(invalid)?);
    }
    Ok(())
}

fn record(
    transaction: &mut Transaction<'_>,
    proposal: &Proposal,
    change: &RecordChange,
    index: u64,
) -> Result<(), ApplyFault> {
    let key = match change {
        RecordChange::Put { key, .. } | RecordChange::Take { key, .. } => *key,
    };
    let row_key = tables::record_key(proposal.tenant, key);
    // An expired row that no sweep has reached still has its index entry.
    if let Some(earlier) = tables::stored_record(transaction, proposal.tenant, key)? {
        transaction.delete(tables::expiry_key(earlier.expires_at, &row_key));
    }
    match change {
        RecordChange::Put { body, expires_at, .. } => {
            let row = RecordRowStored { version: index, expires_at: *expires_at, body: body.clone() };
            transaction.put(tables::expiry_key(*expires_at, &row_key), Vec::new());
            transaction.put(row_key, row.encode_row().map_err(invalid)?);
        }
        RecordChange::Take { .. } => transaction.delete(row_key),
    }
    Ok(())
}

fn outcome(
    transaction: &mut Transaction<'_>,
    proposal: &Proposal,
    index: u64,
    at: Timestamp,
) -> Result<(), ApplyFault> {
    let key = tables::outcome_key(proposal.tenant, proposal.id);
    if let Some(bytes) = transaction.get(&key)? {
        transaction.delete(tables::expiry_key(OutcomeRow::decode_row(&bytes)?.expires_at, &key));
    }
    let expires_at = at.plus_ms(OUTCOME_KEPT_MS);
    let row =
        OutcomeRow { request_hash: proposal.request_hash, index, expires_at, reply: proposal.reply.clone() };
    transaction.put(tables::expiry_key(expires_at, &key), Vec::new());
    transaction.put(key, row.encode_row().map_err(invalid)?);
    Ok(())
}
