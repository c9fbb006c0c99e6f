//! What sending and receiving snapshots may cost a node: how many at once, how fast.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::disk_space::DiskSpace;

/// Bounds for the snapshots of all groups of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Sent at once; more wait.
    pub sending_max: usize,
    /// Received at once; more are refused, and the sender comes again.
    pub receiving_max: usize,
    /// Bytes sent in a second, all streams together; 0 for no bound.
    pub send_bytes_per_second: u64,
    /// A longer snapshot is refused, in bytes.
    pub receive_bytes_max: u64,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self {
            sending_max: 2,
            receiving_max: 2,
            send_bytes_per_second: 128 << 20,
            receive_bytes_max: 1 << 40,
        }
    }
}

/// Shared by the groups of a node.
pub(crate) struct SnapshotLimits {
    pub(crate) settings: SnapshotSettings,
    disk: Option<Arc<DiskSpace>>,
    sending: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
    /// Held while a sender waits for its share, with the time it owes that is too short to wait for.
    pace: Mutex<Duration>,
}

/// Timers are no finer than this.
const SLEEP_MIN: Duration = Duration::from_millis(2);

impl SnapshotLimits {
    pub(crate) fn new(settings: SnapshotSettings, disk: Option<Arc<DiskSpace>>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            disk,
            sending: Arc::new(Semaphore::new(settings.sending_max)),
            receiving: Arc::new(Semaphore::new(settings.receiving_max)),
            pace: Mutex::default(),
        })
    }

    /// Waits for a turn to send; `None` never comes, the semaphore is not closed.
    pub(crate) async fn send_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sending).acquire_owned().await.ok()
    }

    /// A turn to receive, if one is free.
    pub(crate) fn receive_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.receiving).try_acquire_owned().ok()
    }

    /// Whether the disk has no room for `bytes` more of a snapshot.
    pub(crate) fn disk_is_full(&self, bytes: usize) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.is_full(bytes))
    }

    /// Waits until `bytes` more may be sent. Who waits holds up the others: so the sum keeps the rate.
    pub(crate) async fn pace(&self, bytes: usize) {
        let rate = self.settings.send_bytes_per_second;
        if rate == 0 {
            return;
        }
        let nanos =
            u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000) / u128::from(rate);
        let mut owed = self.pace.lock().await;
        *owed += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if *owed >= SLEEP_MIN {
            tokio::time::sleep(std::mem::take(&mut *owed)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
    use tokio::task::JoinSet;
    use tokio::time::Instant;

    use super::*;

    /// Bytes in a second.
    const RATE: u64 = 1_000_000;

    /// How long `streams` at once take to be let send `chunks` of `bytes` each.
    async fn taken(rate: u64, streams: usize, chunks: usize, bytes: usize) -> Duration {
        let settings = SnapshotSettings { send_bytes_per_second: rate, ..SnapshotSettings::default() };
        let limits = SnapshotLimits::new(settings, None);
        let began = Instant::now();
        let mut senders = JoinSet::new();
        for _ in 0..streams {
            let limits = Arc::clone(&limits);
            senders.spawn(async move {
                for _ in 0..chunks {
                    limits.pace(bytes).await;
                }
            });
        }
        while let Some(ended) = senders.join_next().await {
            ended.unwrap();
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_in_bytes_per_second_and_shared_by_all_streams() {
        // A megabyte each, in chunks whose share of time is waited for, and in those whose share is too short.
        for (chunks, bytes) in [(20, 50_000), (1_000, 1_000), (10_000, 100)] {
            for streams in [1_u32, 2, 3] {
                let least = Duration::from_secs(1) * streams;
                let taken = taken(RATE, streams as usize, chunks, bytes).await;
                let told = format!("{taken:?} for {streams} streams of {chunks} chunks of {bytes} bytes");
                assert!(taken + SLEEP_MIN > least, "{told}: faster than the rate");
                // A timer may ring a millisecond late, of two.
                assert!(taken <= least * 3 / 2, "{told}: far slower than the rate");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nobody_waits() {
        assert_eq!(taken(0, 2, 1_000, 1_000_000).await, Duration::ZERO);
    }
}
