//! The short run that everybody makes: a cluster of one region from a fixed seed; from a fresh one a tenant that
//! is pinned to a region, another one over links in the clear, and a store under power loss.
//!
//! For root the nodes beside a pinned tenant have disks of their own, so that what was deleted there is searched too.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::again;
use crate::check::worse;
use crate::cluster::can_be_looked_into;
use crate::enclosure;
use crate::net::NetKind;
use crate::run::{self, Setting};
use crate::schedule::{Kind, Phases, Schedule};

/// Of the first part.
pub const SEED: u64 = 5;
const KINDS: [Kind; 4] = [Kind::Kill, Kind::Pause, Kind::Partition, Kind::Transfer];
const PHASES: Phases = Phases { healthy_ms: 2_000, chaos_ms: 28_000, liveness_ms: 2_000 };
const PINNED_KINDS: [Kind; 2] = [Kind::Kill, Kind::Partition];
const PINNED_PHASES: Phases = Phases { healthy_ms: 2_000, chaos_ms: 14_500, liveness_ms: 1_000 };
/// No faults: what leaves is looked at, and a node outside is ended in the end.
const WIRE_PHASES: Phases = Phases { healthy_ms: 1_000, chaos_ms: 4_000, liveness_ms: 1_000 };
const POWER_ROUNDS: u32 = 2;

/// A part of the smoke run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Three nodes under faults
    Cluster,
    /// A tenant pinned to a region, with a node outside it
    Pinned,
    /// A pinned tenant, with links that can be read (builds for tests only)
    Wire,
    /// Power cuts (root only)
    Power,
}

/// What is run, and with which program.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// Of the first part; the others take `fresh`.
    pub fixed: u64,
    /// The other seed.
    pub fresh: u64,
    /// With which program, and where.
    pub setting: Setting,
}

/// Runs all parts. The last line is `N passed, N failed`; too little coverage is a failure, and so is, for
/// root, a part that cannot be run.
///
/// # Errors
/// The directories cannot be made.
pub async fn run(plan: &Plan) -> anyhow::Result<ExitCode> {
    // Who waits outside says what all parts came to.
    let is_whole = !enclosure::is_inside();
    if is_whole {
        println!("smoke    seeds {} and {}", plan.fixed, plan.fresh);
    }
    let (mut passed, mut failed, mut worst) = (0, 0, 0);
    for part in &plan.parts {
        if *part == Part::Power && !enclosure::is_root() {
            println!("skipped  power: only root can cut it");
            continue;
        }
        // One that cannot be read says so when it is started.
        if *part == Part::Wire && !can_be_looked_into(&plan.setting.binary).unwrap_or(true) {
            println!("skipped  wire: the program was built without the feature `seeded-bugs`");
            // Where every tool has to be there, so has this.
            if std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required") {
                failed += 1;
                worst = worse(worst, crate::cli::HARNESS_FAILED);
            }
            continue;
        }
        let code = one(plan, *part).await.unwrap_or_else(|error| {
            eprintln!("harness failed: {error:#}");
            crate::cli::HARNESS_FAILED
        });
        if code == 0 {
            passed += 1;
        } else {
            failed += 1;
            worst = worse(worst, code);
            let seed = if *part == Part::Cluster { plan.fixed } else { plan.fresh };
            if is_whole {
                println!(
                    "again    {}",
                    again::command(&arguments(*part, seed), &plan.setting.binary, &plan.setting.out)
                );
            }
        }
    }
    if is_whole {
        println!("{passed} passed, {failed} failed");
    }
    Ok(ExitCode::from(worst))
}

/// What runs one part.
pub(crate) fn arguments(part: Part, seed: u64) -> Vec<String> {
    let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    ["smoke", "--only", &name, "--seed", &seed.to_string()].map(str::to_owned).to_vec()
}

async fn one(plan: &Plan, part: Part) -> anyhow::Result<u8> {
    let schedule = match part {
        Part::Cluster => Schedule::draw(plan.fixed, "eu3".parse()?, "proxy", &KINDS, PHASES),
        Part::Pinned if enclosure::is_root() && !enclosure::is_inside() => {
            return enclosure::run(enclosed(plan, part));
        }
        Part::Pinned => {
            let net = if enclosure::is_inside() { NetKind::Spaces } else { NetKind::Proxy };
            // The first node is outside, so that it was there before the tenant.
            let topology = "us1,eu3".parse()?;
            Schedule::draw(plan.fresh, topology, net.name(), &PINNED_KINDS, PINNED_PHASES).pinned_to("eu")
        }
        Part::Wire => {
            let topology = "eu3,us1".parse()?;
            let schedule = Schedule::draw(plan.fresh, topology, "proxy", &[], WIRE_PHASES);
            schedule.pinned_to("eu").in_the_clear()
        }
        Part::Power => return power(plan),
    };
    let (verdict, _) = run::carry_out(&schedule, &plan.setting).await?;
    Ok(verdict.status())
}

/// What runs a part in namespaces of its own.
fn enclosed(plan: &Plan, part: Part) -> Vec<OsString> {
    let setting = &plan.setting;
    let mut out: Vec<OsString> = arguments(part, plan.fresh).into_iter().map(OsString::from).collect();
    for (name, path) in [("--binary", &setting.binary), ("--out", &setting.out)] {
        out.push(OsString::from(name));
        out.push(path.clone().into_os_string());
    }
    let flags = [(setting.keep, "--keep"), (setting.until_violation, "--until-violation")];
    out.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| OsString::from(flag)));
    out
}

/// In a program of its own: it needs mounts of its own from its beginning.
fn power(plan: &Plan) -> anyhow::Result<u8> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["power-loop", "--rounds", &POWER_ROUNDS.to_string(), "--seed", &plan.fresh.to_string()]);
    command.arg("--binary").arg(&plan.setting.binary).arg("--out").arg(&plan.setting.out);
    let status = command.status().context("cannot run this program again")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::cli::HARNESS_FAILED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_in_namespaces_is_run_as_the_whole_is() {
        let setting = Setting {
            binary: "a b/domicile".into(),
            out: "chaos".into(),
            keep: false,
            until_violation: true,
        };
        let plan = Plan { parts: vec![Part::Pinned], fixed: 1, fresh: 2, setting };
        let words = "smoke --only pinned --seed 2 --binary|a b/domicile|--out chaos --until-violation";
        let wanted: Vec<OsString> = words
            .split('|')
            .enumerate()
            .flat_map(|(turn, part)| if turn == 1 { vec![part] } else { part.split(' ').collect() })
            .map(OsString::from)
            .collect();
        assert_eq!(enclosed(&plan, Part::Pinned), wanted);
    }
}
