//! A run: bring a cluster up, let clients work, do what the schedule says, heal, see that everything works
//! again, read everything, judge.

mod early;
mod end;
mod live;
mod monitor;
mod residency;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use end::{FaultDone, Told, recheck};
use monitor::Pin;
pub use monitor::Sighting;
use residency::Needles;

use crate::check::Verdict;
use crate::clock::{Stopwatch, wall_clock_s};
use crate::cluster::{Cluster, Tenant, Wanted};
use crate::history::Journal;
use crate::nemesis::{Begun, Nemesis};
use crate::net::NetKind;
use crate::schedule::{Schedule, Step};
use crate::workload::{self, Crew, Ground};

/// Everything must work again so soon after all was healed; processes that start are waited for first.
const RECOVER_MAX: Duration = Duration::from_mins(1);
/// Processes that were killed serve again so soon after all was healed.
const HEAL_MAX: Duration = Duration::from_secs(45);
/// For clients to finish what they do.
const FINISH_MAX: Duration = Duration::from_secs(45);

/// Files of a run.
pub mod files {
    /// What was planned.
    pub const SCHEDULE: &str = "schedule.json";
    /// What happened.
    pub const HISTORY: &str = "history.edn";
    /// What was promised, and what the harness saw beside the history.
    pub const TOLD: &str = "run.json";
    /// What was found, for people.
    pub const REPORT: &str = "report.txt";
    /// The same with pictures.
    pub const PAGE: &str = "report.html";
}

/// Where and with what.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The program under test.
    pub binary: PathBuf,
    /// Where the run's directory is made.
    pub out: PathBuf,
    /// Whether the nodes' data directories stay.
    pub keep: bool,
    /// Whether the run ends at the first violation.
    pub until_violation: bool,
}

/// Carries out a schedule; returns what was found and where it was written.
///
/// # Errors
/// A failure of the harness, or of the cluster to come up: says nothing of the promises.
pub async fn carry_out(schedule: &Schedule, setting: &Setting) -> anyhow::Result<(Verdict, PathBuf)> {
    let dir = setting.out.join(format!("{}-seed-{}", wall_clock_s(), schedule.seed));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    schedule.write(&dir.join(files::SCHEDULE))?;
    println!("run      seed {} on {}, in {}", schedule.seed, schedule.topology, dir.display());
    let net = NetKind::of(&schedule.net)?;
    println!("net      {}; it cannot do:", net.name());
    for lack in net.lacks() {
        println!("           {lack}");
    }
    print!("schedule {} faults\n{}", schedule.steps.len(), schedule.text());
    let nodes = dir.join("nodes");
    let binary = std::path::absolute(&setting.binary)?;
    let wanted = Wanted {
        topology: &schedule.topology,
        net,
        seed: schedule.seed,
        clocks: schedule.moves_clocks(),
        renews: schedule.renews(),
        binary: &binary,
        root: &std::path::absolute(&nodes)?,
    };
    let cluster = Cluster::bring_up(&wanted).await?;
    println!("cluster  {} nodes serve", cluster.nodes.len());
    let ended = with_cluster(schedule, &cluster, &dir, setting.until_violation).await;
    cluster.processes.kill_all();
    let (mut told, needles) = ended?;
    if let Some(pin) = &schedule.pinned {
        let found = residency::scan(&cluster, pin, told.partition, &needles);
        found.context("the nodes' files cannot be searched")?.tell(&mut told);
    }
    let verdict = end::conclude(&told, &dir, schedule)?;
    if !setting.keep && verdict == Verdict::Valid {
        remove_data(&cluster);
    }
    Ok((verdict, dir))
}

async fn with_cluster(
    schedule: &Schedule,
    cluster: &Cluster,
    dir: &Path,
    until_violation: bool,
) -> anyhow::Result<(Told, Needles)> {
    let tenant = Tenant::make(cluster, schedule.topology.regions.len(), schedule.pinned.as_deref()).await?;
    println!("tenant   {} on partition {}", tenant.slug, tenant.partition);
    let began = Stopwatch::start();
    let journal = Journal::create(&dir.join(files::HISTORY), began)?;
    let nemesis = Nemesis::new(cluster, tenant.partition);
    let mut told = Told::new(schedule.loosened(tenant.promises), tenant.partition);
    let pin = schedule.pinned.clone().map(|region| Pin { partition: tenant.partition, region });
    let ground = Arc::new(Ground::new(cluster.clone(), tenant, journal, schedule.seed)?);
    let monitor = monitor::start(cluster, pin, began);
    let mut clients = workload::start(&ground, Crew::default());
    let line = live::start(&ground, schedule);
    tokio::select! {
        () = script(&ground, &nemesis, schedule, &line, &mut told, &mut clients, dir) => {}
        () = early::violation(&ground, &monitor), if until_violation => {
            told.early = true;
            println!("found    a violation: the run ends here");
        }
    }
    line.stop();
    clients.abort_all();
    let seen = monitor.stop();
    (told.sightings, told.in_place) = (seen.sightings, seen.in_place);
    told.misplaced.extend(seen.misplaced);
    told.led.extend(seen.led);
    told.installs = seen.installs;
    told.odd = ground.odd_answers();
    told.scan_logs(cluster);
    told.history = ground.journal.history().context("the history could not be written")?;
    let mut needles = Needles::of(&ground);
    if schedule.pinned.is_some() {
        needles.read_metrics(cluster).await;
    }
    Ok((told, needles))
}

/// Faults as planned, then everything whole again, and the last reads.
async fn script(
    ground: &Arc<Ground>,
    nemesis: &Nemesis,
    schedule: &Schedule,
    line: &live::Line,
    told: &mut Told,
    clients: &mut JoinSet<()>,
    dir: &Path,
) {
    let start = Instant::now();
    line.phase("healthy");
    for step in &schedule.steps {
        tokio::time::sleep_until(start + Duration::from_millis(step.at_ms)).await;
        line.phase(&format!("{}", step.fault));
        told.faults.push(one_fault(ground, nemesis, step).await);
        line.phase("recovering");
    }
    let chaos_ends = Duration::from_millis(schedule.phases.healthy_ms + schedule.phases.chaos_ms);
    tokio::time::sleep_until(start + chaos_ends).await;
    line.phase("healing");
    ground.journal.fault("heal-all", "");
    // A node that does not come back when nothing is wrong any more has broken its promise.
    let back = tokio::time::timeout(HEAL_MAX, nemesis.heal()).await;
    if let Err(why) = back.map_err(anyhow::Error::from).flatten() {
        let limit_s = HEAL_MAX.as_secs();
        told.unreachable.push(format!("not everything is back {limit_s} s after all was healed: {why:#}"));
        // The last reads would wait for it in vain.
        return;
    }
    line.phase("liveness");
    told.recovered_ms = recovered(ground).await;
    tokio::time::sleep(Duration::from_millis(schedule.phases.liveness_ms)).await;
    line.phase("finishing");
    ground.close();
    let finished = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(FINISH_MAX, finished).await.is_err() {
        clients.abort_all();
    }
    line.phase("final reads");
    if let Err(error) = workload::final_reads(ground).await {
        told.unreachable.push(format!("{error:#}"));
    }
    let compared = workload::compare(ground, dir).await;
    told.compared = compared.looked_at;
    told.differs = compared.differs;
    told.unreachable.extend(compared.unreadable);
    if let Some(view) = ground.cluster.view(0).await {
        let broken =
            view.partitions.iter().flat_map(|one| one.broken.iter().map(move |broken| (one.id, broken)));
        told.unreachable
            .extend(broken.map(|(id, (node, why))| {
                format!("node {node} does not have partition {id} any more: {why}")
            }));
    }
}

async fn one_fault(ground: &Ground, nemesis: &Nemesis, step: &Step) -> end::FaultDone {
    let name = step.fault.kind().name();
    ground.journal.fault(&format!("{name}-begins"), &step.fault.to_string());
    let began_ns = ground.journal.now_ns();
    let until = Instant::now() + Duration::from_millis(step.for_ms);
    let mut begun: Begun = nemesis.begin(&step.fault).await;
    ground.journal.fault(name, &format!("{:?}: {}", begun.took, begun.told));
    tokio::time::sleep_until(until).await;
    let ended = nemesis.end(&step.fault, &mut begun).await;
    ground.journal.fault(&format!("{name}-ends"), &ended);
    end::FaultDone {
        fault: step.fault.to_string(),
        kind: begun.kind,
        took: format!("{:?}", begun.took),
        told: format!("{} {ended}", begun.told).trim().to_owned(),
        began_ns,
        ended_ns: ground.journal.now_ns(),
    }
}

/// How long each node took until a write went well through it; `None` for one that did not in time.
async fn recovered(ground: &Arc<Ground>) -> Vec<Option<u64>> {
    let watch = Stopwatch::start();
    let one = |node: usize| {
        let ground = ground.clone();
        async move {
            let trying = async {
                while !ground.write_goes_well(node).await {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let done = tokio::time::timeout(RECOVER_MAX, trying).await;
            done.ok().map(|()| watch.elapsed_ns() / 1_000_000)
        }
    };
    futures::future::join_all((0..ground.cluster.nodes.len()).map(one)).await
}

fn remove_data(cluster: &Cluster) {
    for (turn, node) in cluster.nodes.iter().enumerate() {
        match cluster.disk(turn) {
            Some(disk) => drop(std::fs::remove_file(disk.image())),
            None => drop(std::fs::remove_dir_all(node.data())),
        }
    }
}
