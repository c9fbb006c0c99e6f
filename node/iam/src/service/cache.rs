//! Caches whose entries are checked against the state at every use, so nothing has to be invalidated and
//! nothing stale is served beyond what the read itself allows.
//!
//! An entry holds if its versions are those that are stored now. They are read only where something was committed
//! since they were last found to be the same: see [`States`].

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domicile_storage::Engine;

use crate::cache::Cache;

/// Which states something is read from, by their stamps: the directory's, and that of a tenant's home.
///
/// INVARIANT: these are taken before the rows are read. What is kept under them is then of these states, or newer
/// and asked for by nobody, since the stamps changed with it. So while the engines in use give the same stamps, what was
/// found is what reading the rows again would find: whoever knows of a write finds other stamps (docs/adr/0032).
///
/// Stamps and not applied indexes: an index is told only after its effects are readable, and comes again in
/// another life of its partition. A state that replaces another, by a snapshot or because a home left and came
/// back, is another engine and so has other stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct States([u64; 2]);

/// A state that tells nothing of itself, or is changing.
const UNKNOWN: u64 = 0;
/// No stamp either: nothing is read from there, be it that the home is not here.
const NOT_READ: u64 = u64::MAX;

impl States {
    /// The directory's alone.
    pub(super) fn of_directory(directory: &dyn Engine) -> Self {
        Self([stamp(directory), NOT_READ])
    }

    /// The home's alone.
    pub(super) fn of_home(home: &dyn Engine) -> Self {
        Self([NOT_READ, stamp(home)])
    }

    /// These and the home's, if it is here.
    pub(super) fn and_home(self, home: Option<&dyn Engine>) -> Self {
        let Self([directory, _]) = self;
        Self([directory, home.map_or(NOT_READ, stamp)])
    }
}

fn stamp(engine: &dyn Engine) -> u64 {
    engine.stamp().map_or(UNKNOWN, |stamp| stamp.number().get())
}

/// A value with the versions it was built from.
#[allow(clippy::struct_field_names, reason = "what it is, and the field's only word")]
pub(super) struct Versions<T> {
    /// Of all that it was built from; equal versions mean an equal value.
    versions: [u64; 2],
    /// Shared, never changed.
    value: Arc<T>,
    /// Where each version was last found. Each for itself: what a state holds stays true of it, whatever
    /// another thread found in the other one.
    found: [AtomicU64; 2],
}

impl<T> Versions<T> {
    fn is_found_in(&self, states: States) -> bool {
        let mut both = self.found.iter().zip(states.0);
        both.all(|(found, state)| state != UNKNOWN && found.load(Ordering::Relaxed) == state)
    }
}

impl<K: Eq + Hash, T> Cache<K, Versions<T>> {
    /// The entry, if nothing was committed since its versions were last found stored.
    pub(super) fn unchanged<Q: Eq + Hash + ?Sized>(&self, key: &Q, states: States) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
    {
        self.look(key, |entry| entry.is_found_in(states).then(|| Arc::clone(&entry.value)))
    }

    /// The entry, if it was built from these versions, which were read from `states`.
    pub(super) fn current<Q: Eq + Hash + ?Sized>(
        &self,
        key: &Q,
        versions: [u64; 2],
        states: States,
    ) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
    {
        self.look(key, |entry| {
            if entry.versions != versions {
                return None;
            }
            for (found, state) in entry.found.iter().zip(states.0) {
                found.store(state, Ordering::Relaxed);
            }
            Some(Arc::clone(&entry.value))
        })
    }

    /// Keeps what was built from these versions, which were read from `states`.
    pub(super) fn keep(&self, key: K, versions: [u64; 2], states: States, value: &Arc<T>) {
        let found = states.0.map(AtomicU64::new);
        self.put(key, Versions { versions, value: Arc::clone(value), found });
    }

    /// The value that was kept last, whether it holds or not.
    pub(super) fn last<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
    {
        self.look(key, |entry| Some(Arc::clone(&entry.value)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use domicile_storage::{Batch, EngineError, KeyRange, MemoryEngine, Order, Pair};

    use super::*;

    fn commit(engine: &dyn Engine) {
        engine.commit(Batch::default()).unwrap();
    }

    /// An engine that keeps no stamps.
    struct Plain(MemoryEngine);

    impl Engine for Plain {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
            self.0.get(key)
        }
        fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
            self.0.scan(range, order, limit)
        }
        fn commit(&self, batch: Batch) -> Result<(), EngineError> {
            self.0.commit(batch)
        }
        fn sync(&self) -> Result<(), EngineError> {
            self.0.sync()
        }
        fn size_on_disk(&self) -> Result<u64, EngineError> {
            self.0.size_on_disk()
        }
    }

    #[test]
    fn an_entry_is_unchanged_until_either_state_is_and_then_holds_by_its_versions() {
        let (directory, home) = (MemoryEngine::new(), MemoryEngine::new());
        let states = || States::of_directory(&directory).and_home(Some(&home));
        let cache = Cache::<u8, Versions<&str>>::new(8);
        cache.keep(1, [1, 1], states(), &Arc::new("a"));
        assert_eq!(cache.unchanged(&1, states()).as_deref(), Some(&"a"));
        for engine in [&directory, &home] {
            commit(engine);
            assert_eq!(cache.unchanged(&1, states()), None);
            assert_eq!(cache.current(&1, [1, 2], states()), None);
            assert_eq!(cache.unchanged(&1, states()), None, "other versions were found there");
            assert!(cache.current(&1, [1, 1], states()).is_some());
            assert!(cache.unchanged(&1, states()).is_some());
        }
        assert_eq!(cache.unchanged(&2, states()), None);
    }

    #[test]
    fn a_home_that_is_not_here_and_one_that_is_are_different_states() {
        let (directory, home, other) = (MemoryEngine::new(), MemoryEngine::new(), MemoryEngine::new());
        let cache = Cache::<u8, Versions<&str>>::new(8);
        let without = States::of_directory(&directory);
        cache.keep(1, [1, 0], without, &Arc::new("a"));
        assert!(cache.unchanged(&1, without).is_some());
        assert_eq!(cache.unchanged(&1, without.and_home(Some(&home))), None);
        cache.keep(1, [1, 1], without.and_home(Some(&home)), &Arc::new("b"));
        assert_eq!(
            cache.unchanged(&1, without.and_home(Some(&other))),
            None,
            "as many commits, another home"
        );
        assert_eq!(cache.unchanged(&1, without), None);
        assert_eq!(cache.last(&1).as_deref(), Some(&"b"));
    }

    #[test]
    fn an_engine_without_stamps_is_read_each_time() {
        let home = Plain(MemoryEngine::new());
        let cache = Cache::<u8, Versions<&str>>::new(8);
        cache.keep(1, [1, 0], States::of_home(&home), &Arc::new("a"));
        assert_eq!(cache.unchanged(&1, States::of_home(&home)), None);
        assert!(cache.current(&1, [1, 0], States::of_home(&home)).is_some());
        assert_eq!(cache.unchanged(&1, States::of_home(&home)), None);
    }
}
