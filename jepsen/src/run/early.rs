//! Looks at the history while it is being made, for runs that end at the first violation.

use std::sync::Arc;
use std::time::Duration;

use super::monitor::Monitor;
use crate::check;
use crate::workload::Ground;

const EVERY: Duration = Duration::from_millis(1_500);

/// Returns once a checker found something in what there is of the history, or a replica was misplaced.
/// Operations under way count as unknown, so that what is found is found in the whole history too.
pub(super) async fn violation(ground: &Arc<Ground>, monitor: &Monitor) {
    loop {
        tokio::time::sleep(EVERY).await;
        if monitor.found() {
            return;
        }
        let (history, promises) = (ground.journal.so_far(), ground.tenant.promises);
        let judged = tokio::task::spawn_blocking(move || {
            check::all(&history, promises).iter().any(|check| !check.findings.is_empty())
        });
        if judged.await.unwrap_or(false) {
            return;
        }
    }
}
