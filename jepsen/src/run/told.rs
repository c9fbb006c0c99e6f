//! What the harness saw beside the history, and what it comes to.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::files;
use super::monitor::{Seen, Sighting};
use super::outcry::{Excuses, Outcry};
use crate::check::{self, Check, Coverage, Finding, Promises};
use crate::history::History;
use crate::schedule::{Kind, Schedule};
use crate::workload::Digests;

pub(super) const FORMAT: u8 = 1;

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
    pub(super) format: u8,
    /// Version and hash of the program under test.
    #[serde(default)]
    pub program: String,
    /// The command that does it again.
    #[serde(default)]
    pub again: Option<String>,
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
    #[serde(default)]
    pub outcry: Outcry,
    /// Disks that failed on purpose.
    #[serde(default)]
    pub excuses: Excuses,
    /// Nodes that ended though nobody told them to.
    #[serde(default)]
    pub died: Vec<String>,
    /// Nodes that did not stop when they were told to.
    #[serde(default)]
    pub unstopped: Vec<String>,
    /// What the harness could not do.
    #[serde(default)]
    pub broken: Vec<String>,
    /// Whether it came to its end; else it was killed, and this is what was written last.
    #[serde(default)]
    pub finished: bool,
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
    /// What comparing digests of replicas came to.
    #[serde(default)]
    pub digests: Digests,
    /// Why the search for needles shows nothing.
    #[serde(default)]
    pub blind: Vec<String>,
    /// Where needles were looked for, and what the search was tried on.
    #[serde(default)]
    pub searched: Vec<String>,
    #[serde(skip)]
    pub(super) history: History,
}

impl Told {
    pub(super) fn new(program: &str, again: &str, promises: Promises, partition: u64) -> Self {
        Self {
            format: FORMAT,
            program: program.to_owned(),
            again: Some(again.to_owned()),
            grace_ms: promises.grace_ms,
            bound_ms: promises.bound_ms,
            partition,
            faults: Vec::new(),
            recovered_ms: Vec::new(),
            odd: Vec::new(),
            unreachable: Vec::new(),
            outcry: Outcry::default(),
            excuses: Excuses::default(),
            died: Vec::new(),
            unstopped: Vec::new(),
            broken: Vec::new(),
            finished: false,
            sightings: Vec::new(),
            led: Vec::new(),
            installs: 0,
            early: false,
            in_place: 0,
            misplaced: Vec::new(),
            blind: Vec::new(),
            searched: Vec::new(),
            compared: 0,
            differs: Vec::new(),
            digests: Digests::default(),
            history: History::default(),
        }
    }

    /// The command that does it again; one for the program beside this one, where no other was written down.
    pub(super) fn again(&self, dir: &Path) -> String {
        self.again.clone().unwrap_or_else(|| format!("domicile-jepsen replay {}", dir.display()))
    }

    /// How many faults took.
    pub(super) fn took(&self) -> usize {
        self.faults.iter().filter(|done| done.took == "Installed").count()
    }

    /// How much was found beside the history and beside odd answers.
    pub(super) fn found(&self) -> usize {
        let differs = [&self.differs, &self.digests.differs];
        let lists =
            [&self.unreachable, &self.died, &self.unstopped, &self.misplaced].into_iter().chain(differs);
        lists.map(Vec::len).sum()
    }

    /// What the monitor saw.
    pub(super) fn see(&mut self, seen: Seen) {
        (self.sightings, self.in_place) = (seen.sightings, seen.in_place);
        self.misplaced.extend(seen.misplaced);
        self.led.extend(seen.led);
        self.installs = seen.installs;
    }

    /// Writes it into the run's directory: all of it or what was there before.
    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let (path, fresh) = (dir.join(files::TOLD), dir.join(format!("{}.new", files::TOLD)));
        std::fs::write(&fresh, serde_json::to_string_pretty(self)? + "\n")
            .and_then(|()| std::fs::rename(&fresh, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// All checks: of the history, and of what was seen beside it.
    pub(super) fn checks(&self, schedule: &Schedule) -> Vec<Check> {
        let promises = Promises { grace_ms: self.grace_ms, bound_ms: self.bound_ms };
        let skews = schedule.skews(&self.history.faults);
        let mut checks = check::all_under(&self.history, promises, &skews);
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
        let mut digests = plain("replica digests", 0, self.digests.differs.clone());
        digests.looked_at = self.digests.compared;
        digests.unknown.clone_from(&self.digests.alone);
        checks.push(digests);
        checks.push(self.outcry.check());
        let ends = self.died.iter().chain(&self.unstopped).cloned().collect();
        checks.push(plain("exits", schedule.topology.total(), ends));
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

    pub(super) fn coverage(&self, schedule: &Schedule, checks: &[Check]) -> Coverage {
        let mut missing = Vec::new();
        if !self.finished {
            missing.push("the run did not come to its end".to_owned());
        }
        for kind in &schedule.kinds {
            let took = |done: &&FaultDone| done.kind == *kind && done.took == "Installed";
            if !self.faults.iter().any(|done| took(&done)) {
                missing.push(format!("no fault of kind {} took", kind.name()));
            }
        }
        let took: Vec<bool> = self.faults.iter().map(|done| done.took == "Installed").collect();
        let shapes = schedule.shapes_missing(&took).into_iter();
        missing.extend(shapes.map(|shape| format!("no partition of the shape `{shape}` took")));
        let moves = [Kind::Kill, Kind::Pause, Kind::Partition, Kind::Transfer];
        if schedule.kinds.iter().any(|kind| moves.contains(kind)) && self.leader_changes() == 0 {
            missing.push("no leader changed".to_owned());
        }
        // What this run has no clients for is not missing.
        let mut others = vec!["list append", "monotonic sessions"];
        if schedule.pinned.is_none() {
            others.push("placement");
        }
        if schedule.topology.total() < 2 {
            others.push("replica digests");
        }
        // One in the clear is short, and about nothing but what leaves.
        let is_asked = |name: &str| !others.contains(&name) && (!schedule.in_clear || name == "placement");
        let idle = checks.iter().filter(|one| one.looked_at == 0 && is_asked(one.name));
        missing.extend(idle.map(|one| format!("nothing to judge: {}", one.name)));
        Coverage { missing }
    }
}
