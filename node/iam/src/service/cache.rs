//! Caches whose entries are checked against the state at every use, so nothing has to be invalidated and
//! nothing stale is served beyond what the read itself allows.
//!
//! An entry holds if its versions are those that are stored now. They are read only where something was committed
//! since they were last found to be the same: see [`States`].

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use domicile_storage::Engine;

use crate::cache::Cache;
use crate::seen::{Found, Seen};

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
pub(super) struct States([Seen; 2]);

impl States {
    /// The directory's alone.
    pub(super) fn of_directory(directory: &dyn Engine) -> Self {
        Self([Seen::of(directory), Seen::NOTHING])
    }

    /// The home's alone.
    pub(super) fn of_home(home: &dyn Engine) -> Self {
        Self([Seen::NOTHING, Seen::of(home)])
    }

    /// These and the home's, if it is here.
    pub(super) fn and_home(self, home: Option<&dyn Engine>) -> Self {
        let Self([directory, _]) = self;
        Self([directory, home.map_or(Seen::NOTHING, Seen::of)])
    }
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
    found: [Found; 2],
}

impl<T> Versions<T> {
    fn is_found_in(&self, states: States) -> bool {
        self.found.iter().zip(states.0).all(|(found, state)| found.is_in(state))
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
                found.set(state);
            }
            Some(Arc::clone(&entry.value))
        })
    }

    /// Keeps what was built from these versions, which were read from `states`.
    pub(super) fn keep(&self, key: K, versions: [u64; 2], states: States, value: &Arc<T>) {
        let found = states.0.map(Found::new);
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
    use domicile_storage::{Batch, MemoryEngine};

    use super::*;
    use crate::seen::testing::Unstamped;

    fn commit(engine: &dyn Engine) {
        engine.commit(Batch::default()).unwrap();
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
        let home = Unstamped(MemoryEngine::new());
        let cache = Cache::<u8, Versions<&str>>::new(8);
        cache.keep(1, [1, 0], States::of_home(&home), &Arc::new("a"));
        assert_eq!(cache.unchanged(&1, States::of_home(&home)), None);
        assert!(cache.current(&1, [1, 0], States::of_home(&home)).is_some());
        assert_eq!(cache.unchanged(&1, States::of_home(&home)), None);
    }
}
