//! The state engine in memory: for tests, simulation and nothing that must outlive the process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::{check_key, is_empty_range};
use crate::stamp::Stamps;
use crate::{Batch, Engine, EngineError, KeyRange, Order, Pair, Stamp, Write};

/// An [`Engine`] over a map. `sync` marks a point that [`MemoryEngine::lose_unsynced`] goes back to.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    inner: Mutex<Inner>,
    stamps: Stamps,
}

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What each write since the last sync replaced, oldest first.
    undo: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl MemoryEngine {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Simulates power loss: every batch after the last `sync` is gone.
    pub fn lose_unsynced(&self) {
        let mut inner = self.lock();
        let _changing = self.stamps.changing();
        let Inner { rows, undo } = &mut *inner;
        for (key, before) in undo.drain(..).rev() {
            match before {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
    }

    /// A panic elsewhere cannot leave a batch half applied: the lock is held over map writes only.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.lock().rows.get(key).cloned())
    }

    fn read(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool, EngineError> {
        Ok(self.lock().rows.get(key).inspect(|value| look(value)).is_some())
    }

    fn stamp(&self) -> Option<Stamp> {
        self.stamps.current()
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        self.scan_within(range, order, limit, usize::MAX)
    }

    fn scan_within(
        &self,
        range: &KeyRange,
        order: Order,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        if is_empty_range(range) {
            return Ok(Vec::new());
        }
        let inner = self.lock();
        let rows = inner.rows.range((range.start.clone(), range.end.clone()));
        let mut bytes = 0usize;
        // The pair that reaches the bound is still taken.
        let more = |(key, value): &(&Vec<u8>, &Vec<u8>)| {
            let before = bytes;
            bytes = bytes.saturating_add(key.len() + value.len());
            before < bytes_max
        };
        let copy = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match order {
            Order::Ascending => rows.take(limit).take_while(more).map(copy).collect(),
            Order::Descending => rows.rev().take(limit).take_while(more).map(copy).collect(),
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        for write in &batch.writes {
            let (Write::Put { key, .. } | Write::Delete { key }) = write;
            check_key(Path::new("memory"), key)?;
        }
        let mut inner = self.lock();
        let _changing = self.stamps.changing();
        for write in batch.writes {
            let (key, before) = match write {
                Write::Put { key, value } => {
                    let before = inner.rows.insert(key.clone(), value);
                    (key, before)
                }
                Write::Delete { key } => {
                    let before = inner.rows.remove(&key);
                    (key, before)
                }
            };
            inner.undo.push((key, before));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.lock().undo.clear();
        Ok(())
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        Ok(0)
    }
}
