//! The command line. Exit status: 0 valid, 1 a promise was broken, 2 too little was tried to say, 3 the
//! harness failed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;

use crate::bugs;
use crate::enclosure;
use crate::load::{self, Plan, Scenario, TargetArgs};
use crate::net::NetKind;
use crate::power;
use crate::program;
use crate::random::fresh_seed;
use crate::run::{self, Setting};
use crate::schedule::{Class, Kind, Phases, Schedule};
use crate::smoke::{self, Part};
use crate::topology::Topology;

pub(crate) const HARNESS_FAILED: u8 = 3;

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
    /// Short runs, of a fixed seed and of a fresh one: a cluster, a pinned tenant, links in the clear, power cuts
    Smoke {
        /// The fresh seed; with `--only`, the seed of that part
        #[arg(long)]
        seed: Option<u64>,
        /// One part
        #[arg(long, value_enum)]
        only: Option<Part>,
        /// End each run at its first violation
        #[arg(long)]
        until_violation: bool,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Run a build with seeded bugs: each must be found
    Bugs {
        /// Which; all if absent
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        only: Vec<String>,
        /// Only so many of them, chosen by the seed
        #[arg(long, value_name = "COUNT")]
        some: Option<usize>,
        /// Chooses; a fresh one if absent
        #[arg(long)]
        seed: Option<u64>,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Judge the history of a run, or of power cuts, again
    Check {
        /// The run's directory
        dir: PathBuf,
        /// Write the history for Knossos and Elle into its folder `export`
        #[arg(long)]
        export: bool,
    },
    /// Repeat the schedule of a run, or power cuts
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
    /// The only region that the tenant may be in; nodes elsewhere are searched for what is its
    #[arg(long, value_name = "REGION")]
    pinned: Option<String>,
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
    /// The program under test; by default `domicile` beside this one, which `cargo run` builds
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

/// Runs the program. What cannot be understood is no run, and its status is that of a failed one.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            drop(told.print());
            // Help and the version were asked for.
            return if told.use_stderr() { ExitCode::from(HARNESS_FAILED) } else { ExitCode::SUCCESS };
        }
    };
    match act(cli) {
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
            // Outside, where there is a way to registries.
            let setting = arguments.place.setting()?;
            if arguments.net() == NetKind::Spaces
                && let Some(code) = enclosure::enter()?
            {
                return Ok(code);
            }
            let schedule = arguments.schedule()?;
            runtime.block_on(carry_out(&schedule, &setting))
        }
        Command::Replay { dir, place } => {
            if let Some(planned) = power::Planned::read(&dir) {
                return cut_power(&runtime, planned.power_rounds, planned.seed, place);
            }
            let schedule = Schedule::read(&dir.join(run::files::SCHEDULE))?;
            let setting = place.setting()?;
            if NetKind::of(&schedule.net)? == NetKind::Spaces
                && let Some(code) = enclosure::enter()?
            {
                return Ok(code);
            }
            runtime.block_on(carry_out(&schedule, &setting))
        }
        Command::Smoke { seed, only, until_violation, place } => {
            // A part of another one, which made the enclosure.
            if enclosure::is_inside() {
                enclosure::enter()?;
            }
            let fresh = seed_or_fresh(seed)?;
            let fixed = if only.is_some() { fresh } else { smoke::SEED };
            let parts = only.map_or_else(|| Part::value_variants().to_vec(), |part| vec![part]);
            let setting = Setting { until_violation, ..place.setting()? };
            runtime.block_on(unless_interrupted(smoke::run(&smoke::Plan { parts, fixed, fresh, setting })))
        }
        Command::Bugs { only, some, seed, place } => {
            let seed = seed_or_fresh(seed)?;
            let plan = bugs::Plan { binary: place.program(true)?, out: place.out, names: only, some, seed };
            Ok(bugs::run(&plan)?.into())
        }
        Command::PowerLoop { rounds, seed, place } => {
            cut_power(&runtime, rounds, seed_or_fresh(seed)?, place)
        }
        Command::Check { dir, export } => {
            let verdict = match power::Planned::read(&dir) {
                Some(planned) => power::recheck(&dir, planned)?,
                None => run::recheck(&dir, export)?,
            };
            Ok(verdict.exit_code())
        }
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

fn cut_power(runtime: &Runtime, rounds: u32, seed: u64, place: PlaceArgs) -> anyhow::Result<ExitCode> {
    let binary = place.program(false)?;
    if let Some(code) = enclosure::enter()? {
        return Ok(code);
    }
    let plan = power::Plan { binary, out: place.out, rounds, seed, keep: place.keep };
    Ok(runtime.block_on(unless_interrupted(power::run(&plan)))?.exit_code())
}

async fn carry_out(schedule: &Schedule, setting: &Setting) -> anyhow::Result<ExitCode> {
    unless_interrupted(async { Ok(run::carry_out(schedule, setting).await?.0.exit_code()) }).await
}

/// What was started ends with this program.
async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        ended = work => ended,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            anyhow::bail!("interrupted")
        }
    }
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
        let home = self.home()?;
        let possible = |kind: &Kind| home.allows(*kind);
        for one in &self.nemesis {
            match one {
                Nemeses::All => kinds.extend(Kind::ALL.iter().filter(|kind| possible(kind))),
                Nemeses::None => {}
                Nemeses::Class(class) => kinds.extend(class.kinds().iter().filter(|kind| possible(kind))),
                Nemeses::One(kind) if self.net() == NetKind::Proxy && kind.needs_root() => {
                    anyhow::bail!("`--net proxy` cannot do `{}`", kind.name());
                }
                Nemeses::One(kind) => kinds.push(*kind),
            }
        }
        kinds.retain(|kind| self.net() == NetKind::Spaces || !kind.needs_root());
        kinds.sort_unstable();
        kinds.dedup();
        // A node whose clock went on takes certificates that live for a minute for ended.
        if kinds.iter().any(|kind| matches!(kind, Kind::ClockJump | Kind::ClockRate)) {
            kinds.retain(|kind| *kind != Kind::Renewal);
        }
        let net = self.net().name();
        let drawn = Schedule::draw(seed_or_fresh(self.seed)?, self.topology.clone(), net, &kinds, phases);
        Ok(match &self.pinned {
            Some(region) => drawn.pinned_to(region),
            None => drawn,
        })
    }

    /// Where the tenant may be.
    fn home(&self) -> anyhow::Result<Topology> {
        let Some(region) = &self.pinned else { return Ok(self.topology.clone()) };
        let home = self.topology.only(region);
        // Faults take one of three; the search compares nodes inside, and needs one outside.
        anyhow::ensure!(
            home.total() >= 3 && home.total() < self.topology.total(),
            "`--pinned` takes a region of three nodes or more, and a node elsewhere, such as `--topology us1,eu3 --pinned eu`"
        );
        Ok(home)
    }

    fn net(&self) -> NetKind {
        match (self.net, enclosure::is_root()) {
            (Some(NetArg::Netns), _) | (None, true) => NetKind::Spaces,
            (Some(NetArg::Proxy), _) | (None, false) => NetKind::Proxy,
        }
    }
}

impl PlaceArgs {
    fn setting(&self) -> anyhow::Result<Setting> {
        let out = self.out.clone();
        Ok(Setting { binary: self.program(false)?, out, keep: self.keep, until_violation: false })
    }

    fn program(&self, with_bugs: bool) -> anyhow::Result<PathBuf> {
        self.binary.clone().map_or_else(|| program::beside(with_bugs), Ok)
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
        let all = Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Renewal);
        assert_eq!((schedule.kinds, schedule.seed), (all.collect(), 4));
    }

    #[test]
    fn a_pinned_run_needs_three_nodes_inside_and_one_outside() {
        let schedule = |rest: &str| {
            let line = format!("domicile-jepsen run --net proxy --seed 4 {rest}");
            let Command::Run(arguments) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
                panic!()
            };
            arguments.schedule()
        };
        let drawn = schedule("--topology us1,eu3 --pinned eu").unwrap();
        assert_eq!(drawn.pinned.as_deref(), Some("eu"));
        assert!(!drawn.kinds.contains(&Kind::Replace), "no fourth node inside can vote in place of one");
        assert!(schedule("--topology us1,eu4 --pinned eu").unwrap().kinds.contains(&Kind::Replace));
        for wrong in ["us1,eu3 --pinned us", "eu3 --pinned eu", "us1,eu3 --pinned ap"] {
            assert!(schedule(&format!("--topology {wrong}")).is_err(), "{wrong}");
        }
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
