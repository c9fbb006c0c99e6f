//! The command line. Exit status: 0 valid, 1 a promise was broken, 2 too little was tried to say, 3 the
//! harness failed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::enclosure;
use crate::load::{self, Plan, Scenario, TargetArgs};
use crate::net::NetKind;
use crate::power;
use crate::random::fresh_seed;
use crate::run::{self, Setting};
use crate::schedule::{Class, Kind, Phases, Schedule};
use crate::topology::Topology;

const HARNESS_FAILED: u8 = 3;
/// Of the first smoke run.
const SMOKE_SEED: u64 = 5;
const SMOKE_KINDS: [Kind; 4] = [Kind::Kill, Kind::Pause, Kind::Partition, Kind::Transfer];
const SMOKE: Phases = Phases { healthy_ms: 3_000, chaos_ms: 30_000, liveness_ms: 3_000 };

#[derive(Debug, Parser)]
#[command(name = "domicile-jepsen", version, about = "Chaos tests and load for Domicile")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a cluster, break it, heal it, judge it
    Run(RunArgs),
    /// Two short runs on three nodes, of a fixed seed and of a fresh one
    Smoke {
        /// The second seed; a fresh one if absent
        #[arg(long)]
        seed: Option<u64>,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Judge the history of a run again
    Check {
        /// The run's directory
        dir: PathBuf,
    },
    /// Repeat the schedule of a run
    Replay {
        /// The run's directory
        dir: PathBuf,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Cut the power under one store, again and again (root only)
    PowerLoop {
        /// How often
        #[arg(long, default_value_t = 40)]
        rounds: u32,
        /// What chance draws; a fresh one if absent
        #[arg(long)]
        seed: Option<u64>,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Load an OpenID provider, without faults
    Load(Box<LoadArgs>),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Regions with their numbers of nodes
    #[arg(long, default_value = "eu3", value_name = "TOPOLOGY")]
    topology: Topology,
    /// Seconds of faults
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=86_400))]
    time_limit: u64,
    /// Kinds of fault, divided by commas
    #[arg(long, value_delimiter = ',', default_value = "all", value_name = "KINDS")]
    nemesis: Vec<Nemeses>,
    /// What chance draws; a fresh one if absent
    #[arg(long)]
    seed: Option<u64>,
    /// How nodes are joined; namespaces for root, else proxies
    #[arg(long, value_enum)]
    net: Option<NetArg>,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NetArg {
    /// A network namespace for each node and each region's clients, a router for packets, disks (root)
    Netns,
    /// Proxies on loopback; needs no rights
    Proxy,
}

/// Kinds, classes of them, all or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nemeses {
    All,
    None,
    Class(Class),
    One(Kind),
}

impl ValueEnum for Nemeses {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Nemeses>> = LazyLock::new(|| {
            let classes = Class::ALL.iter().copied().map(Nemeses::Class);
            let kinds = Kind::ALL.iter().copied().map(Nemeses::One);
            [Nemeses::All, Nemeses::None].into_iter().chain(classes).chain(kinds).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(match self {
            Self::All => clap::builder::PossibleValue::new("all"),
            Self::None => clap::builder::PossibleValue::new("none"),
            Self::Class(class) => clap::builder::PossibleValue::new(class.name()),
            Self::One(kind) => clap::builder::PossibleValue::new(kind.name()),
        })
    }
}

#[derive(Debug, Args)]
struct PlaceArgs {
    /// The program under test; by default `domicile` beside this one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the run's directory is made
    #[arg(long, value_name = "DIR", default_value = "chaos")]
    out: PathBuf,
    /// Keep the nodes' data also when nothing was found
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
struct LoadArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// What each request is
    #[arg(long, value_enum, default_value_t = Scenario::Mixed)]
    scenario: Scenario,
    /// Requests a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// For how long, in s
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: u64,
    /// What chance draws; a fresh one if absent
    #[arg(long)]
    seed: Option<u64>,
    /// Write the percentiles as `.hgrm` and SVG here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    match act(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("harness failed: {error:#}");
            ExitCode::from(HARNESS_FAILED)
        }
    }
}

fn act(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match cli.command {
        Command::Run(arguments) => {
            if arguments.net() == NetKind::Spaces
                && let Some(code) = enclosure::enter()?
            {
                return Ok(code);
            }
            let schedule = arguments.schedule()?;
            runtime.block_on(carry_out(&schedule, &arguments.place))
        }
        Command::Replay { dir, place } => {
            let schedule = Schedule::read(&dir.join(run::files::SCHEDULE))?;
            if NetKind::of(&schedule.net)? == NetKind::Spaces
                && let Some(code) = enclosure::enter()?
            {
                return Ok(code);
            }
            runtime.block_on(carry_out(&schedule, &place))
        }
        Command::Smoke { seed, place } => runtime.block_on(smoke(seed_or_fresh(seed)?, &place)),
        Command::PowerLoop { rounds, seed, place } => {
            if let Some(code) = enclosure::enter()? {
                return Ok(code);
            }
            let plan =
                power::Plan { binary: place.program()?, out: place.out, rounds, seed: seed_or_fresh(seed)? };
            Ok(runtime.block_on(power::run(&plan))?.exit_code())
        }
        Command::Check { dir } => Ok(run::recheck(&dir)?.exit_code()),
        Command::Load(arguments) => {
            let target = arguments.target.target()?;
            let plan = Plan {
                scenario: arguments.scenario,
                rate: arguments.rate,
                duration: Duration::from_secs(arguments.duration),
                seed: seed_or_fresh(arguments.seed)?,
                out: arguments.out,
            };
            runtime.block_on(load::run(&target, &plan))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn carry_out(schedule: &Schedule, place: &PlaceArgs) -> anyhow::Result<ExitCode> {
    let setting = Setting { binary: place.program()?, out: place.out.clone(), keep: place.keep };
    tokio::select! {
        ended = run::carry_out(schedule, &setting) => Ok(ended?.0.exit_code()),
        signal = tokio::signal::ctrl_c() => {
            signal?;
            // What it started ends with this program.
            anyhow::bail!("interrupted")
        }
    }
}

/// Ends with `N passed, N failed`. Too little coverage is a failure here.
async fn smoke(fresh: u64, place: &PlaceArgs) -> anyhow::Result<ExitCode> {
    println!("smoke    seeds {SMOKE_SEED} and {fresh}");
    let (mut passed, mut worst) = (0, ExitCode::SUCCESS);
    let seeds = [SMOKE_SEED, fresh];
    for seed in seeds {
        let topology = "eu3".parse::<Topology>()?;
        let schedule = Schedule::draw(seed, topology, "proxy", &SMOKE_KINDS, SMOKE);
        let ended = carry_out(&schedule, place).await.unwrap_or_else(|error| {
            eprintln!("harness failed: {error:#}");
            ExitCode::from(HARNESS_FAILED)
        });
        if ended == ExitCode::SUCCESS {
            passed += 1;
        } else {
            worst = ended;
            println!("again    domicile-jepsen smoke --seed {seed}");
        }
    }
    println!("{passed} passed, {} failed", seeds.len() - passed);
    Ok(worst)
}

fn seed_or_fresh(seed: Option<u64>) -> anyhow::Result<u64> {
    match seed {
        Some(seed) => Ok(seed),
        None => fresh_seed().context("the system gives no seed"),
    }
}

impl RunArgs {
    fn schedule(&self) -> anyhow::Result<Schedule> {
        let phases = Phases { healthy_ms: 8_000, chaos_ms: self.time_limit * 1_000, liveness_ms: 10_000 };
        let mut kinds: Vec<Kind> = Vec::new();
        for one in &self.nemesis {
            match one {
                Nemeses::All => kinds.extend(Kind::ALL),
                Nemeses::None => {}
                Nemeses::Class(class) => kinds.extend(class.kinds()),
                Nemeses::One(kind) if self.net() == NetKind::Proxy && kind.needs_root() => {
                    anyhow::bail!("`--net proxy` cannot do `{}`", kind.name());
                }
                Nemeses::One(kind) => kinds.push(*kind),
            }
        }
        kinds.retain(|kind| self.net() == NetKind::Spaces || !kind.needs_root());
        kinds.sort_unstable();
        kinds.dedup();
        let net = self.net().name();
        Ok(Schedule::draw(seed_or_fresh(self.seed)?, self.topology.clone(), net, &kinds, phases))
    }

    fn net(&self) -> NetKind {
        match (self.net, enclosure::is_root()) {
            (Some(NetArg::Netns), _) | (None, true) => NetKind::Spaces,
            (Some(NetArg::Proxy), _) | (None, false) => NetKind::Proxy,
        }
    }
}

impl PlaceArgs {
    fn program(&self) -> anyhow::Result<PathBuf> {
        if let Some(binary) = &self.binary {
            return Ok(binary.clone());
        }
        let me = std::env::current_exe().context("cannot find this program")?;
        Ok(me.with_file_name("domicile"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_of_all_kinds_has_each_once() {
        let line = "domicile-jepsen run --net netns --topology eu3,us3,ap3 --time-limit 3600 --nemesis kill,all --seed 4";
        let Command::Run(arguments) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        let schedule = arguments.schedule().unwrap();
        assert_eq!((schedule.kinds.as_slice(), schedule.seed), (Kind::ALL, 4));
    }

    #[test]
    fn proxies_do_what_they_can_of_a_class_and_refuse_what_they_cannot() {
        let schedule = |kinds: &str| {
            let line = format!("domicile-jepsen run --net proxy --nemesis {kinds} --seed 4");
            let Command::Run(arguments) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
                panic!()
            };
            arguments.schedule()
        };
        assert_eq!(schedule("network").unwrap().kinds, [Kind::Partition, Kind::Slow]);
        assert!(schedule("loss").is_err() && schedule("kill,power").is_err());
        assert!(schedule("all").unwrap().kinds.contains(&Kind::Outage));
    }
}
