//! Who leads what, as nodes tell it over time, and where replicas are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::clock::Stopwatch;
use crate::cluster::{Cluster, View};

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

/// Where the replicas of a partition may be.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    pub(super) partition: u64,
    pub(super) region: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The changes only.
    pub(super) sightings: Vec<Sighting>,
    /// Partition, term and node, of replicas that said that they lead.
    pub(super) led: BTreeSet<(u64, u64, u64)>,
    /// Snapshots that were installed: a replica that takes one goes on in another folder.
    pub(super) installs: u64,
    /// How often replicas were where they may be.
    pub(super) in_place: u64,
    /// Replicas where they may not be, each once.
    pub(super) misplaced: BTreeSet<String>,
}

pub(super) struct Monitor {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
}

impl Monitor {
    /// What was seen.
    pub(super) fn stop(self) -> Seen {
        self.task.abort();
        std::mem::take(&mut *lock(&self.seen))
    }

    /// The same by now.
    pub(super) fn so_far(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Whether a replica was where it may not be.
    pub(super) fn found(&self) -> bool {
        !lock(&self.seen).misplaced.is_empty()
    }
}

pub(super) fn start(cluster: &Cluster, pin: Option<Pin>, began: Stopwatch) -> Monitor {
    let seen = Arc::new(Mutex::default());
    let task = tokio::spawn(watch(cluster.clone(), pin, began, Arc::clone(&seen)));
    Monitor { task, seen }
}

async fn watch(cluster: Cluster, pin: Option<Pin>, began: Stopwatch, seen: Arc<Mutex<Seen>>) {
    let mut last: BTreeMap<(usize, u64), (u64, Option<u64>)> = BTreeMap::new();
    let mut folders = BTreeMap::new();
    for turn in 0_usize.. {
        tokio::time::sleep(EVERY).await;
        lock(&seen).installs += installs(&cluster, &mut folders);
        // So that each end is seen close to when it was.
        cluster.processes.fallen();
        let asked = turn % cluster.nodes.len();
        if !cluster.processes.is_running(asked) {
            continue;
        }
        // One that stands still is not waited for.
        let Ok(Some(view)) = tokio::time::timeout(Duration::from_secs(2), cluster.view(asked)).await else {
            continue;
        };
        let mut seen = lock(&seen);
        if let Some(pin) = &pin {
            placement(&mut seen, pin, &view);
        }
        for one in &view.partitions {
            seen.led.extend(one.leads.iter().map(|(node, term)| (one.id, *term, *node)));
            let now = (one.term, one.leader);
            if last.insert((asked, one.id), now) != Some(now) {
                let time_ms = began.elapsed_ns() / 1_000_000;
                let sighting =
                    Sighting { time_ms, asked, partition: one.id, term: one.term, leader: one.leader };
                seen.sightings.push(sighting);
            }
        }
    }
}

/// Replicas that changed their folder since the last look. Each names the one in use in a file `CURRENT`.
fn installs(cluster: &Cluster, known: &mut BTreeMap<PathBuf, Vec<u8>>) -> u64 {
    let mut changed = 0;
    for node in &cluster.nodes {
        let replicas = std::fs::read_dir(node.data().join("partitions"));
        for replica in replicas.into_iter().flatten().flatten() {
            let path = replica.path().join("CURRENT");
            let Ok(name) = std::fs::read(&path) else { continue };
            let before = known.insert(path, name.clone());
            changed += u64::from(before.is_some_and(|before| before != name));
        }
    }
    changed
}

fn placement(seen: &mut Seen, pin: &Pin, view: &View) {
    let Some(found) = view.partition(pin.partition) else { return };
    for holder in &found.holders {
        match view.region(*holder) {
            Some(region) if region != pin.region => {
                let told = format!(
                    "node {holder} in {region} has a replica of partition {}, which is for {} only",
                    pin.partition, pin.region
                );
                seen.misplaced.insert(told);
            }
            Some(_) => seen.in_place += 1,
            None => {}
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
