//! How many of something one holder may have, so that none takes them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Taken<K> = Arc<Mutex<BTreeMap<K, usize>>>;

/// Gives at most `max` to each holder.
#[derive(Debug)]
pub(super) struct Shares<K> {
    max: usize,
    taken: Taken<K>,
}

/// One; given back when dropped.
#[derive(Debug)]
pub(super) struct Share<K: Ord> {
    holder: K,
    taken: Taken<K>,
}

impl<K: Ord + Clone> Shares<K> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// One more for `holder`, unless it has its part.
    pub(super) fn take(&self, holder: K) -> Option<Share<K>> {
        let mut taken = lock(&self.taken);
        let held = taken.entry(holder.clone()).or_default();
        if *held >= self.max {
            return None;
        }
        *held += 1;
        Some(Share { holder, taken: Arc::clone(&self.taken) })
    }
}

impl<K: Ord> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(held) = taken.get_mut(&self.holder) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}

fn lock<K>(taken: &Taken<K>) -> MutexGuard<'_, BTreeMap<K, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn one_holder_does_not_take_what_another_needs() {
        let shares = Shares::new(2);
        let (one, _two) = (shares.take("a").unwrap(), shares.take("a").unwrap());
        assert!(shares.take("a").is_none());
        assert!(shares.take("b").is_some());
        drop(one);
        assert!(shares.take("a").is_some());
        assert_eq!(lock(&shares.taken).len(), 1, "nothing is kept of who holds nothing");
    }
}
