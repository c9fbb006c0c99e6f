//! Runs a build with seeded bugs, one bug after another: each must be found (docs/adr/0025).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::clock::Stopwatch;
use crate::random::Random;
use crate::smoke::{self, Part};

/// Chooses the bug in a build that has them.
const CHOOSES: &str = "SEEDED_BUG";
/// Every bug, and the part of the smoke run that must find it.
const BUGS: &[(&str, Part)] = &[
    ("stale-read", Part::Cluster),
    ("double-redeem", Part::Cluster),
    ("early-ack", Part::Cluster),
    ("no-fsync", Part::Power),
    ("forgotten-vote", Part::Cluster),
    ("outside-placement", Part::Pinned),
    ("skipped-projection", Part::Cluster),
    ("deposed-refusal", Part::Cluster),
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

/// `true` if every bug was found. The last line is `N caught, N missed`.
///
/// # Errors
/// An unknown name, or a failure of the harness.
pub fn run(plan: &Plan) -> anyhow::Result<bool> {
    println!("bugs     seed {}", plan.seed);
    std::fs::create_dir_all(&plan.out).with_context(|| format!("cannot make {}", plan.out.display()))?;
    let chosen = choose(plan)?;
    let mut caught = 0;
    for (name, part) in &chosen {
        let watch = Stopwatch::start();
        let (found, told) = one(plan, name, *part)?;
        let seconds = watch.elapsed_ns() / 1_000_000_000;
        println!("{} {name:<20} {seconds:>3} s  {told}", if found { "caught  " } else { "MISSED  " });
        caught += usize::from(found);
    }
    println!("{caught} caught, {} missed", chosen.len() - caught);
    Ok(caught == chosen.len())
}

fn choose(plan: &Plan) -> anyhow::Result<Vec<(&'static str, Part)>> {
    let mut chosen = BUGS.to_vec();
    for name in &plan.names {
        if !BUGS.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = BUGS.iter().map(|(known, _)| *known).collect();
            bail!("`{name}` is no seeded bug; these are: {}", known.join(", "));
        }
    }
    chosen.retain(|(name, _)| plan.names.is_empty() || plan.names.iter().any(|wanted| wanted == name));
    if let Some(some) = plan.some {
        Random::fork(plan.seed, "bugs").shuffle(&mut chosen);
        chosen.truncate(some);
    }
    Ok(chosen)
}

/// Whether a run with the bug ends with a violation; and what it said of it.
fn one(plan: &Plan, name: &str, part: Part) -> anyhow::Result<(bool, String)> {
    let again = smoke::again(part, smoke::SEED);
    let told = plan.out.join(format!("bug-{name}.txt"));
    let file = std::fs::File::create(&told).with_context(|| format!("cannot make {}", told.display()))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(again.split(' ').skip(1)).arg("--until-violation").arg("--binary").arg(&plan.binary);
    command.arg("--out").arg(&plan.out).env(CHOOSES, name);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = command.status().context("cannot run this program again")?;
    let said = std::fs::read_to_string(&told)?;
    if status.code() != Some(1) {
        return Ok((false, format!("{status}; see {}; again: {CHOOSES}={name} {again}", told.display())));
    }
    Ok((true, first_finding(&said).unwrap_or_else(|| shown(&told))))
}

/// The first line of a finding: its operations follow, set in, or it stands after an empty line.
fn first_finding(said: &str) -> Option<String> {
    let lines: Vec<&str> = said.lines().collect();
    let pairs = lines.iter().zip(lines.iter().skip(1));
    let with_operations = pairs.clone().find(|(_, next)| next.starts_with("    #")).map(|(line, _)| *line);
    let alone = || pairs.clone().find(|(line, _)| line.is_empty()).map(|(_, next)| *next);
    let found = with_operations.or_else(alone).filter(|line| line.contains(": "));
    found.map(str::to_owned)
}

fn shown(told: &Path) -> String {
    format!("see {}", told.display())
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
        assert_eq!(choose(&plan(&["no-fsync"], None, 1)).unwrap(), [("no-fsync", Part::Power)]);
        assert!(choose(&plan(&["no-bug"], None, 1)).is_err());
        let reached: std::collections::BTreeSet<&str> = (0..40)
            .flat_map(|seed| choose(&plan(&[], Some(2), seed)).unwrap())
            .map(|(name, _)| name)
            .collect();
        assert_eq!(reached.len(), BUGS.len());
        let again = |seed| choose(&plan(&[], Some(2), seed)).unwrap();
        assert_eq!((again(3), again(3).len()), (again(3), 2));
    }

    #[test]
    fn the_first_finding_is_told() {
        for said in
            ["x: y\nsets: set 1 lost element 4\n    #1 write\n", "x: y\n\nsets: set 1 lost element 4\nz"]
        {
            assert_eq!(first_finding(said).as_deref(), Some("sets: set 1 lost element 4"));
        }
        assert_eq!(first_finding("nothing"), None);
    }
}
