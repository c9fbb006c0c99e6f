//! The generic cell rate algorithm (ITU-T I.371) in a set-associative table.
//!
//! Each key falls into one set of eight slots; a slot holds the time at which its key would have its
//! full allowance back. A new key takes the slot that is nearest to that, so memory is fixed, and
//! somebody who floods the table with keys at worst gives others their allowance back early.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use domicile_raft::Clock;

const SETS: usize = 8_192;
const WAYS: usize = 8;

#[derive(Clone, Copy, Default)]
struct Slot {
    tag: u64,
    /// Monotonic milliseconds, scaled by [`SCALE`]; the theoretical arrival time of GCRA.
    full_at: u64,
}

/// Parts of a millisecond, so that high rates do not round to nothing.
const SCALE: u64 = 1_000;

/// One limit for many keys.
pub struct Gcra {
    sets: Box<[Mutex<[Slot; WAYS]>]>,
    hasher: RandomState,
    /// Scaled milliseconds between two at the steady rate.
    interval: u64,
    /// Scaled milliseconds that a burst may run ahead.
    burst: u64,
    seed: u64,
}

impl Gcra {
    /// `per_minute` requests a minute, all of which may come at once.
    pub fn new(per_minute: u64, clock: &dyn Clock) -> Self {
        let mut seed = [0_u8; 8];
        clock.fill_random(&mut seed);
        let interval = (60_000 * SCALE / per_minute.max(1)).max(1);
        Self {
            sets: (0..SETS).map(|_| Mutex::new([Slot::default(); WAYS])).collect(),
            hasher: RandomState::new(),
            interval,
            burst: interval.saturating_mul(per_minute.max(1)),
            seed: u64::from_le_bytes(seed),
        }
    }

    /// Takes one for `key` at `now_ms` of the monotonic clock.
    ///
    /// # Errors
    /// The milliseconds after which the next would pass. Nothing is taken then.
    pub fn take(&self, key: &[u8], now_ms: u64) -> Result<(), u64> {
        let now = now_ms.saturating_mul(SCALE);
        let hash = self.hasher.hash_one((self.seed, key));
        // The low bits choose the set, all bits tag the slot; an empty slot has tag 0 and is full.
        let index = usize::try_from(hash % SETS as u64).unwrap_or(0);
        let Some(set) = self.sets.get(index) else { return Ok(()) };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let found = set.iter().position(|slot| slot.tag == hash);
        let way = found.or_else(|| (0..WAYS).min_by_key(|way| set.get(*way).map(|slot| slot.full_at)));
        let Some(slot) = way.and_then(|way| set.get_mut(way)) else { return Ok(()) };
        let full_at = if found.is_some() { slot.full_at.max(now) } else { now };
        let next = full_at.saturating_add(self.interval);
        if next > now.saturating_add(self.burst) {
            return Err((next - now - self.burst).div_ceil(SCALE));
        }
        *slot = Slot { tag: hash, full_at: next };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;

    fn gcra(per_minute: u64) -> Gcra {
        Gcra::new(per_minute, &ManualClock::new(Timestamp(0), 3))
    }

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        let limit = gcra(60);
        for _ in 0..60 {
            assert_eq!(limit.take(b"k", 5_000), Ok(()));
        }
        assert_eq!(limit.take(b"k", 5_000), Err(1_000));
        assert_eq!(limit.take(b"k", 5_999), Err(1));
        assert_eq!(limit.take(b"k", 6_000), Ok(()));
        assert_eq!(limit.take(b"k", 6_000), Err(1_000));
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let limit = gcra(1);
        assert_eq!(limit.take(b"k", 0), Ok(()));
        for _ in 0..100 {
            assert_eq!(limit.take(b"k", 30_000), Err(30_000));
        }
        assert_eq!(limit.take(b"k", 60_000), Ok(()));
    }

    #[test]
    fn a_flood_of_keys_neither_grows_the_table_nor_shuts_out_a_new_key() {
        let limit = gcra(1);
        for number in 0..200_000_u32 {
            assert_eq!(limit.take(&number.to_be_bytes(), 0), Ok(()), "a new key passes");
        }
        assert_eq!(limit.take(b"a person", 0), Ok(()));
    }

    #[test]
    fn a_rate_above_one_a_millisecond_is_kept() {
        let limit = gcra(600_000);
        let passed = (0..10_000).filter(|_| limit.take(b"k", 0).is_ok()).count();
        assert_eq!(passed, 10_000);
        for _ in 10_000..600_000 {
            assert_eq!(limit.take(b"k", 0), Ok(()));
        }
        assert!(limit.take(b"k", 0).is_err());
        assert_eq!((0..11).filter(|_| limit.take(b"k", 1).is_ok()).count(), 10);
    }
}
