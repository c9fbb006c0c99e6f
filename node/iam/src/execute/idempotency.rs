//! Replays: one proposal id per caller and idempotency key, and a reply only that caller can open.

use aws_lc_rs::{digest, hmac};
use domicile_storage::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{ExecuteError, IdempotencyKey, RequestContext};
use super::failure::fault;
use super::fresh::Fresh;
use crate::ids::{Id, ProposalId};
use crate::seal::{SealError, TenantKeyring};

const LABEL: &str = "idempotent reply v1";
const HASH_LABEL: &str = "request hash v1";
const REPLY_FORMAT: u8 = 1;

fn push(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(part);
}

/// The proposal id of every try of this request: the first 128 bits of a SHA-256 over tenant, caller
/// and key.
pub(super) fn proposal_id(context: &RequestContext, key: &IdempotencyKey) -> ProposalId {
    let mut named = Vec::new();
    push(&mut named, b"domicile idempotency v1");
    push(&mut named, &context.tenant.bytes());
    push(&mut named, &[context.actor.who.kind.number()]);
    push(&mut named, context.actor.who.id.as_bytes());
    push(&mut named, key.key.as_bytes());
    let hash = digest::digest(&digest::SHA256, &named);
    let mut id = [0_u8; 16];
    id.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    ProposalId::from_bytes(id)
}

/// What is kept of the caller's hash: HMAC-SHA-256 under a key of the tenant. The body may hold a
/// password, and a bare hash in log and backups would let anyone test guesses.
pub(super) fn kept_hash(keys: &TenantKeyring, key: &IdempotencyKey) -> Result<[u8; 32], SealError> {
    let secret = keys.token_subkey(HASH_LABEL)?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice()), &key.request_hash);
    let mut kept = [0_u8; 32];
    kept.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    Ok(kept)
}

fn bound_to(context: &RequestContext, id: ProposalId, key: &IdempotencyKey) -> Vec<u8> {
    let mut bound = Vec::new();
    push(&mut bound, &id.bytes());
    push(&mut bound, &[context.actor.who.kind.number()]);
    push(&mut bound, context.actor.who.id.as_bytes());
    push(&mut bound, &key.request_hash);
    bound
}

/// Seals a reply for replays by the same caller of the same request.
pub(super) fn seal_reply<R: Serialize>(
    keys: &TenantKeyring,
    context: &RequestContext,
    id: ProposalId,
    key: &IdempotencyKey,
    fresh: &mut Fresh,
    reply: &R,
) -> Result<Vec<u8>, SealError> {
    let plain = zeroize::Zeroizing::new(
        codec::encode_open(REPLY_FORMAT, reply).map_err(|cause| SealError::Malformed(cause.to_string()))?,
    );
    keys.seal_token(LABEL, &bound_to(context, id, key), fresh.bytes(), &plain)
}

/// Opens a kept reply.
pub(super) fn open_reply<R: DeserializeOwned>(
    keys: &TenantKeyring,
    context: &RequestContext,
    id: ProposalId,
    key: &IdempotencyKey,
    sealed: &[u8],
) -> Result<R, SealError> {
    let plain = keys.open_token(LABEL, &bound_to(context, id, key), sealed)?;
    codec::split_format(&plain, &[REPLY_FORMAT])
        .and_then(|(_, body)| codec::decode_open(body))
        .map_err(|cause| SealError::Malformed(cause.to_string()))
}

/// Refuses a replay whose tenant's keys are gone since, with all that the reply could have said.
pub(super) fn still_there<R>(keys: &TenantKeyring) -> Result<(), ExecuteError<R>> {
    match keys.key(keys.ids().tenant).map_err(fault)? {
        Some(_) => Ok(()),
        None => Err(ExecuteError::TenantErased),
    }
}
