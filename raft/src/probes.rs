//! Keeps a replica's proof of freshness young while somebody reads with a bound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::Clock;
use crate::read_rounds::ReadRounds;

/// Probing goes on for this long after the last read with a bound.
const DEMAND_KEPT_MS: u64 = 60_000;
/// Shortest and longest time between probes. Probes of all groups fall on multiples of the shortest, so
/// that those to one leader go in one message.
const INTERVAL_MIN_MS: u64 = 50;
const INTERVAL_MAX_MS: u64 = 5_000;

/// Asks for read indexes in the background.
pub(crate) struct Probes {
    demand: Arc<Demand>,
    task: JoinHandle<()>,
}

struct Demand {
    /// The smallest bound asked for lately, in ms.
    bound_ms: AtomicU64,
    /// When a bound was asked for last, in ms of the monotonic clock.
    asked_ms: AtomicU64,
    wake: Notify,
    clock: Arc<dyn Clock>,
}

impl Demand {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_recent(&self) -> bool {
        self.now_ms().saturating_sub(self.asked_ms.load(Ordering::Relaxed)) <= DEMAND_KEPT_MS
    }

    /// Until the next probe: a third of the bound, so that one lost probe is no refusal.
    fn wait(&self) -> Duration {
        let third = self.bound_ms.load(Ordering::Relaxed) / 3;
        let interval = third.clamp(INTERVAL_MIN_MS, INTERVAL_MAX_MS) / INTERVAL_MIN_MS * INTERVAL_MIN_MS;
        Duration::from_millis(interval - self.now_ms() % interval)
    }
}

impl Probes {
    pub(crate) fn start(rounds: &Arc<ReadRounds>, clock: Arc<dyn Clock>) -> Self {
        let demand = Arc::new(Demand {
            bound_ms: AtomicU64::new(u64::MAX),
            asked_ms: AtomicU64::new(0),
            wake: Notify::new(),
            clock,
        });
        let task = tokio::spawn(run(Arc::clone(&demand), Arc::downgrade(rounds)));
        Self { demand, task }
    }

    /// Notes a read with this bound.
    pub(crate) fn asked(&self, bound: Duration) {
        let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        self.demand.bound_ms.fetch_min(bound_ms, Ordering::Relaxed);
        self.demand.asked_ms.store(self.demand.now_ms(), Ordering::Relaxed);
        self.demand.wake.notify_one();
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(demand: Arc<Demand>, rounds: Weak<ReadRounds>) {
    loop {
        demand.wake.notified().await;
        while demand.is_recent() {
            tokio::time::sleep(demand.wait()).await;
            let Some(rounds) = rounds.upgrade() else { return };
            // Without an answer the proof grows old, which is what a reader must see.
            let _ = rounds.next().await;
        }
        demand.bound_ms.store(u64::MAX, Ordering::Relaxed);
    }
}
