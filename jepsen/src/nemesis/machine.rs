//! What goes wrong with machines, and how it is taken back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::clocks::{self, Going};
use super::limits::Limits;
use super::{Took, flip, names, slow};
use crate::clock::Stopwatch;
use crate::cluster::{Cluster, Signal};
use crate::schedule::Machine;

/// Between the stop of a process and the cut: what was under way in the kernel may end.
const STILL: Duration = Duration::from_millis(20);
/// For a fault to show itself.
const SHOW: Duration = Duration::from_millis(1_500);
/// For a damaged node to say so.
const NOTICE: Duration = Duration::from_secs(20);
/// For a node that was away to catch up.
const CATCH_UP_MAX: Duration = Duration::from_mins(1);
/// With fewer free bytes a disk is full.
const FULL_BYTES: u64 = 64 << 10;
const LOOK: Duration = Duration::from_millis(250);

/// What was done to whom, and whether it is known to have taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// On whom it was tried.
    pub(super) whom: Vec<usize>,
    pub(super) hit: Vec<usize>,
    pub(super) took: Option<Took>,
    pub(super) told: String,
    /// Whose files were damaged, and who runs and says nothing of it.
    pub(super) unnoticed: Vec<usize>,
    /// Which images of states each node had.
    states: BTreeMap<usize, Vec<String>>,
    /// How often each node was held back before.
    held_back: BTreeMap<usize, u64>,
}

impl Done {
    /// What is known of one more node: it took if it did on any.
    fn know(&mut self, took: Took) {
        self.took = Some(match (self.took, took) {
            (Some(Took::Installed), _) | (_, Took::Installed) => Took::Installed,
            (Some(Took::Unknown), _) | (_, Took::Unknown) => Took::Unknown,
            (Some(Took::Skipped) | None, Took::Skipped) => Took::Skipped,
        });
    }
}

/// Begins it. What cannot be done here is skipped.
pub(super) async fn begin(cluster: &Cluster, whom: &[usize], fault: &Machine) -> Done {
    let mut done = Done { whom: whom.to_vec(), ..Done::default() };
    let mut told = Vec::new();
    for node in whom {
        let ran = cluster.processes.is_running(*node);
        match one(cluster, *node, fault, &mut done).await {
            Ok(what) => {
                done.hit.push(*node);
                done.states.insert(*node, states(cluster.nodes[*node].data()));
                told.push(what);
            }
            Err(error) => {
                told.push(format!("n{}: {error:#}", node + 1));
                // It went half way: what is left of it is taken back like the rest.
                if ran && !cluster.processes.is_running(*node) {
                    done.hit.push(*node);
                    done.know(Took::Unknown);
                }
            }
        }
    }
    if let Machine::ClockJump { .. } | Machine::ClockRate { .. } = fault {
        tokio::time::sleep(SHOW).await;
        let took = clock_took(cluster, &done.hit, fault).await;
        done.know(took);
    }
    told.retain(|what| !what.is_empty());
    done.told = format!("{} {}", names(&done.hit), told.join(", "));
    done
}

async fn one(cluster: &Cluster, node: usize, fault: &Machine, done: &mut Done) -> anyhow::Result<String> {
    let disk = || cluster.disk(node).ok_or_else(|| anyhow::anyhow!("it has no disk of its own"));
    let limits = Limits::of(&cluster.nodes[node].name);
    let process = cluster.processes.running(node).map(|(process, _)| process);
    let running = || process.ok_or_else(|| anyhow::anyhow!("it does not run"));
    match fault {
        Machine::Starve { percent, .. } => {
            done.held_back.insert(node, limits.processor(running()?, *percent)?);
        }
        Machine::SlowDisk { writes, .. } => {
            limits.writes(running()?, &disk()?.device()?, *writes)?;
            let (took, told) = slow::is_slow(&limits, disk()?, *writes).await;
            done.know(took);
            return Ok(told);
        }
        Machine::ClockJump { .. } | Machine::ClockRate { .. } => {
            let going = clocks::wanted(fault).unwrap_or(Going::True);
            has_clock(clocks::set(cluster, node, going)?)?;
        }
        Machine::DiskFull(_) => {
            let left = disk()?.fill()?;
            done.know(if left < FULL_BYTES { Took::Installed } else { Took::Unknown });
            return Ok(format!("{left} bytes left"));
        }
        Machine::ReadOnly(_) => {
            disk()?.read_only()?;
            anyhow::ensure!(!disk()?.takes_writes(), "its disk takes writes");
        }
        Machine::Power(_) => {
            disk()?;
            running()?;
            cluster.processes.signal(node, Signal::Stop);
            tokio::time::sleep(STILL).await;
            let cut = disk()?.cut();
            kill(cluster, node);
            cut?;
        }
        Machine::Outage(_) => {
            running()?;
            kill(cluster, node);
        }
        Machine::BitFlip { draw, .. } => {
            disk()?;
            running()?;
            // Two lost disks of three are more than is promised.
            anyhow::ensure!(is_whole(cluster).await, "what an earlier fault took is not made up for");
            kill(cluster, node);
            let told = flip::flip(cluster.nodes[node].data(), *draw);
            cluster.start(node)?;
            let told = told?;
            let noticed = noticed(cluster, node).await;
            if noticed.is_none() {
                done.unnoticed.push(node);
            }
            let noticed = noticed.unwrap_or_else(|| "nothing was noticed".to_owned());
            return Ok(format!("{told}; {noticed}"));
        }
    }
    Ok(String::new())
}

/// Takes it back; says what came of it.
pub(super) async fn end(cluster: &Cluster, fault: &Machine, done: &mut Done) -> String {
    let mut told = Vec::new();
    for node in done.hit.clone() {
        match back(cluster, node, fault, done).await {
            Ok(what) => told.push(what),
            Err(error) => {
                done.took.get_or_insert(Took::Unknown);
                told.push(format!("n{}: {error:#}", node + 1));
            }
        }
    }
    told.retain(|what| !what.is_empty());
    told.join(", ")
}

async fn back(cluster: &Cluster, node: usize, fault: &Machine, done: &mut Done) -> anyhow::Result<String> {
    let limits = Limits::of(&cluster.nodes[node].name);
    match fault {
        Machine::Starve { .. } => {
            let before = done.held_back.get(&node).copied().unwrap_or_default();
            let times = limits.whole_processor()?.saturating_sub(before);
            done.know(if times > 0 { Took::Installed } else { Took::Skipped });
            return Ok(format!("n{} was held back {times} times", node + 1));
        }
        Machine::SlowDisk { .. } => {
            if let (Some((process, _)), Some(disk)) = (cluster.processes.running(node), cluster.disk(node)) {
                limits.writes(process, &disk.device()?, 0)?;
            }
        }
        Machine::ClockJump { .. } | Machine::ClockRate { .. } => {
            clocks::set(cluster, node, Going::True)?;
        }
        Machine::DiskFull(_) => {
            if let Some(disk) = cluster.disk(node) {
                disk.free()?;
            }
            if !cluster.processes.is_running(node) {
                cluster.start(node)?;
                return Ok(format!("n{} had ended", node + 1));
            }
        }
        Machine::Power(_) | Machine::ReadOnly(_) => {
            let ended = !cluster.processes.is_running(node);
            anew(cluster, node).await?;
            if matches!(fault, Machine::ReadOnly(_)) && ended {
                return Ok(format!("n{} had ended", node + 1));
            }
        }
        Machine::Outage(_) => {
            cluster.start(node)?;
            let installed = snapshot_came(cluster, node, done).await;
            done.know(if installed { Took::Installed } else { Took::Skipped });
            return Ok(format!(
                "n{} {}",
                node + 1,
                if installed { "got a snapshot" } else { "caught up by log" }
            ));
        }
        Machine::BitFlip { .. } => {
            cluster.rebuild(node).await?;
            return Ok(format!("n{} joined anew", node + 1));
        }
    }
    Ok(String::new())
}

/// Everything as it was, whatever was done: for the end of a run.
pub(super) async fn heal(cluster: &Cluster) -> anyhow::Result<()> {
    for node in 0..cluster.nodes.len() {
        clocks::set(cluster, node, Going::True)?;
        let limits = Limits::of(&cluster.nodes[node].name);
        let Some(disk) = cluster.disk(node) else { continue };
        limits.lift(disk.device().ok().as_deref());
        if disk.free().is_err() || !disk.takes_writes() {
            anew(cluster, node).await?;
            disk.free()?;
        }
    }
    Ok(())
}

/// Whether nothing is missing, or will not be soon.
pub(super) async fn is_whole(cluster: &Cluster) -> bool {
    let waiting = async {
        while !cluster.is_whole().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(CATCH_UP_MAX, waiting).await.is_ok()
}

/// As a machine that starts: its process is new, its disk is mounted anew.
async fn anew(cluster: &Cluster, node: usize) -> anyhow::Result<()> {
    kill(cluster, node);
    if let Some(disk) = cluster.disk(node) {
        disk.mount_again().await?;
    }
    cluster.start(node)
}

fn kill(cluster: &Cluster, node: usize) {
    cluster.processes.signal(node, Signal::Kill);
    cluster.net.set_process(node, None);
}

fn has_clock(has: bool) -> anyhow::Result<()> {
    anyhow::ensure!(has, "it has no clock of its own (is libfaketime installed?)");
    Ok(())
}

/// By the times of what they write.
async fn clock_took(cluster: &Cluster, hit: &[usize], fault: &Machine) -> Took {
    let began = Stopwatch::start();
    let mut took = if hit.is_empty() { Took::Skipped } else { Took::Unknown };
    let Some(going) = clocks::wanted(fault) else { return took };
    for node in hit {
        if let Some(ahead_ms) = clocks::ahead_ms(cluster, *node).await
            && clocks::goes(going, SHOW + began.elapsed(), ahead_ms)
        {
            took = Took::Installed;
        }
    }
    took
}

/// What a node with damaged files says: that it does not start, or that partitions stopped; else it noticed nothing.
async fn noticed(cluster: &Cluster, node: usize) -> Option<String> {
    let watching = async {
        loop {
            if cluster.processes.ended(node).is_some() {
                return "it does not start".to_owned();
            }
            match cluster.stopped_partitions(node).await {
                Some(0) | None => tokio::time::sleep(LOOK).await,
                Some(stopped) => return format!("{stopped} of its partitions are stopped"),
            }
        }
    };
    tokio::time::timeout(NOTICE, watching).await.ok()
}

/// Which image of its state each partition uses: a snapshot makes a new one.
fn states(data: &Path) -> Vec<String> {
    let partitions = std::fs::read_dir(data.join("partitions"));
    let named = partitions.into_iter().flatten().flatten().filter_map(|partition| {
        let current = std::fs::read_to_string(partition.path().join("CURRENT")).ok()?;
        Some(format!("{} {}", partition.file_name().display(), current.trim()))
    });
    let mut found: Vec<String> = named.collect();
    found.sort();
    found
}

async fn snapshot_came(cluster: &Cluster, node: usize, done: &Done) -> bool {
    let before = done.states.get(&node).cloned().unwrap_or_default();
    let coming = async {
        loop {
            let now = states(cluster.nodes[node].data());
            // One that was there and is another now; a partition that is new here says nothing.
            let same = |one: &String| now.contains(one);
            if !now.is_empty() && !before.iter().all(same) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(CATCH_UP_MAX, coming).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::Took::{Installed, Skipped, Unknown};
    use super::*;

    #[test]
    fn a_fault_of_several_machines_took_if_it_did_on_one_wherever_that_stands() {
        let known = |all: &[Took]| {
            let mut done = Done::default();
            for took in all {
                done.know(*took);
            }
            done.took
        };
        assert_eq!(known(&[]), None);
        assert_eq!(known(&[Installed, Skipped]), Some(Installed));
        assert_eq!(known(&[Skipped, Installed, Unknown]), Some(Installed));
        assert_eq!(known(&[Skipped, Unknown]), Some(Unknown));
        assert_eq!(known(&[Skipped, Skipped]), Some(Skipped));
    }
}
