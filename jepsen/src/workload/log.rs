//! Reads the tenant's log of events, at one node after another, while it grows.

use std::time::Duration;

use super::ends;
use super::worker::Worker;

/// Between two readings, in ms. Each is of the whole log.
const REST_MS: (u64, u64) = (2_000, 5_000);

pub(super) async fn work(mut worker: Worker) {
    while worker.goes_on().await {
        let node = worker.node();
        ends::log(&worker.ground, node, None).await;
        for _ in 0..worker.random.between(REST_MS.0, REST_MS.1) / 100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if worker.ground.is_closed() {
                return;
            }
        }
    }
}
