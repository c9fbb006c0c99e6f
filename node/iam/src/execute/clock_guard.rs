//! Refuses a wall clock that left the monotonic one, so that log time cannot be poisoned.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domicile_raft::{Clock, Timestamp};

/// How far the wall clock may leave the monotonic one, milliseconds (design §3).
const JUMP_MAX_MS: u64 = 500;

/// How long the clocks must agree again after a jump until the wall clock is trusted as it is then:
/// an operator or NTP has set it, and a node that waits for ever needs a restart to heal.
const SETTLED: Duration = Duration::from_mins(1);

/// The wall clock jumped by more than 500 ms, and less than a minute ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wall clock left the monotonic clock by {by_ms} ms")]
pub struct ClockJumped {
    /// By how much, either way.
    pub by_ms: u64,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Pair {
    wall: Timestamp,
    monotonic: Duration,
}

impl Pair {
    /// By how much the wall clock moved otherwise than the monotonic one from here to `later`.
    fn drift_ms(&self, later: &Self) -> u64 {
        let elapsed = later.monotonic.saturating_sub(self.monotonic).as_millis();
        let expected = self.wall.plus_ms(u64::try_from(elapsed).unwrap_or(u64::MAX));
        later.wall.0.abs_diff(expected.0)
    }
}

#[derive(Debug)]
struct Trust {
    anchor: Pair,
    /// Where the clocks were first seen after a jump, while they go on from there together.
    jumped: Option<Pair>,
}

/// Remembers both clocks at boot, or where they settled after a jump.
#[derive(Debug)]
pub struct ClockGuard {
    trust: Mutex<Trust>,
}

impl ClockGuard {
    /// Trusts the clocks as they are now.
    pub fn new(clock: &dyn Clock) -> Self {
        Self { trust: Mutex::new(Trust { anchor: read(clock), jumped: None }) }
    }

    /// The wall clock, if it moved as the monotonic one did. After a jump it is trusted again once
    /// both went on together for a minute of calls and it is not behind `log_time`.
    ///
    /// # Errors
    /// [`ClockJumped`].
    pub fn now(&self, clock: &dyn Clock, log_time: Timestamp) -> Result<Timestamp, ClockJumped> {
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        let now = read(clock);
        let by_ms = trust.anchor.drift_ms(&now);
        if by_ms <= JUMP_MAX_MS {
            trust.jumped = None;
            return Ok(now.wall);
        }
        let since = match trust.jumped {
            Some(seen) if seen.drift_ms(&now) <= JUMP_MAX_MS => seen,
            Some(_) | None => {
                trust.jumped = Some(now);
                now
            }
        };
        let settled = now.monotonic.saturating_sub(since.monotonic) >= SETTLED;
        if !settled || now.wall < log_time {
            return Err(ClockJumped { by_ms });
        }
        tracing::warn!(by_ms, "the wall clock settled after a jump: it is trusted again");
        *trust = Trust { anchor: now, jumped: None };
        Ok(now.wall)
    }

    /// Trusts the clocks as they were when they showed this: others showed the same time.
    pub fn confirm(&self, wall: Timestamp, monotonic: Duration) {
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        *trust = Trust { anchor: Pair { wall, monotonic }, jumped: None };
    }
}

fn read(clock: &dyn Clock) -> Pair {
    Pair { wall: clock.now(), monotonic: clock.monotonic() }
}
