//! Finishes in the background what a crash left half done across partitions.

use std::time::Duration;

use domicile_iam::service::Iam;

const ROUND: Duration = Duration::from_secs(30);

/// Until the task is dropped.
pub(crate) async fn run(iam: Iam) {
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        match iam.housekeep().await {
            Ok(0) => {}
            Ok(finished) => {
                tracing::info!(finished, "unfinished creations and deletions of tenants were settled");
            }
            Err(error) => tracing::warn!(%error, "housekeeping failed; the next round goes on"),
        }
    }
}
