//! Cuts the power under one store again and again: a development node on a disk of its own takes writes,
//! stands still, loses its disk's power, dies, and is started on what the disk kept.

mod node;
mod told;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::again;
use crate::check::Verdict;
use crate::clock::{Stopwatch, wall_clock_s};
use crate::disk::Disk;
use crate::history::{Call, Class, Journal, Outcome, Refusal, Reply};
use crate::program;
use crate::random::Random;
use crate::run::files;
use node::{Node, Place};
use told::Told;
pub use told::{Planned, recheck};

const WRITERS: u64 = 4;
/// The one set: the users of the tenant.
const SET: u64 = 1;
/// Between the stop of the process and the cut: what was under way in the kernel may end.
const STILL: Duration = Duration::from_millis(20);
/// For a first write to go well, so that there is something to lose.
const WRITE_MAX: Duration = Duration::from_secs(20);

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
    /// Whether the disk stays also when nothing was found.
    pub keep: bool,
}

/// A loop of power cuts on its way.
struct Loop {
    dir: PathBuf,
    place: Place,
    disk: Disk,
    journal: Arc<Journal>,
    random: Random,
    told: Told,
    /// The next free element.
    next: u64,
}

/// Runs the rounds; returns what was found.
///
/// # Errors
/// A failure of the harness; a node that does not work when its power is back is a finding.
pub async fn run(plan: &Plan) -> anyhow::Result<Verdict> {
    let dir = plan.out.join(format!("{}-power-{}", wall_clock_s(), plan.seed));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = std::path::absolute(dir)?;
    println!("power    seed {}, {} rounds, in {}", plan.seed, plan.rounds, dir.display());
    let binary = std::path::absolute(&plan.binary)?;
    let again = again::command(&["replay", &dir.display().to_string()], &binary, &plan.out);
    let told = Told::new(program::told(&binary)?, Some(again));
    let planned = Planned::new(plan.rounds, plan.seed);
    planned.write(&dir)?;
    let disk = Disk::make(&dir).context("a disk needs root, e2fsprogs and a loop device")?;
    let mut cuts = Loop {
        place: Place { binary, mount: disk.mount.clone(), dir: dir.clone() },
        journal: Arc::new(Journal::create(&dir.join(files::HISTORY), Stopwatch::start())?),
        random: Random::fork(plan.seed, "power"),
        disk,
        told,
        next: 1,
        dir,
    };
    let mut node = Some(Node::start(&cuts.place).await?);
    while cuts.told.rounds < plan.rounds {
        let Some(running) = node.take() else { break };
        node = cuts.round(running).await?;
        cuts.told.write(&cuts.dir)?;
    }
    if let Some(node) = node
        && let Some(status) = node.kill().await
    {
        cuts.told.broken.push(format!("the node ended by itself after the last round: {status}"));
    }
    cuts.told.listen(&cuts.dir);
    cuts.told.finished = true;
    cuts.told.write(&cuts.dir)?;
    let history = cuts.journal.history().context("the history could not be written")?;
    let verdict = told::judge(&cuts.told, &history, planned, &cuts.dir)?;
    if verdict == Verdict::Valid && !plan.keep {
        drop(std::fs::remove_file(cuts.disk.image()));
    }
    Ok(verdict)
}

impl Loop {
    /// One cut, and what the store is afterwards. The node that runs then; `None` once one was found that does not work.
    async fn round(&mut self, node: Node) -> anyhow::Result<Option<Node>> {
        let round = self.told.rounds + 1;
        let patience = Duration::from_millis(self.random.between(100, 1_500));
        let acknowledged = self.write_for(&node, patience).await?;
        if let Some(status) = node.kill().await {
            self.told.broken.push(format!("round {round}: the node ended by itself: {status}"));
        }
        self.disk.mount_again().await.context("the file system does not come back")?;
        self.told.rounds = round;
        self.journal.fault(told::FAULT, &format!("round {round}"));
        if acknowledged == 0 {
            let limit_s = WRITE_MAX.as_secs();
            self.told.broken.push(format!("round {round}: no write went well for {limit_s} s"));
            return Ok(None);
        }
        let node = match Node::start(&self.place).await {
            Ok(node) => node,
            Err(error) => {
                self.told.broken.push(format!("round {round}: the store does not open: {error:#}"));
                return Ok(None);
            }
        };
        let ticket = self.journal.invoke(0, "dev", Some(Class::Strong), Call::Members { set: SET });
        match node.users_in_time().await {
            Ok(members) => self.journal.complete(ticket, Outcome::Ok(Reply::Members(members))),
            Err(error) => {
                let why = format!("{error:#}");
                self.journal.complete(ticket, Outcome::Fail(Refusal::Other(why.clone())));
                let what = format!("round {round}: the store opens, and its users cannot be listed: {why}");
                self.told.broken.push(what);
                return Ok(None);
            }
        }
        if round.is_multiple_of(10) {
            println!("{round:>5} rounds, {} operations", self.journal.counts()[0]);
        }
        Ok(Some(node))
    }

    /// Lets clients write for a while, and until something is acknowledged, then has the process stand still and cuts the
    /// power, before the kernel writes by itself what nobody synced. Gives how much was acknowledged.
    async fn write_for(&mut self, node: &Node, patience: Duration) -> anyhow::Result<u64> {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut writers = JoinSet::new();
        for turn in 0..WRITERS {
            let (door, journal, stop) = (node.door(), self.journal.clone(), stop.clone());
            let (acknowledged, first) = (acknowledged.clone(), self.next);
            writers.spawn(async move {
                let mut element = first + turn;
                while !stop.load(Ordering::Relaxed) {
                    // A client number of its own for each element: an end may be unknown.
                    let ticket = journal.invoke(element, "dev", None, Call::Add { set: SET, element });
                    let outcome = door.add(element).await;
                    let is_ok = matches!(outcome, Outcome::Ok(_));
                    journal.complete(ticket, outcome);
                    acknowledged.fetch_add(u64::from(is_ok), Ordering::Relaxed);
                    element += WRITERS;
                }
                element
            });
        }
        tokio::time::sleep(patience).await;
        let begun = async {
            while acknowledged.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(STILL).await;
            }
        };
        drop(tokio::time::timeout(WRITE_MAX, begun).await);
        node.stand_still();
        tokio::time::sleep(STILL).await;
        let cut = self.disk.cut();
        stop.store(true, Ordering::Relaxed);
        let first = self.next;
        while let Some(ended) = writers.join_next().await {
            self.next = self.next.max(ended.unwrap_or(first));
        }
        // The turns of the next round begin at a whole round of writers.
        self.next = self.next.next_multiple_of(WRITERS) + 1;
        cut?;
        Ok(acknowledged.load(Ordering::Relaxed))
    }
}
