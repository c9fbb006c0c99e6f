//! Where history lies: behind every other key, `ff` eight times, the view's id, the key.
//!
//! Its value is one byte, 0 for a key that was absent and 1 for one that had the value that follows.

use std::ops::Bound;
use std::path::PathBuf;

use crate::{Batch, Engine, EngineError, KeyRange, Order, Write};

/// What every history key begins with, and no other may.
pub(crate) const HISTORY: [u8; 8] = [0xff; 8];
/// Bytes before the key: how much longer than others a history key may be.
pub(crate) const PREFIX_BYTES: usize = HISTORY.len() + 8;
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
/// Cleared in one batch at most, so that reading what goes stays small.
const CLEAR_BYTES: usize = 1 << 20;

/// Whether the key lies where history does.
pub(crate) fn hidden(key: &[u8]) -> bool {
    key.starts_with(&HISTORY)
}

/// The history key of `key` in view `id`.
pub(super) fn key(id: u64, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_BYTES + key.len());
    out.extend_from_slice(&HISTORY);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// The key that a history key is about.
pub(super) fn user_key(row: &[u8]) -> &[u8] {
    row.get(PREFIX_BYTES..).unwrap_or_default()
}

/// All history of view `id`.
pub(super) fn of(id: u64) -> KeyRange {
    KeyRange::prefix(&key(id, &[]))
}

/// The history of view `id` for the keys of `range`.
pub(super) fn within(id: u64, range: &KeyRange) -> KeyRange {
    let all = of(id);
    let bound = |bound: &Bound<Vec<u8>>, open: Bound<Vec<u8>>| match bound {
        Bound::Included(end) => Bound::Included(key(id, end)),
        Bound::Excluded(end) => Bound::Excluded(key(id, end)),
        Bound::Unbounded => open,
    };
    KeyRange { start: bound(&range.start, all.start), end: bound(&range.end, all.end) }
}

/// The part of `range` that holds no history: nothing else lies behind its first key.
pub(super) fn without(range: &KeyRange) -> KeyRange {
    let beyond = match &range.end {
        Bound::Included(end) | Bound::Excluded(end) => end.as_slice() > HISTORY.as_slice() || hidden(end),
        Bound::Unbounded => true,
    };
    let end = if beyond { Bound::Excluded(HISTORY.to_vec()) } else { range.end.clone() };
    KeyRange { start: range.start.clone(), end }
}

pub(super) fn encode(value: Option<Vec<u8>>) -> Vec<u8> {
    match value {
        None => vec![ABSENT],
        Some(value) => {
            let mut out = Vec::with_capacity(1 + value.len());
            out.push(PRESENT);
            out.extend(value);
            out
        }
    }
}

pub(super) fn decode(key: &[u8], row: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
    match row.split_first() {
        Some((&ABSENT, [])) => Ok(None),
        Some((&PRESENT, value)) => Ok(Some(value.to_vec())),
        Some(_) | None => Err(EngineError::Corrupt {
            file: PathBuf::from("history"),
            key: crate::engine::hex(key),
            reason: "no history of a known form".to_owned(),
        }),
    }
}

/// Some keys of `range`, at most `limit`, and whether there may be more.
pub(super) fn rows(
    engine: &dyn Engine,
    range: &KeyRange,
    limit: usize,
) -> Result<(Vec<Vec<u8>>, bool), EngineError> {
    let pairs = engine.scan_within(range, Order::Ascending, limit, CLEAR_BYTES)?;
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    let more = pairs.len() >= limit || bytes >= CLEAR_BYTES;
    Ok((pairs.into_iter().map(|(key, _)| key).collect(), more))
}

/// Removes some keys of `range` in one batch; whether there may be more.
pub(super) fn clear(engine: &dyn Engine, range: &KeyRange, limit: usize) -> Result<bool, EngineError> {
    let (keys, more) = rows(engine, range, limit)?;
    if !keys.is_empty() {
        engine.commit(Batch { writes: keys.into_iter().map(|key| Write::Delete { key }).collect() })?;
    }
    Ok(more)
}
