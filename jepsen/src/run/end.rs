//! What a run says in the end, and the same from its files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::files;
use super::monitor::Sighting;
use crate::check::{self, Check, Coverage, Finding, Promises, Verdict, staleness};
use crate::cluster::Cluster;
use crate::history::{self, History, Outcome};
use crate::report::{self, Facts};
use crate::schedule::{Kind, Schedule};

const FORMAT: u8 = 1;
/// Lines of a node's output that are failures whatever the history says.
const LOUD: &[&str] = &["panicked at", "Fatal(", "RAFT FATAL"];
const LOUD_MAX: usize = 20;

/// A fault as it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultDone {
    /// As the schedule has it.
    pub fault: String,
    /// Its kind.
    pub kind: Kind,
    /// `Installed`, `Skipped` or `Unknown`.
    pub took: String,
    /// What it hit.
    pub told: String,
    /// When it began, in ns since the run began.
    pub began_ns: u64,
    /// When it was taken back.
    pub ended_ns: u64,
}

/// What the harness saw beside the history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    format: u8,
    grace_ms: u64,
    bound_ms: u64,
    /// The tenants' partition.
    pub partition: u64,
    /// In order.
    pub faults: Vec<FaultDone>,
    /// How long each node took to do a write after all was healed, in ms; none: it did not.
    pub recovered_ms: Vec<Option<u64>>,
    /// Answers that no client should get.
    pub odd: Vec<String>,
    /// What could not be read in the end.
    pub unreachable: Vec<String>,
    /// Panics and the like in nodes' output.
    pub loud: Vec<String>,
    /// Leaders as they were seen.
    pub sightings: Vec<Sighting>,
    /// Partition, term and node, of replicas that said that they lead.
    #[serde(default)]
    pub led: Vec<(u64, u64, u64)>,
    /// Snapshots that were seen to be installed.
    #[serde(default)]
    pub installs: u64,
    /// Whether the run ended at its first violation.
    #[serde(default)]
    pub early: bool,
    /// How often replicas were seen where they may be, and needles looked for elsewhere.
    #[serde(default)]
    pub in_place: u64,
    /// Replicas, and what was taken from them, where they may not be.
    #[serde(default)]
    pub misplaced: Vec<String>,
    /// Logs and lists of replicas that were compared.
    #[serde(default)]
    pub compared: u64,
    /// What differs between replicas.
    #[serde(default)]
    pub differs: Vec<String>,
    /// Why the search for needles shows nothing.
    #[serde(default)]
    pub blind: Vec<String>,
    #[serde(skip)]
    pub(super) history: History,
}

impl Told {
    pub(super) fn new(promises: Promises, partition: u64) -> Self {
        Self {
            format: FORMAT,
            grace_ms: promises.grace_ms,
            bound_ms: promises.bound_ms,
            partition,
            faults: Vec::new(),
            recovered_ms: Vec::new(),
            odd: Vec::new(),
            unreachable: Vec::new(),
            loud: Vec::new(),
            sightings: Vec::new(),
            led: Vec::new(),
            installs: 0,
            early: false,
            in_place: 0,
            misplaced: Vec::new(),
            blind: Vec::new(),
            compared: 0,
            differs: Vec::new(),
            history: History::default(),
        }
    }

    pub(super) fn scan_logs(&mut self, cluster: &Cluster) {
        for node in &cluster.nodes {
            let text = std::fs::read(node.log()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let loud = text.lines().filter(|line| LOUD.iter().any(|mark| line.contains(mark)));
            self.loud.extend(loud.take(LOUD_MAX).map(|line| format!("{}: {line}", node.name)));
        }
    }

    /// All checks: of the history, and of what was seen beside it.
    fn checks(&self) -> Vec<Check> {
        let promises = Promises { grace_ms: self.grace_ms, bound_ms: self.bound_ms };
        let mut checks = check::all(&self.history, promises);
        checks.push(self.leaders());
        let plain = |name, looked_at: usize, found: Vec<String>| Check {
            name,
            looked_at: looked_at as u64,
            findings: found
                .into_iter()
                .map(|what| Finding { checker: name, what, window: Vec::new() })
                .collect(),
            unknown: Vec::new(),
        };
        let stuck = self.recovered_ms.iter().enumerate().filter(|(_, took)| took.is_none());
        let mut stuck: Vec<String> =
            stuck.map(|(node, _)| format!("n{} does no write after all was healed", node + 1)).collect();
        stuck.extend(self.unreachable.clone());
        checks.push(plain("liveness", self.recovered_ms.len(), stuck));
        let mut placement = plain("placement", 0, self.misplaced.clone());
        placement.looked_at = self.in_place;
        placement.unknown.clone_from(&self.blind);
        checks.push(placement);
        let mut replicas = plain("replicas", 0, self.differs.clone());
        replicas.looked_at = self.compared;
        checks.push(replicas);
        checks.push(plain("panics", 1, self.loud.clone()));
        checks.push(plain("odd answers", 1, self.odd.clone()));
        checks
    }

    /// At most one leader a term (Raft §5.2).
    fn leaders(&self) -> Check {
        let mut known: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut check = Check { name: "one leader a term", ..Check::default() };
        for one in &self.sightings {
            let Some(leader) = one.leader else { continue };
            check.looked_at += 1;
            let first = *known.entry((one.partition, one.term)).or_insert(leader);
            if first != leader {
                let what = format!(
                    "partition {} has two leaders in term {}: node {first} and node {leader} (told by n{} at {} ms)",
                    one.partition,
                    one.term,
                    one.asked + 1,
                    one.time_ms
                );
                check.findings.push(Finding { checker: check.name, what, window: Vec::new() });
            }
        }
        for (partition, term, leader) in &self.led {
            check.looked_at += 1;
            let first = *known.entry((*partition, *term)).or_insert(*leader);
            if first != *leader {
                let what =
                    format!("partition {partition}: node {first} and node {leader} both lead in term {term}");
                check.findings.push(Finding { checker: check.name, what, window: Vec::new() });
            }
        }
        check
    }

    /// How often the leader of the tenants' partition changed.
    pub fn leader_changes(&self) -> usize {
        let mut by_term: BTreeMap<u64, u64> = BTreeMap::new();
        for one in self.sightings.iter().filter(|one| one.partition == self.partition) {
            if let Some(leader) = one.leader {
                by_term.insert(one.term, leader);
            }
        }
        let leaders: Vec<u64> = by_term.into_values().collect();
        leaders.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    fn coverage(&self, schedule: &Schedule, checks: &[Check]) -> Coverage {
        let mut missing = Vec::new();
        for kind in &schedule.kinds {
            let took = |done: &&FaultDone| done.kind == *kind && done.took == "Installed";
            if !self.faults.iter().any(|done| took(&done)) {
                missing.push(format!("no fault of kind {} took", kind.name()));
            }
        }
        let moves = [Kind::Kill, Kind::Pause, Kind::Partition, Kind::Transfer];
        if schedule.kinds.iter().any(|kind| moves.contains(kind)) && self.leader_changes() == 0 {
            missing.push("no leader changed".to_owned());
        }
        // What this run has no clients for is not missing.
        let mut others = vec!["list append", "monotonic sessions"];
        if schedule.pinned.is_none() {
            others.push("placement");
        }
        let idle = checks.iter().filter(|one| one.looked_at == 0 && !others.contains(&one.name));
        missing.extend(idle.map(|one| format!("nothing to judge: {}", one.name)));
        Coverage { missing }
    }
}

/// Judges a finished run and writes what was found.
///
/// # Errors
/// Files cannot be written.
pub(super) fn conclude(told: &Told, dir: &Path, schedule: &Schedule) -> anyhow::Result<Verdict> {
    let json = serde_json::to_string_pretty(told)?;
    std::fs::write(dir.join(files::TOLD), json + "\n").context("cannot write what was seen")?;
    judge(told, dir, schedule)
}

/// Judges a run again from its directory.
///
/// # Errors
/// Its files cannot be read.
pub fn recheck(dir: &Path) -> anyhow::Result<Verdict> {
    let schedule = Schedule::read(&dir.join(files::SCHEDULE))?;
    let bytes =
        std::fs::read(dir.join(files::TOLD)).with_context(|| format!("{} holds no run", dir.display()))?;
    let mut told: Told = serde_json::from_slice(&bytes)?;
    anyhow::ensure!(told.format == FORMAT, "{} is of another version", dir.display());
    let file = File::open(dir.join(files::HISTORY)).context("there is no history")?;
    told.history = history::read(BufReader::new(file))?;
    judge(&told, dir, &schedule)
}

fn judge(told: &Told, dir: &Path, schedule: &Schedule) -> anyhow::Result<Verdict> {
    let checks = told.checks();
    let coverage = told.coverage(schedule, &checks);
    let verdict = Verdict::of(&checks, &coverage);
    let text = text(told, &checks, &coverage, verdict, dir);
    print!("{text}");
    std::fs::write(dir.join(files::REPORT), &text).context("cannot write the report")?;
    let facts = Facts {
        title: &format!("Domicile under chaos: {}, seed {}", schedule.topology, schedule.seed),
        again: &format!("domicile-jepsen replay {0}\ndomicile-jepsen check {0}", dir.display()),
        verdict,
        checks: &checks,
        coverage: &coverage,
        history: &told.history,
        faults: &told.faults,
        sightings: &told.sightings,
    };
    std::fs::write(dir.join(files::PAGE), report::html(&facts)).context("cannot write the page")?;
    println!("report   {}", dir.join(files::PAGE).display());
    Ok(verdict)
}

fn text(told: &Told, checks: &[Check], coverage: &Coverage, verdict: Verdict, dir: &Path) -> String {
    let mut out = String::new();
    let operations = &told.history.operations;
    let count = |fits: fn(&Outcome) -> bool| operations.iter().filter(|one| fits(&one.outcome)).count();
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "history  {} operations: {} ok, {} refused, {} unknown",
        operations.len(),
        count(|one| matches!(one, Outcome::Ok(_))),
        count(|one| matches!(one, Outcome::Fail(_))),
        count(|one| matches!(one, Outcome::Info(_))),
    );
    let took = told.faults.iter().filter(|done| done.took == "Installed").count();
    let _ = writeln!(
        out,
        "faults   {} done, {took} took; {} changes of the leader, {} snapshots installed",
        told.faults.len(),
        told.leader_changes(),
        told.installs
    );
    for done in &told.faults {
        let _ = writeln!(
            out,
            "           {} s  {}: {} {}",
            done.began_ns / 1_000_000_000,
            done.fault,
            done.took,
            done.told
        );
    }
    let slowest = told.recovered_ms.iter().flatten().max();
    let slowest = slowest.map_or_else(|| "unknown: no".to_owned(), |ms| format!("{ms} ms until every"));
    let _ = writeln!(out, "recovery {slowest} node did a write, after the last healing");
    let ages = staleness(&told.history);
    if let (Some(middle), Some(worst)) =
        (ages.bounded_ms.get(ages.bounded_ms.len() / 2), ages.bounded_ms.last())
    {
        let _ = writeln!(out, "bounded  reads: median {middle} ms stale, worst {worst} ms");
    }
    for check in checks {
        let state = match (check.findings.len(), check.unknown.len()) {
            (0, 0) if check.looked_at == 0 => "nothing to judge".to_owned(),
            (0, 0) => "passed".to_owned(),
            (0, unknown) => format!("undecided in {unknown} cases"),
            (found, _) => format!("FAILED, {found} findings"),
        };
        let _ = writeln!(out, "check    {:<40} {:>7} looked at  {state}", check.name, check.looked_at);
    }
    let findings: Vec<&Finding> = checks.iter().flat_map(|check| &check.findings).collect();
    for finding in findings.iter().take(10) {
        let _ = write!(out, "\n{}", finding.text());
    }
    if findings.len() > 10 {
        let _ = writeln!(out, "\nand {} more findings", findings.len() - 10);
    }
    for missing in &coverage.missing {
        let _ = writeln!(out, "missing  {missing}");
    }
    if verdict == Verdict::Violation {
        let _ = writeln!(out, "\nagain    domicile-jepsen replay {}", dir.display());
        let _ = writeln!(out, "judge    domicile-jepsen check {}", dir.display());
    }
    let _ = writeln!(out, "verdict  {}", verdict.name());
    out
}
