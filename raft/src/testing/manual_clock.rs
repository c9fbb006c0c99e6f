//! A clock that moves only when told, with randomness from a seed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Clock, Timestamp};

/// Stands still until [`ManualClock::advance`]. Equal seeds give equal bytes in equal order.
#[derive(Debug)]
pub struct ManualClock {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    monotonic: Duration,
    seed: u64,
}

impl ManualClock {
    /// Wall time starts at `now`, monotonic time at zero.
    #[must_use]
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self { inner: Mutex::new(Inner { now, monotonic: Duration::ZERO, seed }) }
    }

    /// Moves both clocks on by `by` (whole milliseconds count for the wall clock).
    pub fn advance(&self, by: Duration) {
        let mut inner = self.lock();
        inner.now = inner.now.plus_ms(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
        inner.monotonic = inner.monotonic.saturating_add(by);
    }

    /// Makes the wall clock jump, forwards or back; monotonic time stays.
    pub fn jump_to(&self, now: Timestamp) {
        self.lock().now = now;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        let mut inner = self.lock();
        for chunk in buffer.chunks_mut(8) {
            let word = splitmix64(&mut inner.seed).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014). Not for secrets.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_bytes_and_other_seeds_others() {
        let bytes = |seed| {
            let mut buffer = [0u8; 19];
            ManualClock::new(Timestamp(0), seed).fill_random(&mut buffer);
            buffer
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }

    #[test]
    fn a_jump_moves_the_wall_clock_only() {
        let clock = ManualClock::new(Timestamp(1_000), 0);
        clock.advance(Duration::from_millis(5));
        clock.jump_to(Timestamp(10));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(10), Duration::from_millis(5)));
    }
}
