//! A bounded map, for what can be made again.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Two generations: when the young one is full it becomes the old one, and the old one is dropped.
pub(crate) struct Cache<K, V> {
    generation_max: usize,
    generations: RwLock<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Cache<K, V> {
    /// Holds at most `entries_max`.
    pub(crate) fn new(entries_max: usize) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new() };
        Self { generation_max: entries_max / 2, generations: RwLock::new(generations) }
    }

    /// Keeps an entry.
    pub(crate) fn put(&self, key: K, value: V) {
        let mut generations = self.write();
        if generations.young.len() >= self.generation_max {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }

    /// Drops all entries: what they were built from left this node.
    pub(crate) fn clear(&self) {
        let mut generations = self.write();
        generations.young.clear();
        generations.old.clear();
    }

    /// What `look` makes of the entry, if it is there. Writers wait for it.
    pub(crate) fn look<Q, T>(&self, key: &Q, look: impl FnOnce(&V) -> Option<T>) -> Option<T>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let generations = self.read();
        generations.young.get(key).or_else(|| generations.old.get(key)).and_then(look)
    }

    fn read(&self) -> RwLockReadGuard<'_, Generations<K, V>> {
        self.generations.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Generations<K, V>> {
        self.generations.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// The entry, if it is there.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.look(key, |value| Some(value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_until_as_much_again_was_put_after_it_and_never_is_there_more_than_the_bound() {
        let cache = Cache::new(8);
        for number in 0..100_u32 {
            cache.put(number, number);
            let held = (0..=number).filter(|key| cache.get(key).is_some()).count();
            assert!(held <= 8);
            assert!((number.saturating_sub(3)..=number).all(|key| cache.get(&key) == Some(key)));
        }
        assert_eq!(cache.get(&0), None);
        cache.clear();
        assert_eq!(cache.get(&99), None);
    }
}
