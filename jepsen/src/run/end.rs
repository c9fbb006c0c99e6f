//! What a run says in the end, and the same from its files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;

use super::outcry::{self, Outcry};
use super::told::{FORMAT, Told};
use super::{exports, files};
use crate::check::{Check, Coverage, Finding, Verdict, staleness};
use crate::history::{self, Operation, Outcome};
use crate::report::{self, Facts};
use crate::schedule::Schedule;

/// Judges a finished run and writes what was found.
///
/// # Errors
/// Files cannot be written.
pub(super) fn conclude(told: &Told, dir: &Path, schedule: &Schedule) -> anyhow::Result<Verdict> {
    told.write(dir)?;
    judge(told, dir, schedule)
}

/// Judges a run again from its directory, also one that was killed: its history and what it wrote down last.
///
/// With `export` its history is also written for checkers of others.
///
/// # Errors
/// Its files cannot be read, or no more can be written there.
pub fn recheck(dir: &Path, export: bool) -> anyhow::Result<Verdict> {
    let schedule = Schedule::read(&dir.join(files::SCHEDULE))?;
    let bytes =
        std::fs::read(dir.join(files::TOLD)).with_context(|| format!("{} holds no run", dir.display()))?;
    let mut told: Told = serde_json::from_slice(&bytes)?;
    anyhow::ensure!(told.format == FORMAT, "{} is of another version", dir.display());
    let file = File::open(dir.join(files::HISTORY)).context("there is no history")?;
    told.history = history::read(BufReader::new(file))?;
    if export {
        let (folder, files) = exports::write(&told.history, dir)?;
        println!("export   {files} files in {}", folder.display());
    }
    if !told.finished {
        let logs = outcry::logs_in(dir, schedule.topology.total());
        told.outcry = Outcry::of_killed(&logs, &told.excuses, &told.history.faults);
    }
    judge(&told, dir, &schedule)
}

fn judge(told: &Told, dir: &Path, schedule: &Schedule) -> anyhow::Result<Verdict> {
    let checks = told.checks(schedule);
    let coverage = told.coverage(schedule, &checks);
    let verdict = Verdict::of(&checks, &coverage).where_harness(!told.broken.is_empty());
    let text = text(told, &checks, &coverage, verdict, dir);
    print!("{text}");
    std::fs::write(dir.join(files::REPORT), &text).context("cannot write the report")?;
    let facts = Facts {
        title: &format!("Domicile under chaos: {}, seed {}", schedule.topology, schedule.seed),
        again: &format!(
            "{}\ndomicile-jepsen check {}\nprogram: {}",
            told.again(dir),
            dir.display(),
            told.program
        ),
        verdict,
        checks: &checks,
        coverage: &coverage,
        history: &told.history,
        topology: Some(&schedule.topology),
        faults: &told.faults,
        sightings: &told.sightings,
        searched: &told.searched,
    };
    std::fs::write(dir.join(files::PAGE), report::html(&facts)).context("cannot write the page")?;
    println!("report   {}", dir.join(files::PAGE).display());
    Ok(verdict)
}

fn text(told: &Told, checks: &[Check], coverage: &Coverage, verdict: Verdict, dir: &Path) -> String {
    let mut out = format!("program  {}\n", told.program);
    let all = &told.history.operations;
    let operations: Vec<&Operation> = all.iter().filter(|one| !one.call.is_listed()).collect();
    let count = |fits: fn(&Outcome) -> bool| operations.iter().filter(|one| fits(&one.outcome)).count();
    // Writing into a string cannot fail.
    let _ = writeln!(
        out,
        "history  {} operations: {} ok, {} refused, {} unknown; {} answers out of listings",
        operations.len(),
        count(|one| matches!(one, Outcome::Ok(_))),
        count(|one| matches!(one, Outcome::Fail(_))),
        count(|one| matches!(one, Outcome::Info(_))),
        all.len() - operations.len(),
    );
    let _ = writeln!(
        out,
        "faults   {} done, {} took; {} changes of the leader, {} snapshots installed",
        told.faults.len(),
        told.took(),
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
    for searched in &told.searched {
        let _ = writeln!(out, "searched {searched}");
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
    for broken in &told.broken {
        let _ = writeln!(out, "failed   the harness: {broken}");
    }
    if verdict == Verdict::Violation {
        let _ = writeln!(out, "\nagain    {}", told.again(dir));
        let _ = writeln!(out, "judge    domicile-jepsen check {}", dir.display());
    }
    let _ = writeln!(out, "verdict  {}", verdict.name());
    out
}
