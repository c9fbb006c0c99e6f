//! Sweeps a group's expired rows in small steps, so that no entry holds up the log.

use std::sync::Arc;
use std::time::Duration;

use domicile_iam::execute::{ExecuteError, Executor};

const ROUND: Duration = Duration::from_secs(10);
/// Rows of one entry.
const STEP_ROWS: u32 = 500;
const DEADLINE: Duration = Duration::from_secs(10);

/// Until the task is dropped.
pub(crate) async fn run(executor: Arc<Executor>) {
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        if !executor.partition().leadership().borrow().leads {
            continue;
        }
        loop {
            match executor.sweep(STEP_ROWS, DEADLINE).await {
                Ok(STEP_ROWS) => {}
                Ok(_) | Err(ExecuteError::NotLeader { .. }) => break,
                Err(error) => {
                    tracing::warn!(%error, "a sweep failed; the next round goes on");
                    break;
                }
            }
        }
    }
}
