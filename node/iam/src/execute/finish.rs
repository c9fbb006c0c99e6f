//! Seals a draft into a proposal.

use std::collections::{BTreeMap, BTreeSet};

use domicile_raft::Timestamp;
use serde::Serialize;

use super::context::RequestContext;
use super::draft::{Draft, DraftClaim, DraftEvent, DraftKey, DraftRecord};
use super::fresh::Fresh;
use super::idempotency;
use super::latch::{LatchKey, LatchMode};
use super::reads::{ReadFault, Reads, claim_key};
use super::rehearsal::Rehearsal;
use crate::ids::{DataKeyId, ProposalId, TenantId};
use crate::personal::Personal;
use crate::proposal::{
    ActorKind, Append, ClaimChange, KeyChange, Proposal, ProposedEvent, RecordChange, RecordKey, TenantKeys,
};
use crate::seal::{self, DataKey, Genesis, Place, SealError, TenantKeyring};
use crate::streams::StreamRef;
use crate::tables;

/// What a proposal needs beside its draft.
pub(super) struct Envelope<'a> {
    pub context: &'a RequestContext,
    pub epoch: u64,
    pub id: ProposalId,
    pub at: Timestamp,
    pub genesis: Option<&'a Genesis>,
}

/// Takes exclusive latches for all that the draft writes, then seals it. Gives the proposal and what
/// can rehearse it.
pub(super) fn finish<R: Serialize>(
    draft: Draft,
    reply: &R,
    reads: &mut Reads<'_>,
    fresh: &mut Fresh,
    envelope: &Envelope<'_>,
) -> Result<(Proposal, Rehearsal), ReadFault> {
    let subject = draft.subject();
    let Draft { appends, claims, records, ranges, shared_ranges, keys, about: _, inconsistent, untold } =
        draft;
    if let Some(stream) = inconsistent {
        return Err(SealError::Malformed(format!("two expected versions for {stream:?}")).into());
    }
    let tenant = reads.tenant();
    for append in &appends {
        reads.latch(LatchKey::Stream(tenant, append.stream), LatchMode::Exclusive)?;
    }
    let claims = claims.iter().map(|claim| claim_change(claim, reads)).collect::<Result<_, _>>()?;
    let records = records.into_iter().map(|record| record_change(record, reads)).collect::<Result<_, _>>()?;
    for range in &ranges {
        reads.latch(LatchKey::Range(tenant, *range), LatchMode::Exclusive)?;
    }
    for range in &shared_ranges {
        reads.latch(LatchKey::Range(tenant, *range), LatchMode::Shared)?;
    }
    let ranges: BTreeSet<_> = ranges.into_iter().chain(shared_ranges).collect();
    let mut sealer = Sealer { keys: reads.keys, tenant, new: BTreeMap::new() };
    let mut key_changes = genesis_keys(envelope.genesis)?;
    for change in keys {
        key_changes.push(sealer.key_change(change, fresh)?);
    }
    let actor_details = sealer.actor(envelope, subject, fresh)?;
    let mut sealed_appends = Vec::with_capacity(appends.len());
    let mut rehearsal = Rehearsal::default();
    for append in appends {
        rehearsal.add(append.stream.kind, append.evolve);
        let mut events = Vec::with_capacity(append.events.len());
        for (event, revision) in append.events.into_iter().zip(append.expected + 1..) {
            events.push(sealer.event(event, append.stream, revision, fresh)?);
        }
        sealed_appends.push(Append { stream: append.stream, expected_version: append.expected, events });
    }
    let idempotency = envelope.context.idempotency.as_ref();
    // With the tenant's key gone nothing opens a kept reply; the outcome alone says that it was done.
    let ends_tenant = key_changes.contains(&KeyChange::Destroy { id: reads.tenant_keys().tenant });
    let reply = idempotency
        .filter(|_| !ends_tenant)
        .map(|key| idempotency::seal_reply(reads.keys, envelope.context, envelope.id, key, fresh, reply))
        .transpose()?;
    let request_hash = idempotency.map(|key| idempotency::kept_hash(reads.keys, key)).transpose()?;
    untold.log(tenant);
    let proposal = Proposal {
        tenant,
        epoch: envelope.epoch,
        id: envelope.id,
        request_hash,
        decided_at: envelope.at,
        actor: envelope.context.actor.who.clone(),
        request_id: envelope.context.request_id,
        actor_details,
        genesis: envelope.genesis.map(|genesis| -> TenantKeys { genesis.ids }),
        reads: reads.read_set(),
        appends: sealed_appends,
        claims,
        records,
        ranges: ranges.into_iter().collect(),
        keys: key_changes,
        reply,
    };
    Ok((proposal, rehearsal))
}

fn genesis_keys(genesis: Option<&Genesis>) -> Result<Vec<KeyChange>, ReadFault> {
    let mut changes = Vec::new();
    if let Some(genesis) = genesis {
        for (id, wrapped) in genesis.wrapped() {
            changes.push(KeyChange::Put { id: *id, wrapped: wrapped.to_bytes()? });
        }
    }
    Ok(changes)
}

fn claim_change(claim: &DraftClaim, reads: &mut Reads<'_>) -> Result<ClaimChange, ReadFault> {
    let (key, owner) = (claim_key(reads.keys, claim.kind, &claim.value)?, claim.owner);
    reads.latch(LatchKey::Claim(reads.tenant(), key), LatchMode::Exclusive)?;
    Ok(if claim.take { ClaimChange::Take { key, owner } } else { ClaimChange::Release { key, owner } })
}

fn record_change(record: DraftRecord, reads: &mut Reads<'_>) -> Result<RecordChange, ReadFault> {
    let key = match &record {
        DraftRecord::Put { key, .. } | DraftRecord::Take { key } => *key,
    };
    reads.latch(LatchKey::Record(reads.tenant(), key), LatchMode::Exclusive)?;
    let expected = version_of(key, reads)?;
    Ok(match record {
        DraftRecord::Put { key, body, expires_at } => {
            RecordChange::Put { key, expected, body: body?, expires_at }
        }
        DraftRecord::Take { key } => {
            let missing = || SealError::Malformed(format!("record {:?} to take is not there", key.kind));
            RecordChange::Take { key, expected: expected.ok_or_else(missing)? }
        }
    })
}

/// The version that was decided on, or the one there is where the decision did not look.
fn version_of(key: RecordKey, reads: &Reads<'_>) -> Result<Option<u64>, ReadFault> {
    match reads.records.get(&key) {
        Some(version) => Ok(*version),
        None => Ok(tables::record(reads.engine, reads.tenant(), key, reads.at)?.map(|row| row.version)),
    }
}

struct Sealer<'a> {
    keys: &'a TenantKeyring,
    tenant: TenantId,
    /// Keys that this very proposal stores.
    new: BTreeMap<DataKeyId, DataKey>,
}

impl Sealer<'_> {
    fn key_change(&mut self, change: DraftKey, fresh: &mut Fresh) -> Result<KeyChange, ReadFault> {
        Ok(match change {
            DraftKey::Put { id, purpose, plain } => {
                let wrapped = self.keys.wrap(id, purpose, fresh.bytes(), &plain)?.to_bytes()?;
                self.new.insert(id, DataKey::new(purpose, plain));
                KeyChange::Put { id, wrapped }
            }
            DraftKey::Destroy { id } => KeyChange::Destroy { id },
        })
    }

    fn key(&self, id: DataKeyId) -> Result<DataKey, ReadFault> {
        match self.new.get(&id) {
            Some(key) => Ok(key.clone()),
            None => self.keys.key(id)?.ok_or(ReadFault::KeyGone(id)),
        }
    }

    fn event(
        &self,
        mut draft: DraftEvent,
        stream: StreamRef,
        revision: u64,
        fresh: &mut Fresh,
    ) -> Result<ProposedEvent, ReadFault> {
        let id = draft.subject.unwrap_or_else(|| self.keys.ids().data);
        let mut failed = None;
        draft.event.personal_mut(&mut |field, value| {
            if let Personal::Plain(text) = value {
                let place = Place::Stream { stream, revision, field };
                let sealed = self.key(id).and_then(|key| {
                    Ok(seal::seal_value(&key, id, self.tenant, &place, fresh.bytes(), text.as_bytes())?)
                });
                match sealed {
                    Ok(sealed) => *value = Personal::Sealed(sealed),
                    Err(fault) => failed = Some(fault),
                }
            }
        });
        if let Some(fault) = failed {
            return Err(fault);
        }
        Ok(ProposedEvent {
            event_type: draft.event.event_type().to_owned(),
            schema: draft.event.schema(),
            body: draft.event.encode()?,
        })
    }

    /// Name, address and agent under the actor's key, or that of whom the write is about where no
    /// person is known to act. Someone whose key is gone has no details left to keep.
    fn actor(
        &self,
        envelope: &Envelope<'_>,
        subject: Option<DataKeyId>,
        fresh: &mut Fresh,
    ) -> Result<Option<Vec<u8>>, ReadFault> {
        let context = envelope.context;
        let details =
            ActorDetails { name: &context.actor.name, address: &context.address, agent: &context.agent };
        if details.is_empty() {
            return Ok(None);
        }
        let subject = match context.actor.who.kind {
            ActorKind::User | ActorKind::Client | ActorKind::Anonymous => subject,
            ActorKind::System | ActorKind::Operator => None,
        };
        let id = context.actor.key.or(subject).unwrap_or_else(|| self.keys.ids().data);
        let key = match self.key(id) {
            Ok(key) => key,
            Err(ReadFault::KeyGone(_)) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let text = serde_json::to_vec(&details).map_err(|cause| SealError::Malformed(cause.to_string()))?;
        let place = Place::Actor { proposal: envelope.id };
        let sealed = seal::seal_value(&key, id, self.tenant, &place, fresh.bytes(), &text)?;
        Ok(Some(seal::encode_sealed(&sealed)?))
    }
}

/// What the sealed actor details hold: JSON, opened by the audit query.
#[derive(Serialize)]
struct ActorDetails<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: &'a Option<String>,
}

impl ActorDetails<'_> {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.address.is_none() && self.agent.is_none()
    }
}
