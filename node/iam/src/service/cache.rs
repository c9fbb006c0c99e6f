//! Bounded caches whose entries are checked against stored versions at every use, so nothing has to
//! be invalidated and nothing stale is served beyond what the read itself allows.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

/// A value with the versions it was built from.
pub(super) struct Versions<T> {
    /// Of all that it was built from; equal versions mean an equal value.
    pub versions: [u64; 2],
    /// Shared, never changed.
    pub value: Arc<T>,
}

impl<T> Clone for Versions<T> {
    fn clone(&self) -> Self {
        Self { versions: self.versions, value: Arc::clone(&self.value) }
    }
}

/// Two generations: when the young one is full it becomes the old one, and the old one is dropped.
pub(super) struct Cache<K, V> {
    generation_max: usize,
    generations: RwLock<(HashMap<K, V>, HashMap<K, V>)>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Holds at most `entries_max`.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { generation_max: entries_max / 2, generations: RwLock::default() }
    }

    /// The entry, if it is there.
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        generations.0.get(key).or_else(|| generations.1.get(key)).cloned()
    }

    /// Keeps an entry.
    pub(super) fn put(&self, key: K, value: V) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.0.len() >= self.generation_max {
            generations.1 = std::mem::take(&mut generations.0);
        }
        generations.0.insert(key, value);
    }

    /// Drops all entries: what they were built from left this node.
    pub(super) fn clear(&self) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        *generations = Default::default();
    }
}

impl<K: Eq + Hash, T> Cache<K, Versions<T>> {
    /// The entry, if it was built from these versions.
    pub(super) fn current<Q: Eq + Hash + ?Sized>(&self, key: &Q, versions: [u64; 2]) -> Option<Arc<T>>
    where
        K: std::borrow::Borrow<Q>,
    {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        let entry = generations.0.get(key).or_else(|| generations.1.get(key))?;
        (entry.versions == versions).then(|| Arc::clone(&entry.value))
    }
}
