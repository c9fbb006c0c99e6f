//! The one home of time in this crate.

use std::time::{Duration, Instant};

/// Counts from when it was started, on the monotonic clock. Copies count from the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    began: Instant,
}

impl Stopwatch {
    /// From now on.
    #[allow(
        clippy::disallowed_methods,
        reason = "the home of the monotonic clock of the harness, which judges from outside"
    )]
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Since then.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The same in ns; 584 years fit.
    pub fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The wall clock, in s since 1970, for the names of directories.
pub fn wall_clock_s() -> u64 {
    wall_clock_ms() / 1_000
}

/// The wall clock, in ms since 1970, to compare with clocks of nodes.
#[allow(clippy::disallowed_methods, reason = "names of directories that people read; clocks that are wrong")]
pub fn wall_clock_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
