//! Makes and moves signing keys as their tenants' settings ask.

use std::time::Duration;

use domicile_iam::service::Iam;

/// How often signing keys are looked at.
const ROUND: Duration = Duration::from_secs(30);

/// Until the task is dropped.
pub(super) async fn run(iam: Iam) {
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        if let Err(error) = iam.drive_all_keys().await {
            tracing::warn!(%error, "signing keys could not be driven; the next round resumes");
        }
    }
}
