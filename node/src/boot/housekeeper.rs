//! Finishes in the background what a crash left half done across partitions, and notes which sessions ran out.

use std::time::Duration;

use domicile_iam::service::Iam;

const ROUND: Duration = Duration::from_secs(5);
/// What a crash left is looked for in one round of so many.
const TIDY_EVERY: u32 = 6;

/// Until the task is dropped.
pub(crate) async fn run(iam: Iam) {
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds = 0_u32;
    loop {
        round.tick().await;
        if let Err(error) = iam.expire_sessions().await {
            tracing::warn!(%error, "sessions that ran out were not all noted; the next round goes on");
        }
        let tidies = rounds.is_multiple_of(TIDY_EVERY);
        rounds = rounds.wrapping_add(1);
        if !tidies {
            continue;
        }
        match iam.housekeep().await {
            Ok(0) => {}
            Ok(finished) => {
                tracing::info!(finished, "unfinished creations and deletions of tenants were settled");
            }
            Err(error) => tracing::warn!(%error, "housekeeping failed; the next round goes on"),
        }
    }
}
