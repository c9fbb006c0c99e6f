//! Refuses a wall clock that left the monotonic one, so that log time cannot be poisoned.

use std::time::Duration;

use domicile_raft::{Clock, Timestamp};

/// How far the wall clock may leave the monotonic one, milliseconds (design §3).
const JUMP_MAX_MS: u64 = 500;

/// The wall clock jumped by more than 500 ms since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wall clock left the monotonic clock by {by_ms} ms")]
pub struct ClockJumped {
    /// By how much, either way.
    pub by_ms: u64,
}

/// Remembers both clocks at boot.
#[derive(Clone, Copy, Debug)]
pub struct ClockGuard {
    wall: Timestamp,
    monotonic: Duration,
}

impl ClockGuard {
    /// Trusts the clocks as they are now.
    pub fn new(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), monotonic: clock.monotonic() }
    }

    /// The wall clock, if it moved as the monotonic one did.
    ///
    /// # Errors
    /// [`ClockJumped`].
    pub fn now(&self, clock: &dyn Clock) -> Result<Timestamp, ClockJumped> {
        let now = clock.now();
        let elapsed = clock.monotonic().saturating_sub(self.monotonic).as_millis();
        let expected = self.wall.plus_ms(u64::try_from(elapsed).unwrap_or(u64::MAX));
        let by_ms = now.0.abs_diff(expected.0);
        if by_ms > JUMP_MAX_MS { Err(ClockJumped { by_ms }) } else { Ok(now) }
    }
}
