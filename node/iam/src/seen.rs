//! In which state something was found, for memories that hold while nothing was committed since (docs/adr/0032).

use std::sync::atomic::{AtomicU64, Ordering};

use domicile_storage::Engine;

/// A state, by its stamp. To be taken before anything is read of it: what is read is then of this state, or newer
/// and asked for by nobody under this stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Seen {
    /// Nothing was read, be it that the state is not here.
    pub(crate) const NOTHING: Self = Self(u64::MAX);
    /// A state that tells nothing of itself, or is changing.
    const UNKNOWN: Self = Self(0);

    /// As it is now.
    pub(crate) fn of(engine: &dyn Engine) -> Self {
        engine.stamp().map_or(Self::UNKNOWN, |stamp| Self(stamp.number().get()))
    }
}

/// Where something was last found.
pub(crate) struct Found(AtomicU64);

impl Found {
    pub(crate) fn new(seen: Seen) -> Self {
        Self(AtomicU64::new(seen.0))
    }

    /// Whether it was there, so that it still is while the state gives this stamp.
    pub(crate) fn is_in(&self, seen: Seen) -> bool {
        seen != Seen::UNKNOWN && self.0.load(Ordering::Relaxed) == seen.0
    }

    /// It was found there.
    pub(crate) fn set(&self, seen: Seen) {
        self.0.store(seen.0, Ordering::Relaxed);
    }
}

/// For tests.
#[cfg(test)]
pub(crate) mod testing {
    use domicile_storage::{Batch, Engine, EngineError, KeyRange, MemoryEngine, Order, Pair};

    /// An engine that keeps no stamps.
    pub(crate) struct Unstamped(pub(crate) MemoryEngine);

    impl Engine for Unstamped {
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
}
