//! A partition's whole state for another replica: a lazy handle here, checked bytes on the way.
//!
//! Bytes: `format 1 | (key length u32 | key | value length u32 | value)* | 0xffff_ffff | crc32c u32`,
//! little-endian; the checksum covers all before it. Of Raft's own table only the group's settings are in it.

use std::sync::Arc;

use domicile_storage::{EngineError, KeyRange, Order, Pair};

use crate::barrier::{AppliedState, StateBarrier};
use crate::state_meta;

const FORMAT: u8 = 1;
const END: u32 = u32::MAX;
const SCAN_PAIRS: usize = 1_024;

/// A snapshot that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The state could not be read.
    #[error("state engine")]
    Engine(#[from] EngineError),
    /// Entries were applied while the state was read; take a new handle.
    #[error("the state moved on while the snapshot was read")]
    Moved,
    /// The bytes are not a snapshot of a known format, or a bit differs.
    #[error("malformed snapshot: {0}")]
    Malformed(&'static str),
    /// A key or value is longer than the format can say.
    #[error("a value of {0} bytes is too long for a snapshot")]
    TooLong(usize),
}

/// A snapshot. Nothing is copied until [`StateSnapshot::into_bytes`].
pub(crate) enum StateSnapshot {
    /// This replica's state, as of an applied entry.
    Local { state: Arc<StateBarrier>, at: AppliedState },
    /// As received.
    #[allow(dead_code, reason = "made by the peer transport and by tests")]
    Bytes(Vec<u8>),
}

impl StateSnapshot {
    /// The bytes to send. Every batch moves the applied id, so an unmoved id proves one state.
    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, SnapshotError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Local { state, at } => {
                let bytes = encode(&state)?;
                if state.applied() == at { Ok(bytes) } else { Err(SnapshotError::Moved) }
            }
        }
    }
}

fn encode(state: &StateBarrier) -> Result<Vec<u8>, SnapshotError> {
    let mut out = vec![FORMAT];
    if let Some(settings) = state.engine().get(state_meta::SETTINGS)? {
        put_bytes(&mut out, state_meta::SETTINGS)?;
        put_bytes(&mut out, &settings)?;
    }
    let mut range = KeyRange {
        start: std::ops::Bound::Included(vec![state_meta::TABLE + 1]),
        end: std::ops::Bound::Unbounded,
    };
    loop {
        let pairs = state.engine().scan(&range, Order::Ascending, SCAN_PAIRS)?;
        let Some((last, _)) = pairs.last() else { break };
        range.start = std::ops::Bound::Excluded(last.clone());
        for (key, value) in &pairs {
            put_bytes(&mut out, key)?;
            put_bytes(&mut out, value)?;
        }
    }
    out.extend_from_slice(&END.to_le_bytes());
    let checksum = crc32c::crc32c(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(out)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), SnapshotError> {
    let len = u32::try_from(bytes.len()).ok().filter(|len| *len != END);
    out.extend_from_slice(&len.ok_or(SnapshotError::TooLong(bytes.len()))?.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// The pairs of a snapshot whose checksum holds.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Pair>, SnapshotError> {
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(SnapshotError::Malformed("too short"))?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return Err(SnapshotError::Malformed("checksum"));
    }
    let Some((&FORMAT, mut rest)) = body.split_first() else {
        return Err(SnapshotError::Malformed("unknown format"));
    };
    let mut pairs = Vec::new();
    while let Some(key) = take_bytes(&mut rest)? {
        let value = take_bytes(&mut rest)?.ok_or(SnapshotError::Malformed("a key without a value"))?;
        pairs.push((key.to_vec(), value.to_vec()));
    }
    if rest.is_empty() { Ok(pairs) } else { Err(SnapshotError::Malformed("bytes after the end")) }
}

/// The next length-prefixed bytes, or `None` at the end mark.
fn take_bytes<'b>(rest: &mut &'b [u8]) -> Result<Option<&'b [u8]>, SnapshotError> {
    let (len, after) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Malformed("cut short"))?;
    let len = u32::from_le_bytes(*len);
    *rest = after;
    if len == END {
        return Ok(None);
    }
    let len = usize::try_from(len).map_err(|_| SnapshotError::Malformed("cut short"))?;
    let (bytes, after) = rest.split_at_checked(len).ok_or(SnapshotError::Malformed("cut short"))?;
    *rest = after;
    Ok(Some(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use domicile_storage::{Batch, Engine, MemoryEngine, Write};
    use tokio::sync::{mpsc, watch};

    use super::*;

    fn snapshot_of(pairs: &[Pair]) -> Vec<u8> {
        let engine = MemoryEngine::new();
        let put = |(key, value): &Pair| Write::Put { key: key.clone(), value: value.clone() };
        engine.commit(Batch { writes: pairs.iter().map(put).collect() }).unwrap();
        let (open, _closed) = mpsc::channel(1);
        let watch = watch::Sender::new(crate::barrier::Applied::default());
        let state = StateBarrier::new(Arc::new(engine), AppliedState::default(), watch, open);
        StateSnapshot::Local { state, at: AppliedState::default() }.into_bytes().unwrap()
    }

    #[test]
    fn raft_values_stay_out_and_the_rest_comes_back() {
        let raft = (b"\x00applied".to_vec(), vec![1]);
        let own: Vec<Pair> = (1..=200u8).map(|k| (vec![k, 7], vec![k; usize::from(k) * 100])).collect();
        let mut all = own.clone();
        all.push(raft);
        assert_eq!(decode(&snapshot_of(&all)).unwrap(), own);
    }

    #[test]
    fn a_cut_or_changed_snapshot_is_refused() {
        let bytes = snapshot_of(&[(vec![1, 2], vec![3; 40]), (vec![2], Vec::new())]);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err());
            let mut changed = bytes.clone();
            changed[len] ^= 0x10;
            assert!(decode(&changed).is_err());
        }
    }
}
