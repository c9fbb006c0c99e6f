//! The one home of wall clock, monotonic clock and randomness (clippy bans them elsewhere).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    /// Time since an arbitrary start; never jumps.
    fn monotonic(&self) -> Duration;

    /// Fills `buffer` with bytes from a cryptographically secure source.
    fn fill_random(&self, buffer: &mut [u8]);
}

/// The operating system's clocks and randomness.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Monotonic time counts from this call.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one home of the clocks")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
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
        self.start.elapsed()
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        if let Err(cause) = getrandom::fill(buffer) {
            // No secret, nonce or id is safe without it, and no caller could go on.
            tracing::error!(%cause, "the operating system gives no randomness");
            std::process::abort();
        }
    }
}
