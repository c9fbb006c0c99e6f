//! The state engine: ordered bytes with atomic batches and an explicit durability barrier.

use std::io;
use std::ops::Bound;
use std::path::Path;

use crate::views::history;
use crate::{EngineError, Stamp};

/// The longest key an engine takes, in bytes. The bound keeps sled's index frames in its log.
pub const KEY_BYTES_MAX: usize = 448;

/// A half-open or unbounded range of keys, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key wanted.
    pub start: Bound<Vec<u8>>,
    /// Where the range ends.
    pub end: Bound<Vec<u8>>,
}

impl KeyRange {
    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Self { start: Bound::Included(prefix.to_vec()), end: Bound::Excluded(end) };
            }
        }
        Self { start: Bound::Included(prefix.to_vec()), end: Bound::Unbounded }
    }
}

/// The direction of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One write of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Stores `value` under `key`, replacing what is there.
    Put {
        /// The key, at most [`KEY_BYTES_MAX`] bytes; may be empty.
        key: Vec<u8>,
        /// The whole value; there is no bound on its length at this layer.
        value: Vec<u8>,
    },
    /// Removes `key`; no error if it is absent.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// Writes that happen together or not at all. Later writes to a key win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The writes, in order.
    pub writes: Vec<Write>,
}

/// An ordered map of bytes on disk or in memory: the state of one partition.
///
/// INVARIANT: a batch is seen whole or not at all, by readers and after a crash.
pub trait Engine: Send + Sync + 'static {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when the stored value fails its checksum or has an unknown format.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Shows the value under `key` where it lies, for who needs no copy of it. False if there is none. `look` must
    /// not use the engine, and commits may wait for it.
    ///
    /// # Errors
    /// As [`Engine::get`]; nothing was shown then.
    fn read(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool, EngineError> {
        let value = self.get(key)?;
        Ok(value.inspect(|value| look(value)).is_some())
    }

    /// The stamp of what is here now. A memory of what was read is good for as long as the engine in use gives the
    /// stamp that was taken before that was read. `None` while a batch goes in, if the engine serves no more, and
    /// from one that keeps none.
    fn stamp(&self) -> Option<Stamp> {
        None
    }

    /// At most `limit` pairs of `range`.
    ///
    /// # Errors
    /// As [`Engine::get`].
    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError>;

    /// As [`Engine::scan`], but ends with the pair that brings keys and values to `bytes_max` bytes.
    ///
    /// # Errors
    /// As [`Engine::get`].
    fn scan_within(
        &self,
        range: &KeyRange,
        order: Order,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        scan_in_steps(self, range, order, limit, bytes_max)
    }

    /// Makes `batch` visible atomically. Durable only after the next [`Engine::sync`].
    ///
    /// # Errors
    /// [`EngineError::Io`], also for a key longer than [`KEY_BYTES_MAX`]; nothing of the batch is
    /// visible then.
    fn commit(&self, batch: Batch) -> Result<(), EngineError>;

    /// Returns once every batch committed before the call survives power loss.
    ///
    /// # Errors
    /// [`EngineError::Io`]; what was not synced before may be lost.
    fn sync(&self) -> Result<(), EngineError>;

    /// Bytes on disk now (0 in memory).
    ///
    /// # Errors
    /// [`EngineError::Io`].
    fn size_on_disk(&self) -> Result<u64, EngineError>;
}

/// [`Engine::scan_within`] for engines that cannot count on the way: a few pairs more than wanted are read.
fn scan_in_steps<E: Engine + ?Sized>(
    engine: &E,
    range: &KeyRange,
    order: Order,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<Pair>, EngineError> {
    const STEP: usize = 16;
    let (mut out, mut bytes, mut rest) = (Vec::new(), 0usize, range.clone());
    while out.len() < limit && !is_empty_range(&rest) {
        let step = STEP.min(limit - out.len());
        let pairs = engine.scan(&rest, order, step)?;
        let ended = pairs.len() < step;
        for (key, value) in pairs {
            match order {
                Order::Ascending => rest.start = Bound::Excluded(key.clone()),
                Order::Descending => rest.end = Bound::Excluded(key.clone()),
            }
            bytes = bytes.saturating_add(key.len() + value.len());
            out.push((key, value));
            if bytes >= bytes_max {
                return Ok(out);
            }
        }
        if ended {
            break;
        }
    }
    Ok(out)
}

/// At most 64 bytes of `key`, in hex.
pub(crate) fn hex(key: &[u8]) -> String {
    use std::fmt::Write as _;
    key.iter().take(64).fold(String::new(), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Refuses a key that is too long, the same way in every engine. History keys have a prefix on top.
pub(crate) fn check_key(file: &Path, key: &[u8]) -> Result<(), EngineError> {
    let prefix = if history::hidden(key) { history::PREFIX_BYTES } else { 0 };
    if key.len() <= KEY_BYTES_MAX + prefix {
        return Ok(());
    }
    let text = format!("a key of {} bytes is longer than {KEY_BYTES_MAX}", key.len());
    let source = io::Error::new(io::ErrorKind::InvalidInput, text);
    Err(EngineError::Io { file: file.to_path_buf(), action: "commit", source })
}

/// Whether no key can lie in the range; maps panic on an inverted one.
pub(crate) fn is_empty_range(range: &KeyRange) -> bool {
    match (&range.start, &range.end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
    }
}
