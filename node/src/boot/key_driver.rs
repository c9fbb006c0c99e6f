//! Makes and moves signing keys as their tenants' settings ask.

use std::collections::BTreeSet;
use std::time::Duration;

use domicile_iam::service::Iam;
use domicile_raft::PartitionId;

/// How often it is asked whether a round is due.
const TICK: Duration = Duration::from_secs(1);
/// How often all signing keys are looked at, in ticks.
const ROUND: u32 = 30;

/// Until the task is dropped. A tenant that was just made does not wait for a round, nor for the tenants
/// that a round is busy with.
pub(super) async fn run(iam: Iam) {
    tokio::join!(rounds(&iam), due(&iam));
}

async fn rounds(iam: &Iam) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut since, mut led) = (ROUND, BTreeSet::new());
    loop {
        tick.tick().await;
        let leads = iam.led_homes();
        if since < ROUND && !has_more(&leads, &led) {
            (since, led) = (since + 1, leads);
            continue;
        }
        (since, led) = (1, leads);
        if let Err(error) = iam.drive_all_keys().await {
            tracing::warn!(%error, "signing keys could not be driven; the next round resumes");
        }
    }
}

/// Who led before may have lost what was due with the leadership.
fn has_more(leads: &BTreeSet<PartitionId>, led: &BTreeSet<PartitionId>) -> bool {
    !leads.is_subset(led)
}

async fn due(iam: &Iam) {
    loop {
        let tenant = iam.keys_due().await;
        if let Err(error) = iam.drive_due_keys(tenant).await {
            tracing::info!(%tenant, %error, "a tenant's signing keys wait for the next round");
        }
    }
}
