//! What power cuts came to: what is written into the directory, and what is read from it when it is judged again.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::SET;
use crate::check::{self, Check, Coverage, Finding, Promises, Verdict};
use crate::history::{self, Call, History};
use crate::report::{self, Facts};
use crate::run::files;
use crate::run::outcry::{Excuses, Outcry};

const FORMAT: u8 = 1;
/// What the node writes.
pub(super) const LOG: &str = "node.log";
/// Under which each round is in the history, once its power is back.
pub(super) const FAULT: &str = "power";
/// Findings that are printed.
const SHOWN: usize = 10;

/// What is to be done, under the name of a run's schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    format: u8,
    /// How often the power is cut.
    pub power_rounds: u32,
    /// What chance draws.
    pub seed: u64,
}

/// What was seen beside the history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    format: u8,
    /// Version and hash of the program under test.
    program: String,
    /// The command that does it again.
    #[serde(default)]
    again: Option<String>,
    /// How often the power was cut.
    pub(super) rounds: u32,
    /// What did not work though power was there.
    pub(super) broken: Vec<String>,
    pub(super) outcry: Outcry,
    /// Else it was killed, and this is what was written last.
    pub(super) finished: bool,
}

impl Planned {
    pub(super) fn new(power_rounds: u32, seed: u64) -> Self {
        Self { format: FORMAT, power_rounds, seed }
    }

    /// That of a directory; `None` if it is of something else.
    pub fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read(dir.join(files::SCHEDULE)).ok()?;
        serde_json::from_slice(&text).ok().filter(|found: &Self| found.format == FORMAT)
    }

    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(dir.join(files::SCHEDULE), text).context("cannot write the plan")
    }
}

impl Told {
    pub(super) fn new(program: String, again: Option<String>) -> Self {
        let outcry = Outcry::default();
        Self { format: FORMAT, program, again, rounds: 0, broken: Vec::new(), outcry, finished: false }
    }

    fn again(&self, dir: &Path) -> String {
        self.again.clone().unwrap_or_else(|| format!("domicile-jepsen replay {}", dir.display()))
    }

    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let (path, fresh) = (dir.join(files::TOLD), dir.join(format!("{}.new", files::TOLD)));
        std::fs::write(&fresh, serde_json::to_string_pretty(self)? + "\n")
            .and_then(|()| std::fs::rename(&fresh, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the node's log: power that goes explains nothing of what a node says, for it stands still before.
    pub(super) fn listen(&mut self, dir: &Path) {
        self.outcry = Outcry::of(&[dir.join(LOG)], &Excuses::default());
    }

    fn checks(&self, history: &History) -> Vec<Check> {
        let mut checks = check::all(history, Promises::default());
        let finding = |what: &String| Finding { checker: "power", what: what.clone(), window: Vec::new() };
        checks.push(Check {
            name: "power",
            looked_at: self.rounds.into(),
            findings: self.broken.iter().map(finding).collect(),
            unknown: Vec::new(),
        });
        checks.push(self.outcry.check());
        checks
    }

    /// A round in which nothing was acknowledged has nothing that it could lose.
    fn coverage(&self, history: &History) -> Coverage {
        let mut missing = Vec::new();
        if !self.finished {
            missing.push("it did not come to its end".to_owned());
        }
        let idle = acknowledged(history).into_iter().zip(1_u32..).filter(|(count, _)| *count == 0);
        missing.extend(idle.map(|(_, round)| format!("nothing was acknowledged before round {round}")));
        if self.rounds == 0 {
            missing.push("the power was never cut".to_owned());
        }
        Coverage { missing }
    }
}

/// How much was added well before each round, and after the one before it.
fn acknowledged(history: &History) -> Vec<usize> {
    let cuts: Vec<u64> =
        history.faults.iter().filter(|event| event.name == FAULT).map(|event| event.time_ns).collect();
    let mut counts = vec![0; cuts.len()];
    for operation in &history.operations {
        let is_add = matches!(operation.call, Call::Add { set: SET, .. }) && operation.is_ok();
        let round = cuts.partition_point(|cut| *cut < operation.ended_ns());
        if let Some(count) = counts.get_mut(round).filter(|_| is_add) {
            *count += 1;
        }
    }
    counts
}

/// Judges what is in a directory again.
///
/// # Errors
/// Its files cannot be read.
pub fn recheck(dir: &Path, planned: Planned) -> anyhow::Result<Verdict> {
    let bytes =
        std::fs::read(dir.join(files::TOLD)).with_context(|| format!("{} holds no run", dir.display()))?;
    let mut told: Told = serde_json::from_slice(&bytes)?;
    anyhow::ensure!(told.format == FORMAT, "{} is of another version", dir.display());
    if !told.finished {
        told.listen(dir);
    }
    let file = File::open(dir.join(files::HISTORY)).context("there is no history")?;
    let history = history::read(BufReader::new(file))?;
    judge(&told, &history, planned, dir)
}

/// Writes and prints what was found.
pub(super) fn judge(told: &Told, history: &History, planned: Planned, dir: &Path) -> anyhow::Result<Verdict> {
    let (checks, coverage) = (told.checks(history), told.coverage(history));
    let verdict = Verdict::of(&checks, &coverage);
    let text = text(told, history, (&checks, &coverage, verdict), dir);
    print!("{text}");
    std::fs::write(dir.join(files::REPORT), &text).context("cannot write the report")?;
    let again = format!("{}\ndomicile-jepsen check {}", told.again(dir), dir.display());
    let facts = Facts {
        title: &format!("Domicile under power cuts, seed {}", planned.seed),
        again: &format!("{again}\nprogram: {}", told.program),
        verdict,
        checks: &checks,
        coverage: &coverage,
        history,
        topology: None,
        faults: &[],
        sightings: &[],
        searched: &[],
    };
    std::fs::write(dir.join(files::PAGE), report::html(&facts)).context("cannot write the page")?;
    Ok(verdict)
}

fn text(
    told: &Told,
    history: &History,
    (checks, coverage, verdict): (&[Check], &Coverage, Verdict),
    dir: &Path,
) -> String {
    let operations = &history.operations;
    let ok = operations.iter().filter(|one| one.is_ok()).count();
    let unknown = operations.iter().filter(|one| one.is_unknown()).count();
    let mut out = format!("program  {}\n", told.program);
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "history  {} operations: {ok} ok, {unknown} unknown, {} rounds, {} acknowledged before them",
        operations.len(),
        told.rounds,
        acknowledged(history).iter().sum::<usize>()
    );
    let findings: Vec<&Finding> = checks.iter().flat_map(|check| &check.findings).collect();
    for finding in findings.iter().take(SHOWN) {
        let _ = write!(out, "\n{}", finding.text());
    }
    if findings.len() > SHOWN {
        let _ = writeln!(out, "\nand {} more findings", findings.len() - SHOWN);
    }
    for missing in &coverage.missing {
        let _ = writeln!(out, "missing  {missing}");
    }
    if verdict == Verdict::Violation {
        let _ = writeln!(out, "\nagain    {}", told.again(dir));
        let _ = writeln!(out, "judge    domicile-jepsen check {}", dir.display());
    }
    let _ = writeln!(out, "verdict  {} (in {})", verdict.name(), dir.display());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Class, FaultEvent, Operation, Outcome, Reply};

    fn add(index: u64, ended_ns: u64, outcome: Outcome) -> Operation {
        Operation {
            index,
            process: index,
            node: "dev".to_owned(),
            from: 0,
            class: None,
            call: Call::Add { set: SET, element: index },
            invoked_ns: ended_ns - 1,
            completed_ns: Some(ended_ns),
            outcome,
        }
    }

    fn listed(index: u64, at_ns: u64, members: &[u64]) -> Operation {
        let outcome = Outcome::Ok(Reply::Members(members.to_vec()));
        let call = Call::Members { set: SET };
        Operation { class: Some(Class::Strong), call, ..add(index, at_ns, outcome) }
    }

    fn cut(time_ns: u64) -> FaultEvent {
        FaultEvent { time_ns, name: FAULT.to_owned(), told: String::new() }
    }

    fn told(rounds: u32, broken: &[&str]) -> Told {
        let broken = broken.iter().map(|what| (*what).to_owned()).collect();
        let outcry = Outcry { logs: 1, ..Outcry::default() };
        Told { rounds, broken, outcry, finished: true, ..Told::new("domicile 0".to_owned(), None) }
    }

    fn verdict(told: &Told, history: &History) -> Verdict {
        Verdict::of(&told.checks(history), &told.coverage(history))
    }

    fn ok() -> Outcome {
        Outcome::Ok(Reply::Done)
    }

    #[test]
    fn rounds_before_which_something_was_acknowledged_are_judged() {
        let operations = vec![add(1, 5, ok()), listed(2, 12, &[1]), add(3, 15, ok()), listed(4, 22, &[1, 3])];
        let history = History { operations, faults: vec![cut(10), cut(20)] };
        assert_eq!(acknowledged(&history), [1, 1]);
        assert_eq!(verdict(&told(2, &[]), &history), Verdict::Valid);
        let mut lost = history.clone();
        lost.operations[3] = listed(4, 22, &[3]);
        assert_eq!(verdict(&told(2, &[]), &lost), Verdict::Violation);
        assert_eq!(verdict(&Told { finished: false, ..told(2, &[]) }, &history), Verdict::Unknown);
    }

    #[test]
    fn a_round_before_which_nothing_was_acknowledged_shows_nothing() {
        let unknown = Outcome::Info("no answer".to_owned());
        let operations = vec![add(1, 5, ok()), listed(2, 12, &[1]), add(3, 15, unknown), listed(4, 22, &[1])];
        let history = History { operations, faults: vec![cut(10), cut(20)] };
        assert_eq!(acknowledged(&history), [1, 0]);
        assert_eq!(verdict(&told(2, &[]), &history), Verdict::Unknown);
        let missing = told(2, &[]).coverage(&history).missing;
        assert_eq!(missing, ["nothing was acknowledged before round 2"]);
        assert_eq!(verdict(&told(0, &[]), &History::default()), Verdict::Unknown);
    }

    #[test]
    fn a_store_that_does_not_work_with_power_is_a_finding_and_so_is_a_panic() {
        let history =
            History { operations: vec![add(1, 5, ok()), listed(2, 12, &[1])], faults: vec![cut(10)] };
        let broken = told(1, &["round 1: its users cannot be listed"]);
        assert_eq!(verdict(&broken, &history), Verdict::Violation);
        let outcry = Outcry { logs: 1, loud: vec!["n1: panic".to_owned()], missing: Vec::new() };
        assert_eq!(verdict(&Told { outcry, ..told(1, &[]) }, &history), Verdict::Violation);
    }

    #[test]
    fn a_directory_of_power_cuts_is_known_by_its_plan() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Planned::read(dir.path()), None);
        let planned = Planned::new(8, 3);
        planned.write(dir.path()).unwrap();
        assert_eq!(Planned::read(dir.path()), Some(planned));
        let phases = crate::schedule::Phases { healthy_ms: 1, chaos_ms: 1, liveness_ms: 1 };
        let run = crate::schedule::Schedule::draw(3, "eu3".parse().unwrap(), "proxy", &[], phases);
        run.write(&dir.path().join(files::SCHEDULE)).unwrap();
        assert_eq!(Planned::read(dir.path()), None);
    }
}
