//! Cuts the power under one store again and again: a development node on a disk of its own takes writes,
//! stands still, loses its disk's power, dies, and is started on what the disk kept.

mod node;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::check::{self, Coverage, Promises, Verdict};
use crate::clock::{Stopwatch, wall_clock_s};
use crate::disk::Disk;
use crate::history::{Call, Class, Journal, Outcome, Reply};
use crate::random::Random;
use crate::run::files;
use node::{Node, Place};

const WRITERS: u64 = 4;
/// The one set: the users of the tenant.
const SET: u64 = 1;
/// Between the stop of the process and the cut: what was under way in the kernel may end.
const STILL: Duration = Duration::from_millis(20);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program under test.
    pub binary: PathBuf,
    /// Where the run's directory is made.
    pub out: PathBuf,
    /// How often the power is cut.
    pub rounds: u32,
    /// What chance draws.
    pub seed: u64,
}

/// Runs the rounds; returns what was found.
///
/// # Errors
/// A failure of the harness; a node that does not come up again is a finding.
pub async fn run(plan: &Plan) -> anyhow::Result<Verdict> {
    let dir = plan.out.join(format!("{}-power-{}", wall_clock_s(), plan.seed));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = std::path::absolute(dir)?;
    println!("power    seed {}, {} rounds, in {}", plan.seed, plan.rounds, dir.display());
    let disk = Disk::make(&dir).context("a disk needs root, e2fsprogs and a loop device")?;
    let journal = Arc::new(Journal::create(&dir.join(files::HISTORY), Stopwatch::start())?);
    let place =
        Place { binary: std::path::absolute(&plan.binary)?, mount: disk.mount.clone(), dir: dir.clone() };
    let mut random = Random::fork(plan.seed, "power");
    let mut rounds = 0;
    let mut broken = None;
    let mut next = 1;
    let mut node = Node::start(&place).await?;
    while rounds < plan.rounds {
        let patience = Duration::from_millis(random.between(100, 1_500));
        next = write_for(&node, &journal, next, patience, &disk).await?;
        node.kill().await;
        disk.unmount()?;
        disk.mount().context("the file system does not come back")?;
        rounds += 1;
        journal.fault("power", &format!("round {rounds}"));
        node = match Node::start(&place).await {
            Ok(node) => node,
            Err(error) => {
                broken = Some(format!("round {rounds}: the store does not open: {error:#}"));
                break;
            }
        };
        let ticket = journal.invoke(0, "dev", Some(Class::Strong), Call::Members { set: SET });
        let members = node.users().await.with_context(|| format!("round {rounds}"))?;
        journal.complete(ticket, Outcome::Ok(Reply::Members(members)));
        if rounds % 10 == 0 {
            println!("{rounds:>5} rounds, {} operations", journal.counts()[0]);
        }
    }
    judge(&journal, &dir, rounds, broken)
}

fn judge(journal: &Journal, dir: &Path, rounds: u32, broken: Option<String>) -> anyhow::Result<Verdict> {
    let history = journal.history().context("the history could not be written")?;
    let mut checks = check::all(&history, Promises::default());
    if let (Some(what), Some(first)) = (broken, checks.first_mut()) {
        first.findings.push(check::Finding { checker: "power", what, window: Vec::new() });
    }
    let [begun, ok, _, unknown] = journal.counts();
    println!("history  {begun} operations: {ok} ok, {unknown} unknown, {rounds} rounds");
    for finding in checks.iter().flat_map(|check| &check.findings).take(10) {
        print!("{}", finding.text());
    }
    let verdict = Verdict::of(&checks, &Coverage::default());
    println!("verdict  {} (history in {})", verdict.name(), dir.display());
    Ok(verdict)
}

/// Lets clients write for a while, then has the process stand still and cuts the power, before the kernel
/// writes by itself what nobody synced. Gives the next free element.
async fn write_for(
    node: &Node,
    journal: &Arc<Journal>,
    first: u64,
    patience: Duration,
    disk: &Disk,
) -> anyhow::Result<u64> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for turn in 0..WRITERS {
        let (door, journal, stop) = (node.door(), journal.clone(), stop.clone());
        writers.spawn(async move {
            let mut element = first + turn;
            while !stop.load(Ordering::Relaxed) {
                // A client number of its own for each element: an end may be unknown.
                let ticket = journal.invoke(element, "dev", None, Call::Add { set: SET, element });
                let outcome = door.add(element).await;
                journal.complete(ticket, outcome);
                element += WRITERS;
            }
            element
        });
    }
    tokio::time::sleep(patience).await;
    node.stand_still();
    tokio::time::sleep(STILL).await;
    disk.cut()?;
    stop.store(true, Ordering::Relaxed);
    let mut next = first;
    while let Some(ended) = writers.join_next().await {
        next = next.max(ended.unwrap_or(first));
    }
    // The turns of the next round begin at a whole round of writers.
    Ok(next.next_multiple_of(WRITERS) + 1)
}
