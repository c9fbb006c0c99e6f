//! Who leads what, as nodes tell it over time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::clock::Stopwatch;
use crate::cluster::Cluster;

/// Between two questions, to one node after another.
const EVERY: Duration = Duration::from_millis(400);

/// A leader that a node named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// When, in ms since the run began.
    pub time_ms: u64,
    /// Who said so, from 0.
    pub asked: usize,
    /// Which partition.
    pub partition: u64,
    /// Its term.
    pub term: u64,
    /// The leader's node id; none known if absent.
    pub leader: Option<u64>,
}

pub(super) struct Monitor {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Vec<Sighting>>>,
}

impl Monitor {
    /// What was seen: the changes only.
    pub(super) fn stop(self) -> Vec<Sighting> {
        self.task.abort();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn start(cluster: &Cluster, began: Stopwatch) -> Monitor {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let task = tokio::spawn(watch(cluster.clone(), began, seen.clone()));
    Monitor { task, seen }
}

async fn watch(cluster: Cluster, began: Stopwatch, seen: Arc<Mutex<Vec<Sighting>>>) {
    let mut last: BTreeMap<(usize, u64), (u64, Option<u64>)> = BTreeMap::new();
    for turn in 0_usize.. {
        tokio::time::sleep(EVERY).await;
        let asked = turn % cluster.nodes.len();
        if !cluster.processes.is_running(asked) {
            continue;
        }
        // One that stands still is not waited for.
        let Ok(Some(view)) = tokio::time::timeout(Duration::from_secs(2), cluster.view(asked)).await else {
            continue;
        };
        for one in &view.partitions {
            let now = (one.term, one.leader);
            if last.insert((asked, one.id), now) != Some(now) {
                let time_ms = began.elapsed_ns() / 1_000_000;
                let sighting =
                    Sighting { time_ms, asked, partition: one.id, term: one.term, leader: one.leader };
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(sighting);
            }
        }
    }
}
