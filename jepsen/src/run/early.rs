//! Looks at the history while it is being made, for runs that end at the first violation.

use std::sync::Arc;
use std::time::Duration;

use super::monitor::Monitor;
use super::outcry;
use crate::check;
use crate::schedule::Schedule;
use crate::workload::Ground;

const EVERY: Duration = Duration::from_millis(1_500);

/// Returns once a checker found something in what there is of the history, a replica was misplaced, or a node
/// ended by itself. Operations under way count as unknown, so that what is found is found in the whole history too.
pub(super) async fn violation(ground: &Arc<Ground>, monitor: &Monitor, schedule: &Schedule) {
    // What a disk that fails explains is known in the end.
    let may_end = schedule.steps.iter().any(|step| outcry::is_of_disks(step.fault.kind()));
    loop {
        tokio::time::sleep(EVERY).await;
        if monitor.found() || (!may_end && !ground.cluster.processes.fallen().is_empty()) {
            return;
        }
        let (history, promises) = (ground.journal.so_far(), ground.tenant.promises);
        let skews = schedule.skews(&history.faults);
        let judged = tokio::task::spawn_blocking(move || {
            check::all_under(&history, promises, &skews).iter().any(|check| !check.findings.is_empty())
        });
        if judged.await.unwrap_or(false) {
            return;
        }
    }
}
