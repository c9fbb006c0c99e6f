//! Raft's own values inside a partition's state, written in the same batch as the effects.
//!
//! INVARIANT: table 0x00 belongs to Raft; no state machine writes it.

use std::sync::Arc;

use domicile_storage::codec::{self, CodecError};
use domicile_storage::{Engine, EngineError, Transaction};

use crate::barrier::AppliedState;
use crate::envelope;
use crate::log_meta;
use crate::placement::GroupSettings;

/// The first byte of every key that is Raft's.
pub(crate) const TABLE: u8 = 0x00;
const APPLIED: &[u8] = b"\x00applied";
const MEMBERSHIP: &[u8] = b"\x00membership";
/// The one value of Raft's own that is in snapshots too.
pub(crate) const SETTINGS: &[u8] = b"\x00settings";
const MEMBERSHIP_FORMAT: u8 = 1;

/// State whose Raft values cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateMetaError {
    /// The engine refused.
    #[error("state engine")]
    Engine(#[from] EngineError),
    /// A value does not decode.
    #[error("state's raft metadata")]
    Decode(#[from] CodecError),
}

pub(crate) fn load(engine: &dyn Engine) -> Result<AppliedState, StateMetaError> {
    let log_id = engine.get(APPLIED)?.map(|bytes| log_meta::decode_log_id(&bytes)).transpose()?;
    let membership =
        engine.get(MEMBERSHIP)?.map(|bytes| decode_membership(&bytes)).transpose()?.unwrap_or_default();
    let settings = engine.get(SETTINGS)?.map(|bytes| envelope::decode_settings(&bytes)).transpose()?;
    Ok(AppliedState { log_id, membership, settings: settings.map(Arc::new) })
}

pub(crate) fn store_applied(
    transaction: &mut Transaction<'_>,
    applied: &AppliedState,
) -> Result<(), CodecError> {
    match &applied.log_id {
        Some(id) => transaction.put(APPLIED.to_vec(), log_meta::encode_log_id(id)?),
        None => transaction.delete(APPLIED.to_vec()),
    }
    Ok(())
}

pub(crate) fn store_membership(
    transaction: &mut Transaction<'_>,
    applied: &AppliedState,
) -> Result<(), CodecError> {
    let bytes = codec::encode_open(MEMBERSHIP_FORMAT, &applied.membership)?;
    transaction.put(MEMBERSHIP.to_vec(), bytes);
    Ok(())
}

pub(crate) fn store_settings(
    transaction: &mut Transaction<'_>,
    settings: &GroupSettings,
) -> Result<(), CodecError> {
    transaction.put(SETTINGS.to_vec(), envelope::encode_settings(settings)?);
    Ok(())
}

fn decode_membership(bytes: &[u8]) -> Result<crate::type_config::StoredMembership, CodecError> {
    let (_, body) = codec::split_format(bytes, &[MEMBERSHIP_FORMAT])?;
    codec::decode_open(body)
}
