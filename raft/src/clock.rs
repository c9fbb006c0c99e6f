//! The one home of wall clock, monotonic clock and randomness (clippy bans them elsewhere).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Goes on while the machine is suspended, as the wall clock does: `CLOCK_MONOTONIC` stops on Linux,
/// and the wall clock would seem to have jumped after a laptop was opened.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MONOTONIC: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MONOTONIC: ClockId = ClockId::Monotonic;

/// Milliseconds since the Unix epoch, UTC. Comes from a proposal or a [`Clock`], never from apply.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time `ms` milliseconds later, saturating.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Whole seconds since the epoch: the unit of JWT `NumericDate` (RFC 7519 §2).
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds from `earlier` to this, 0 if it is later.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Time and chance as a parameter, so that tests and simulation hold both.
pub trait Clock: Send + Sync + 'static {
    /// Wall time. May jump.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary start, with the time the machine was suspended; never jumps.
    fn monotonic(&self) -> Duration;

    /// Fills `buffer` with bytes from a cryptographically secure source.
    fn fill_random(&self, buffer: &mut [u8]);
}

/// The operating system's clocks and randomness.
#[derive(Debug)]
pub struct SystemClock {
    start: Duration,
}

impl SystemClock {
    /// Monotonic time counts from this call.
    #[must_use]
    pub fn new() -> Self {
        Self { start: since_boot() }
    }
}

fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(MONOTONIC)).unwrap_or_default()
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one home of the clocks")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        since_boot().saturating_sub(self.start)
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        if let Err(cause) = getrandom::fill(buffer) {
            // No secret, nonce or id is safe without it, and no caller could go on.
            tracing::error!(%cause, "the operating system gives no randomness");
            std::process::abort();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn monotonic_time_goes_on_while_the_machine_is_suspended() {
        // `/proc/uptime` is the kernel's own reading of the clock that counts a suspend.
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            Duration::from_secs_f64(text.split_whitespace().next().unwrap().parse().unwrap())
        };
        let resolution = Duration::from_millis(20);
        let before = uptime();
        let clock = SystemClock::new();
        let after = uptime();
        assert!(clock.start + resolution >= before && clock.start <= after + resolution);
        assert!(clock.start + clock.monotonic() <= uptime() + resolution);
    }
}
