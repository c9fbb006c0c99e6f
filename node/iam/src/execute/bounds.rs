//! How much an executor takes on, and how long it tries.

use std::time::Duration;

use super::latch::LatchBounds;

/// Bounds of an executor.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorConfig {
    /// Of the latches.
    pub latches: LatchBounds,
    /// How long one try to propose may take before the same bytes are proposed again.
    pub attempt: Duration,
    /// Between two tries whose outcome is not known.
    pub backoff: Duration,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            latches: LatchBounds::default(),
            attempt: Duration::from_secs(3),
            backoff: Duration::from_millis(20),
        }
    }
}
