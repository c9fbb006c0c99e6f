//! Ids of requests: unlike each other, and without a system call each.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use domicile_iam::ids::{Id as _, RequestId};
use domicile_raft::{Clock, Timestamp};

/// Makes request ids. They tie log lines, events and answers together and open nothing, so they need
/// not be unguessable; but neither do two of them tell how many requests came in between.
pub struct RequestIds {
    hasher: RandomState,
    seed: [u8; 16],
    made: AtomicU64,
}

impl RequestIds {
    /// Ids unlike those of other nodes and of earlier starts.
    pub fn new(clock: &dyn Clock) -> Self {
        let mut seed = [0; 16];
        clock.fill_random(&mut seed);
        Self { hasher: RandomState::new(), seed, made: AtomicU64::new(0) }
    }

    /// The id of a request that arrived at `now`.
    pub fn next(&self, now: Timestamp) -> RequestId {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        // A keyed hash of the number, with bytes of this start beside it.
        let hash = self.hasher.hash_one((self.seed, number)).to_be_bytes();
        let mut random = [0; 10];
        let bytes = hash.iter().chain(self.seed.iter());
        random.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        RequestId::new(now, random)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domicile_raft::testing::ManualClock;

    use super::*;

    #[test]
    fn ids_of_one_instant_differ_and_so_do_those_of_two_starts() {
        let (one, other) = (ManualClock::new(Timestamp(0), 1), ManualClock::new(Timestamp(0), 2));
        let starts = [RequestIds::new(&one), RequestIds::new(&other)];
        let ids: BTreeSet<_> =
            starts.iter().flat_map(|ids| (0..10_000).map(|_| ids.next(Timestamp(7)))).collect();
        assert_eq!(ids.len(), 20_000);
    }
}
