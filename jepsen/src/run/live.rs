//! The line that shows how a run goes on.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::schedule::Schedule;
use crate::workload::Ground;

/// On a terminal the line is written anew each time; elsewhere a line is added now and then.
const EVERY: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(15);

pub(super) struct Line {
    task: JoinHandle<()>,
    phase: Arc<Mutex<String>>,
}

impl Line {
    pub(super) fn phase(&self, phase: &str) {
        phase.clone_into(&mut self.phase.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn stop(self) {
        self.task.abort();
        if std::io::stdout().is_terminal() {
            println!();
        }
    }
}

pub(super) fn start(ground: &Arc<Ground>, schedule: &Schedule) -> Line {
    let phase = Arc::new(Mutex::new(String::new()));
    let phases = schedule.phases;
    let total_s = (phases.healthy_ms + phases.chaos_ms + phases.liveness_ms) / 1_000;
    let task = tokio::spawn(show(ground.clone(), phase.clone(), total_s));
    Line { task, phase }
}

async fn show(ground: Arc<Ground>, phase: Arc<Mutex<String>>, total_s: u64) {
    let is_terminal = std::io::stdout().is_terminal();
    let mut look = tokio::time::interval(if is_terminal { EVERY } else { SELDOM });
    loop {
        look.tick().await;
        let [begun, ok, refused, unknown] = ground.journal.counts();
        let now_s = ground.journal.now_ns() / 1_000_000_000;
        let phase = phase.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let odd = ground.odd_answers().len();
        let text = format!(
            "{now_s:>5}/{total_s} s  {begun} operations: {ok} ok, {refused} refused, {unknown} unknown  odd {odd}  {phase}"
        );
        if is_terminal {
            print!("\r\x1b[2K{text}");
            let _ = std::io::stdout().flush();
        } else {
            println!("{text}");
        }
    }
}
