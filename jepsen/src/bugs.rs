//! Runs a build with seeded bugs, one bug after another: each must be found (docs/adr/0025).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::again;
use crate::cli::HARNESS_FAILED;
use crate::clock::Stopwatch;
use crate::random::Random;
use crate::smoke::{self, Part};

/// Chooses the bug in a build that has them.
pub(crate) const CHOOSES: &str = "SEEDED_BUG";

/// A bug on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bug {
    name: &'static str,
    /// The part of the smoke run that must find it.
    part: Part,
    /// Checkers that see what users see of it. What another one finds is another bug.
    finders: &'static [&'static str],
}

/// Reads that are behind, and what was acknowledged and is not there.
const STALE: &[&str] = &[
    "linearizability",
    "log as lists",
    "log as lists (adya)",
    "sets",
    "logs",
    "monotonic sessions",
    "revocation",
];
const LOST: &[&str] = &[
    "linearizability",
    "log as lists",
    "log as lists (adya)",
    "sets",
    "logs",
    "one redemption a code",
    "one successor a token",
    "refused tokens",
    "revocation",
];
const BUGS: &[Bug] = &[
    Bug { name: "stale-read", part: Part::Cluster, finders: STALE },
    Bug { name: "double-redeem", part: Part::Cluster, finders: &["one redemption a code"] },
    Bug { name: "early-ack", part: Part::Cluster, finders: LOST },
    Bug { name: "no-fsync", part: Part::Power, finders: &["sets", "power"] },
    Bug {
        name: "forgotten-vote",
        part: Part::Cluster,
        finders: &["liveness", "exits", "panics", "one leader a term"],
    },
    Bug { name: "outside-placement", part: Part::Pinned, finders: &["placement"] },
    Bug {
        name: "skipped-projection",
        part: Part::Cluster,
        finders: &["linearizability", "replicas", "replica digests"],
    },
    Bug {
        name: "deposed-refusal",
        part: Part::Cluster,
        finders: &["refused codes", "refused tokens", "one successor a token"],
    },
];

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The build with the bugs.
    pub binary: PathBuf,
    /// Where the runs' directories are made.
    pub out: PathBuf,
    /// These; all if empty.
    pub names: Vec<String>,
    /// Only so many of them, chosen by the seed.
    pub some: Option<usize>,
    /// Chooses.
    pub seed: u64,
}

/// What came of a run with a bug.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// Found, by this finding.
    Caught(String),
    /// Not found, or not by who should.
    Missed(String),
    /// The harness failed: nobody knows.
    Failed(String),
}

/// The exit status: 0 if every bug was found, 1 if one was missed, 3 if the harness failed in one and none was. The last
/// line is `N caught, N missed, N failed`.
///
/// # Errors
/// An unknown name, or a failure of the harness.
pub fn run(plan: &Plan) -> anyhow::Result<u8> {
    println!("bugs     seed {}", plan.seed);
    std::fs::create_dir_all(&plan.out).with_context(|| format!("cannot make {}", plan.out.display()))?;
    let (mut caught, mut missed, mut failed) = (0, 0, 0);
    for bug in &choose(plan)? {
        let watch = Stopwatch::start();
        let (count, word, told) = match one(plan, *bug)? {
            End::Caught(told) => (&mut caught, "caught  ", told),
            End::Missed(told) => (&mut missed, "MISSED  ", told),
            End::Failed(told) => (&mut failed, "FAILED  ", told),
        };
        *count += 1;
        println!("{word} {:<20} {:>3} s  {told}", bug.name, watch.elapsed().as_secs());
    }
    println!("{caught} caught, {missed} missed, {failed} failed");
    Ok(status(missed, failed))
}

fn status(missed: u32, failed: u32) -> u8 {
    match (missed, failed) {
        (0, 0) => 0,
        (0, _) => HARNESS_FAILED,
        _ => 1,
    }
}

fn choose(plan: &Plan) -> anyhow::Result<Vec<Bug>> {
    let mut chosen = BUGS.to_vec();
    for name in &plan.names {
        if !BUGS.iter().any(|bug| bug.name == name) {
            let known: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
            bail!("`{name}` is no seeded bug; these are: {}", known.join(", "));
        }
    }
    chosen.retain(|bug| plan.names.is_empty() || plan.names.iter().any(|wanted| wanted == bug.name));
    if let Some(some) = plan.some {
        Random::fork(plan.seed, "bugs").shuffle(&mut chosen);
        chosen.truncate(some);
    }
    Ok(chosen)
}

/// Runs the part that must find it.
fn one(plan: &Plan, bug: Bug) -> anyhow::Result<End> {
    let arguments = smoke::arguments(bug.part, smoke::SEED);
    let again = again::command(&arguments, &plan.binary, &plan.out);
    let told = plan.out.join(format!("bug-{}.txt", bug.name));
    let file = std::fs::File::create(&told).with_context(|| format!("cannot make {}", told.display()))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).arg("--until-violation").arg("--binary").arg(&plan.binary);
    command.arg("--out").arg(&plan.out).env(CHOOSES, bug.name);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = command.status().context("cannot run this program again")?;
    let said = std::fs::read_to_string(&told)?;
    let where_to_look = format!("{status}; see {}; again: {CHOOSES}={} {again}", told.display(), bug.name);
    Ok(judged(bug, status.code(), &said, &where_to_look))
}

/// By the status of a run and what it said: its findings begin with the name of who found them.
fn judged(bug: Bug, status: Option<i32>, said: &str, where_to_look: &str) -> End {
    let is_by =
        |line: &str, finder: &str| line.strip_prefix(finder).is_some_and(|rest| rest.starts_with(": "));
    let found = said.lines().find(|line| bug.finders.iter().any(|finder| is_by(line, finder)));
    match (status, found) {
        (Some(1), Some(finding)) => End::Caught(finding.to_owned()),
        (Some(1), None) => {
            End::Missed(format!("found by none of {}; {where_to_look}", bug.finders.join(", ")))
        }
        (Some(0 | 2), _) => End::Missed(where_to_look.to_owned()),
        _ => End::Failed(where_to_look.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(names: &[&str], some: Option<usize>, seed: u64) -> Plan {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Plan { binary: PathBuf::new(), out: PathBuf::new(), names, some, seed }
    }

    #[test]
    fn a_seed_chooses_so_many_bugs_and_seeds_reach_all() {
        assert_eq!(choose(&plan(&[], None, 1)).unwrap().len(), BUGS.len());
        let names = |chosen: Vec<Bug>| chosen.iter().map(|bug| bug.name).collect::<Vec<_>>();
        assert_eq!(names(choose(&plan(&["no-fsync"], None, 1)).unwrap()), ["no-fsync"]);
        assert!(choose(&plan(&["no-bug"], None, 1)).is_err());
        let reached: std::collections::BTreeSet<&str> =
            (0..40).flat_map(|seed| choose(&plan(&[], Some(2), seed)).unwrap()).map(|bug| bug.name).collect();
        assert_eq!(reached.len(), BUGS.len());
        let again = |seed| choose(&plan(&[], Some(2), seed)).unwrap();
        assert_eq!((again(3), again(3).len()), (again(3), 2));
    }

    fn bug(name: &str) -> Bug {
        *BUGS.iter().find(|bug| bug.name == name).unwrap()
    }

    #[test]
    fn a_bug_is_caught_only_by_a_checker_that_should_see_it() {
        let said =
            "check    sets   9 looked at  FAILED, 1 findings\n\nsets: set 1 lost element 4\n    #1 write\n";
        let end = |name, status| judged(bug(name), status, said, "look there");
        assert_eq!(end("no-fsync", Some(1)), End::Caught("sets: set 1 lost element 4".to_owned()));
        assert!(
            matches!(end("double-redeem", Some(1)), End::Missed(why) if why.contains("found by none of one"))
        );
        let missed = End::Missed("look there".to_owned());
        assert_eq!((end("no-fsync", Some(0)), end("no-fsync", Some(2))), (missed.clone(), missed));
        let failed = End::Failed("look there".to_owned());
        assert_eq!((end("no-fsync", Some(3)), end("no-fsync", None)), (failed.clone(), failed));
    }

    #[test]
    fn a_missed_bug_counts_more_than_a_failure_of_the_harness() {
        assert_eq!((status(0, 0), status(0, 2), status(1, 2), status(1, 0)), (0, 3, 1, 1));
    }

    #[test]
    fn every_finder_is_a_checker() {
        let of_runs = [
            "liveness",
            "placement",
            "replicas",
            "replica digests",
            "panics",
            "exits",
            "one leader a term",
            "power",
        ];
        let checks =
            crate::check::all(&crate::history::History::default(), crate::check::Promises::default());
        let is_known = |name: &str| of_runs.contains(&name) || checks.iter().any(|check| check.name == name);
        for bug in BUGS {
            assert!(!bug.finders.is_empty());
            for finder in bug.finders {
                assert!(is_known(finder), "{}: {finder}", bug.name);
            }
        }
    }
}
