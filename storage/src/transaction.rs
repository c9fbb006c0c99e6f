//! A transaction: reads see the engine under the writes made so far; `into_batch` yields the writes.

use std::collections::BTreeMap;

use crate::engine::is_empty_range;
use crate::{Batch, Engine, EngineError, KeyRange, Order, Pair, Write};

/// A key with the write it had before, if it had one; that write may be a delete.
type Undo = (Vec<u8>, Option<Option<Vec<u8>>>);

/// Uncommitted writes over an [`Engine`]. Dropping it changes nothing.
pub struct Transaction<'e> {
    engine: &'e dyn Engine,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What stood in `writes` before each write since the savepoint, oldest first.
    undo: Option<Vec<Undo>>,
}

impl<'e> Transaction<'e> {
    /// An empty transaction over `engine`.
    #[must_use]
    pub fn new(engine: &'e dyn Engine) -> Self {
        Self { engine, writes: BTreeMap::new(), undo: None }
    }

    /// The value under `key`, this transaction's writes included.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.engine.get(key),
        }
    }

    /// As [`Engine::read`], this transaction's writes included.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn read(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool, EngineError> {
        match self.writes.get(key) {
            Some(value) => Ok(value.as_deref().inspect(|value| look(value)).is_some()),
            None => self.engine.read(key, look),
        }
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.write(key, Some(value));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.write(key, None);
    }

    /// Marks the writes made so far; an earlier mark is forgotten.
    pub fn savepoint(&mut self) {
        self.undo = Some(Vec::new());
    }

    /// Takes back every write since the last [`Transaction::savepoint`], and forgets the mark.
    /// Without a mark nothing is taken back.
    pub fn rollback(&mut self) {
        for (key, before) in self.undo.take().unwrap_or_default().into_iter().rev() {
            match before {
                Some(write) => self.writes.insert(key, write),
                None => self.writes.remove(&key),
            };
        }
    }

    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        match &mut self.undo {
            None => {
                self.writes.insert(key, value);
            }
            Some(undo) => {
                let before = self.writes.insert(key.clone(), value);
                undo.push((key, before));
            }
        }
    }

    /// At most `limit` pairs of `range`, this transaction's writes included.
    ///
    /// # Errors
    /// As [`Engine::scan`].
    pub fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        if is_empty_range(range) {
            return Ok(Vec::new());
        }
        let bounds = (range.start.clone(), range.end.clone());
        let shadowed = self.writes.range(bounds.clone()).count();
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> =
            self.engine.scan(range, order, limit.saturating_add(shadowed))?.into_iter().collect();
        for (key, value) in self.writes.range(bounds) {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(match order {
            Order::Ascending => merged.into_iter().take(limit).collect(),
            Order::Descending => merged.into_iter().rev().take(limit).collect(),
        })
    }

    /// The writes, in key order.
    #[must_use]
    pub fn into_batch(self) -> Batch {
        let writes = self.writes.into_iter();
        Batch {
            writes: writes
                .map(|(key, value)| match value {
                    Some(value) => Write::Put { key, value },
                    None => Write::Delete { key },
                })
                .collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use std::ops::Bound;

    use super::*;
    use crate::MemoryEngine;

    fn key(name: &str) -> Vec<u8> {
        name.as_bytes().to_vec()
    }

    #[test]
    fn a_rollback_leaves_the_writes_before_the_savepoint_and_no_other() {
        let engine = MemoryEngine::new();
        engine.commit(Batch { writes: vec![Write::Put { key: key("old"), value: key("0") }] }).unwrap();
        let mut transaction = Transaction::new(&engine);
        transaction.put(key("kept"), key("1"));
        transaction.delete(key("old"));
        transaction.savepoint();
        transaction.put(key("kept"), key("2"));
        transaction.put(key("kept"), key("3"));
        transaction.delete(key("kept"));
        transaction.put(key("old"), key("4"));
        transaction.put(key("new"), key("5"));
        transaction.rollback();
        assert_eq!(transaction.get(b"kept").unwrap(), Some(key("1")));
        assert_eq!(transaction.get(b"new").unwrap(), None);
        let expected =
            vec![Write::Put { key: key("kept"), value: key("1") }, Write::Delete { key: key("old") }];
        assert_eq!(transaction.into_batch().writes, expected);
    }

    #[test]
    fn a_savepoint_forgets_the_one_before_it() {
        let engine = MemoryEngine::new();
        let mut transaction = Transaction::new(&engine);
        transaction.savepoint();
        transaction.put(key("first"), key("1"));
        transaction.savepoint();
        transaction.put(key("second"), key("2"));
        transaction.rollback();
        transaction.rollback();
        assert_eq!(transaction.into_batch().writes.len(), 1);
    }

    #[test]
    fn a_range_that_ends_before_it_begins_holds_nothing() {
        let engine = MemoryEngine::new();
        let mut transaction = Transaction::new(&engine);
        transaction.put(key("b"), key("1"));
        let range = KeyRange { start: Bound::Included(key("c")), end: Bound::Excluded(key("a")) };
        assert_eq!(transaction.scan(&range, Order::Ascending, 9).unwrap(), Vec::new());
    }
}
