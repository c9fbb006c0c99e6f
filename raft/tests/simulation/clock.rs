//! A node's clocks, which follow the simulated time at a rate of their own and jump.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domicile_raft::{Clock, Timestamp};
use tokio::time::Instant;

use crate::rng::Rng;

/// What the fastest clock counts of a second, and more.
pub const RATE_MAX_PER_MILLE: u32 = 1_021;
const EPOCH_MS: u64 = 1_700_000_000_000;

pub struct SimClock(Mutex<Inner>);

struct Inner {
    /// When the rate changed last, and what the monotonic clock showed then.
    since: Instant,
    shown: Duration,
    ppm: i64,
    jumped_ms: i64,
    rng: Rng,
}

impl SimClock {
    pub fn new(rng: Rng) -> Self {
        let inner = Inner { since: Instant::now(), shown: Duration::ZERO, ppm: 0, jumped_ms: 0, rng };
        Self(Mutex::new(inner))
    }

    pub fn jump(&self, ms: i64) {
        self.with(|inner| inner.jumped_ms += ms);
    }

    pub fn set_rate(&self, ppm: i64) {
        self.with(|inner| {
            inner.shown = inner.monotonic();
            inner.since = Instant::now();
            inner.ppm = ppm;
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn monotonic(&self) -> Duration {
        let passed = i64::try_from(self.since.elapsed().as_micros()).unwrap();
        let counted = passed + passed / 1_000 * self.ppm / 1_000;
        self.shown + Duration::from_micros(u64::try_from(counted).unwrap())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.with(|inner| {
            let passed_ms = u64::try_from(inner.monotonic().as_millis()).unwrap();
            Timestamp((EPOCH_MS + passed_ms).saturating_add_signed(inner.jumped_ms))
        })
    }

    fn monotonic(&self) -> Duration {
        self.with(|inner| inner.monotonic())
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        self.with(|inner| {
            for chunk in buffer.chunks_mut(8) {
                chunk.copy_from_slice(&inner.rng.next().to_le_bytes()[..chunk.len()]);
            }
        });
    }
}
