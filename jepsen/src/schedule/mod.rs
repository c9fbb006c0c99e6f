//! What will be done to a cluster and when: from a seed, written down before the run.

mod class;
mod draw;
mod fault;
mod machine;
mod packets;

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use class::Class;
pub use fault::{Fault, Kind, Shape, Who};
pub use machine::Machine;
pub use packets::{Harm, Packets};

use crate::check::Promises;
use crate::topology::Topology;

const FORMAT: u8 = 1;

/// How long each phase takes, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Traffic without faults, first.
    pub healthy_ms: u64,
    /// Traffic with faults.
    pub chaos_ms: u64,
    /// Traffic without faults, after all was healed: everything must work again.
    pub liveness_ms: u64,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When it begins, in ms since the run's traffic began.
    pub at_ms: u64,
    /// How long it lasts.
    pub for_ms: u64,
    /// What it is.
    pub fault: Fault,
}

/// A whole run, before it. The same seed and arguments give the same schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    format: u8,
    /// What it was made from.
    pub seed: u64,
    /// Which nodes.
    pub topology: Topology,
    /// `netns` or `proxy`
    pub net: String,
    /// The only region that the tenant may be in; any if absent.
    #[serde(default)]
    pub pinned: Option<String>,
    /// Kinds of fault that were asked for.
    pub kinds: Vec<Kind>,
    /// The phases.
    pub phases: Phases,
    /// The faults, one after another.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// Draws a schedule.
    pub fn draw(seed: u64, topology: Topology, net: &str, kinds: &[Kind], phases: Phases) -> Self {
        let steps = draw::steps(seed, &topology, kinds, phases);
        let (net, kinds) = (net.to_owned(), kinds.to_vec());
        Self { format: FORMAT, seed, topology, net, pinned: None, kinds, phases, steps }
    }

    /// The same for a tenant that may be in one region only.
    #[must_use]
    pub fn pinned_to(self, region: &str) -> Self {
        Self { pinned: Some(region.to_owned()), ..self }
    }

    /// Reads one back.
    ///
    /// # Errors
    /// The file cannot be read, or is of another version.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let found: Self =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is no schedule", path.display()))?;
        anyhow::ensure!(found.format == FORMAT, "{} has format {}", path.display(), found.format);
        Ok(found)
    }

    /// Writes it.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether it needs nodes with clocks of their own.
    pub fn moves_clocks(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.fault.kind(), Kind::ClockJump | Kind::ClockRate))
    }

    /// What still holds of promises that are about the time of logs: it never goes back, so that it stands
    /// still after a clock that was ahead until the true time has come there.
    pub fn loosened(&self, promises: Promises) -> Promises {
        let ahead_ms = self.steps.iter().map(|step| {
            if let Fault::Machine(machine) = &step.fault { machine.ahead_ms(step.for_ms) } else { 0 }
        });
        Promises { grace_ms: promises.grace_ms + ahead_ms.max().unwrap_or(0), ..promises }
    }

    /// Whether certificates are to end soon. Not where clocks move: a node would take the others' for ended.
    pub fn renews(&self) -> bool {
        self.kinds.contains(&Kind::Renewal) && !self.moves_clocks()
    }

    /// For people: one line a fault.
    pub fn text(&self) -> String {
        let line = |step: &Step| {
            let second = |ms: u64| format!("{}.{}", ms / 1_000, ms % 1_000 / 100);
            format!("  {:>7} s for {:>5} s  {}\n", second(step.at_ms), second(step.for_ms), step.fault)
        };
        self.steps.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: Phases = Phases { healthy_ms: 10_000, chaos_ms: 900_000, liveness_ms: 20_000 };

    fn drawn(seed: u64) -> Schedule {
        Schedule::draw(seed, "eu3,us3,ap3".parse().unwrap(), "proxy", Kind::ALL, PHASES)
    }

    #[test]
    fn a_seed_gives_one_schedule() {
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7).steps, drawn(8).steps);
    }

    #[test]
    fn a_schedule_reads_back_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        drawn(7).write(file.path()).unwrap();
        assert_eq!(Schedule::read(file.path()).unwrap(), drawn(7));
        assert!(drawn(7).text().lines().count() == drawn(7).steps.len());
    }

    #[test]
    fn faults_stay_within_their_phase_and_follow_one_another() {
        for seed in 0..50 {
            let steps = drawn(seed).steps;
            assert!(steps.len() > 10, "{seed}");
            assert!(steps.windows(2).all(|pair| pair[0].at_ms + pair[0].for_ms < pair[1].at_ms));
            assert!(steps.first().unwrap().at_ms >= PHASES.healthy_ms);
            assert!(steps.iter().all(|step| step.at_ms + step.for_ms <= PHASES.healthy_ms + PHASES.chaos_ms));
        }
    }

    #[test]
    fn a_short_run_has_each_kind_too_and_hits_the_leader() {
        let phases = Phases { healthy_ms: 4_000, chaos_ms: 30_000, liveness_ms: 4_000 };
        let kinds = [Kind::Kill, Kind::Pause, Kind::Partition, Kind::Transfer];
        for seed in 0..50 {
            let steps = Schedule::draw(seed, "eu3".parse().unwrap(), "proxy", &kinds, phases).steps;
            for kind in kinds {
                assert!(steps.iter().any(|step| step.fault.kind() == kind), "{seed} {kind:?}");
            }
            assert!(steps.iter().any(|step| step.fault == Fault::Kill(Who::Leader)), "{seed}");
        }
    }

    #[test]
    fn the_first_fault_of_each_kind_hits_the_leader_where_it_can() {
        for seed in 0..50 {
            let steps = drawn(seed).steps;
            let first = |kind: Kind| steps.iter().map(|step| &step.fault).find(|fault| fault.kind() == kind);
            for kind in [Kind::Power, Kind::ClockJump, Kind::Starve, Kind::DiskFull, Kind::ReadOnly] {
                let Some(Fault::Machine(machine)) = first(kind) else { panic!("{seed} {kind:?}") };
                assert_eq!(machine.who(), &Who::Leader);
            }
            let Some(Fault::Packets(bad)) = first(Kind::Loss) else { panic!("{seed}") };
            assert_eq!(bad.who, Who::Leader);
        }
    }

    #[test]
    fn what_was_away_for_long_was_away_for_long_enough() {
        let long = |seed, phases| {
            let schedule = Schedule::draw(seed, "eu3".parse().unwrap(), "netns", &[Kind::Outage], phases);
            schedule.steps.iter().map(|step| step.for_ms).min().unwrap()
        };
        let short = Phases { healthy_ms: 4_000, chaos_ms: 40_000, liveness_ms: 4_000 };
        for seed in 0..20 {
            assert!(long(seed, PHASES) >= 20_000 && long(seed, short) >= 8_000);
        }
    }

    #[test]
    fn a_grace_is_longer_by_what_a_clock_was_ahead() {
        let mut schedule = drawn(7);
        let promises = Promises { grace_ms: 3_000, bound_ms: 2_000 };
        let jump = |by_s| Fault::Machine(Machine::ClockJump { who: Who::Leader, by_s });
        let step = |fault| Step { at_ms: 0, for_ms: 5_000, fault };
        schedule.steps = vec![step(jump(-90)), step(Fault::Transfer)];
        assert_eq!(schedule.loosened(promises), promises);
        schedule.steps.push(step(jump(7)));
        schedule.steps.push(step(jump(4)));
        assert!((10_000..13_000).contains(&schedule.loosened(promises).grace_ms));
        assert_eq!(schedule.loosened(promises).bound_ms, 2_000);
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        let steps = drawn(3).steps;
        let first: std::collections::BTreeSet<Kind> =
            steps.iter().take(Kind::ALL.len()).map(|step| step.fault.kind()).collect();
        assert_eq!(first.len(), Kind::ALL.len());
    }
}
