//! Raft's own values inside a partition's state, written in the same batch as the effects.
//!
//! INVARIANT: table 0x00 belongs to Raft; no state machine writes it.

use std::sync::Arc;

use domicile_storage::codec::{self, CodecError};
use domicile_storage::{Engine, EngineError, Pair, Transaction};

use crate::barrier::AppliedState;
use crate::envelope;
use crate::log_meta;
use crate::placement::GroupSettings;

/// The first byte of every key that is Raft's.
pub(crate) const TABLE: u8 = 0x00;
const APPLIED: &[u8] = b"\x00applied";
const MEMBERSHIP: &[u8] = b"\x00membership";
const SETTINGS: &[u8] = b"\x00settings";
/// Values below this are of one replica alone.
const LOCAL: &[u8] = b"\x00local";
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
    load_with(|key| engine.get(key))
}

/// As [`load`], from the pairs of Raft's table.
pub(crate) fn from_pairs(pairs: &[Pair]) -> Result<AppliedState, StateMetaError> {
    load_with(|wanted| Ok(pairs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone())))
}

/// Whether a value of Raft's table goes into snapshots under its key: what is replicated and has no
/// place of its own in their header.
pub(crate) fn is_sent_as_is(key: &[u8]) -> bool {
    key.first() == Some(&TABLE) && key != APPLIED && key != MEMBERSHIP && !key.starts_with(LOCAL)
}

fn load_with(
    get: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, EngineError>,
) -> Result<AppliedState, StateMetaError> {
    let log_id = get(APPLIED)?.map(|bytes| log_meta::decode_log_id(&bytes)).transpose()?;
    let membership = get(MEMBERSHIP)?.map(|bytes| decode_membership(&bytes)).transpose()?.unwrap_or_default();
    let settings = get(SETTINGS)?.map(|bytes| envelope::decode_settings(&bytes)).transpose()?;
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

/// The applied position, if this pair holds it.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn applied_in(key: &[u8], value: &[u8]) -> Option<crate::LogPosition> {
    log_meta::decode_log_id(value).ok().filter(|_| key == APPLIED).as_ref().map(position)
}

#[cfg(any(test, feature = "testing"))]
pub(crate) fn position(id: &crate::type_config::LogId) -> crate::LogPosition {
    crate::LogPosition { term: crate::type_config::term_of(id), index: id.index() }
}

fn decode_membership(bytes: &[u8]) -> Result<crate::type_config::StoredMembership, CodecError> {
    let (_, body) = codec::split_format(bytes, &[MEMBERSHIP_FORMAT])?;
    codec::decode_open(body)
}
