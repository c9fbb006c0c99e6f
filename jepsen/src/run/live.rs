//! The line that shows how a run goes on.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::told::Told;
use crate::schedule::Schedule;
use crate::workload::Ground;

/// On a terminal the line is written anew each time; elsewhere a line is added now and then.
const EVERY: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(15);

pub(super) struct Line {
    task: JoinHandle<()>,
    now: Arc<Mutex<Now>>,
}

/// What the script says of itself.
#[derive(Clone, Debug, Default)]
struct Now {
    phase: String,
    faults: usize,
    took: usize,
    /// What was found beside the history, which is judged in the end.
    found: usize,
}

impl Line {
    pub(super) fn phase(&self, phase: &str) {
        phase.clone_into(&mut self.lock().phase);
    }

    /// What was done and seen by now.
    pub(super) fn told(&self, told: &Told) {
        let mut now = self.lock();
        now.faults = told.faults.len();
        now.took = told.took();
        now.found = told.found();
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(self) {
        self.task.abort();
        if std::io::stdout().is_terminal() {
            println!();
        }
    }
}

pub(super) fn start(ground: &Arc<Ground>, schedule: &Schedule) -> Line {
    let now = Arc::new(Mutex::new(Now::default()));
    let phases = schedule.phases;
    let total_s = (phases.healthy_ms + phases.chaos_ms + phases.liveness_ms) / 1_000;
    let task = tokio::spawn(show(ground.clone(), now.clone(), total_s));
    Line { task, now }
}

async fn show(ground: Arc<Ground>, now: Arc<Mutex<Now>>, total_s: u64) {
    let is_terminal = std::io::stdout().is_terminal();
    let mut look = tokio::time::interval(if is_terminal { EVERY } else { SELDOM });
    loop {
        look.tick().await;
        let (counts, now_s) = (ground.journal.counts(), ground.journal.now_ns() / 1_000_000_000);
        let now = now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = text(counts, (now_s, total_s), &now, ground.odd_answers().len());
        if is_terminal {
            print!("\r\x1b[2K{text}");
            let _ = std::io::stdout().flush();
        } else {
            println!("{text}");
        }
    }
}

fn text(
    [begun, ok, refused, unknown]: [usize; 4],
    (now_s, total_s): (u64, u64),
    now: &Now,
    odd: usize,
) -> String {
    let Now { phase, faults, took, found } = now;
    format!(
        "{now_s:>5}/{total_s} s  {begun} operations: {ok} ok, {refused} refused, {unknown} unknown  {faults} faults, \
         {took} took  {found} found, {odd} odd  {phase}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_faults_and_findings() {
        let now = Now { phase: "kill the leader".to_owned(), faults: 3, took: 2, found: 1 };
        let line = text([9, 6, 2, 1], (12, 30), &now, 4);
        assert_eq!(
            line,
            "   12/30 s  9 operations: 6 ok, 2 refused, 1 unknown  3 faults, 2 took  1 found, 4 odd  kill the leader"
        );
    }
}
