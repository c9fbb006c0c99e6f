//! A run: bring a cluster up, let clients work, do what the schedule says, heal, see that everything works
//! again, read everything, judge.

mod early;
mod end;
mod exports;
mod fault;
mod live;
mod monitor;
pub(crate) mod outcry;
mod residency;
mod script;
mod told;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

pub use end::recheck;
use monitor::Pin;
pub use monitor::Sighting;
use outcry::Outcry;
use residency::{Needles, Search};
use script::Script;
pub use told::{FaultDone, Told};

use crate::again;
use crate::check::Verdict;
use crate::clock::{Stopwatch, wall_clock_s};
use crate::cluster::{Cluster, Home, Tenant, Wanted};
use crate::history::Journal;
use crate::nemesis::Nemesis;
use crate::net::NetKind;
use crate::program;
use crate::schedule::Schedule;
use crate::workload::{self, Crew, Ground};

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
    /// What nodes sent, and what was on the wire, where it is kept.
    pub const TRACES: &str = "traces";
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
    let program = program::told(&binary)?;
    println!("program  {program}");
    let traces = std::path::absolute(dir.join(files::TRACES))?;
    let wanted = Wanted {
        topology: &schedule.topology,
        net,
        seed: schedule.seed,
        clocks: schedule.moves_clocks(),
        renews: schedule.renews(),
        traces: schedule.pinned.is_some().then_some(traces.as_path()),
        in_clear: schedule.in_clear,
        binary: &binary,
        root: &std::path::absolute(&nodes)?,
    };
    let cluster = Cluster::bring_up(&wanted).await?;
    println!("cluster  {} nodes serve", cluster.nodes.len());
    let again = again::command(&["replay", &dir.display().to_string()], &setting.binary, &setting.out);
    let under = Under { program: &program, again: &again, until_violation: setting.until_violation };
    let ended = with_cluster(schedule, &cluster, &dir, under).await;
    let core = match &schedule.pinned {
        Some(region) if schedule.in_clear => Some(residency::leave_core(&cluster, region).await),
        Some(_) | None => None,
    };
    cluster.processes.kill_all();
    let (mut told, needles) = ended?;
    if let Some(region) = &schedule.pinned {
        let (cluster, partition, is_sealed) = (&cluster, told.partition, schedule.in_clear);
        let search =
            Search { cluster, region, partition, needles: &needles, traces: &traces, is_sealed, core };
        search.run().context("what is outside the placement cannot be searched")?.tell(&mut told);
    }
    told.finished = true;
    let verdict = end::conclude(&told, &dir, schedule)?;
    if !setting.keep && verdict == Verdict::Valid {
        remove_data(&cluster);
        drop(std::fs::remove_dir_all(&traces));
    }
    Ok((verdict, dir))
}

/// What a run is told beside its schedule.
#[derive(Clone, Copy, Debug)]
struct Under<'a> {
    /// Version and hash.
    program: &'a str,
    /// The command that does it again.
    again: &'a str,
    until_violation: bool,
}

async fn with_cluster(
    schedule: &Schedule,
    cluster: &Cluster,
    dir: &Path,
    under: Under<'_>,
) -> anyhow::Result<(Told, Needles)> {
    let home = Home { pinned: schedule.pinned.as_deref(), sealed: schedule.in_clear };
    let tenant = Tenant::make(cluster, schedule.topology.regions.len(), home, schedule.promises()).await?;
    println!("tenant   {} on partition {}", tenant.slug, tenant.partition);
    let began = Stopwatch::start();
    let journal = Journal::create(&dir.join(files::HISTORY), began)?;
    let nemesis = Nemesis::new(cluster, tenant.partition);
    let mut told = Told::new(under.program, under.again, tenant.promises, tenant.partition);
    let pin = schedule.pinned.clone().map(|region| Pin { partition: tenant.partition, region });
    let ground = Arc::new(Ground::new(cluster.clone(), tenant, journal, schedule.seed)?);
    let monitor = monitor::start(cluster, pin, began);
    let mut clients = workload::start(&ground, Crew::default());
    let line = live::start(&ground, schedule);
    let script = Script { ground: &ground, nemesis: &nemesis, schedule, monitor: &monitor, line: &line, dir };
    tokio::select! {
        done = script.run(&mut told, &mut clients) => {
            told.broken.extend(done.err().map(|why| format!("{why:#}")));
        }
        () = early::violation(&ground, &monitor, schedule), if under.until_violation => {
            told.early = true;
            println!("found    a violation: the run ends here");
        }
    }
    line.stop();
    clients.abort_all();
    told.see(monitor.stop());
    told.odd = ground.odd_answers();
    told.died = outcry::fallen(&ground, &told.excuses);
    told.outcry = Outcry::of(&outcry::logs_in(dir, cluster.nodes.len()), &told.excuses);
    told.history = ground.journal.history().context("the history could not be written")?;
    let mut needles = Needles::of(&ground);
    if let Some(region) = &schedule.pinned {
        // A run that ended at a violation may have nodes that do not answer.
        if !told.early {
            needles.read_ids(&ground).await;
            needles.settle_directory(cluster, region).await;
        }
        needles.read_metrics(cluster).await;
    }
    Ok((told, needles))
}

fn remove_data(cluster: &Cluster) {
    for (turn, node) in cluster.nodes.iter().enumerate() {
        match cluster.disk(turn) {
            Some(disk) => drop(std::fs::remove_file(disk.image())),
            None => drop(std::fs::remove_dir_all(node.data())),
        }
        for core in residency::cores_in(node.folder()) {
            drop(std::fs::remove_file(core));
        }
    }
}
