//! What will be done to a cluster and when: from a seed, written down before the run.

mod class;
mod draw;
mod fault;
mod machine;
mod packets;
mod skews;
mod spread;

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
const GRACE_MS: u64 = 3_000;
const BOUND_MS: u64 = 2_000;
const STRONG_EVERY: u64 = 4;

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
    /// Whether links are in the clear and kept, and nodes elsewhere handle nothing of the tenant.
    #[serde(default)]
    pub in_clear: bool,
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
        Self { format: FORMAT, seed, topology, net, pinned: None, in_clear: false, kinds, phases, steps }
    }

    /// The same for a tenant that may be in one region only.
    #[must_use]
    pub fn pinned_to(self, region: &str) -> Self {
        Self { pinned: Some(region.to_owned()), ..self }
    }

    /// The same with links in the clear, and a tenant that is handled in its region only: so nothing of it may be on a
    /// link to elsewhere.
    #[must_use]
    pub fn in_the_clear(self) -> Self {
        Self { in_clear: true, ..self }
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

    /// What the tenant promises: short times, so that a run sees both sides of them. Of one seed in four that every read is
    /// strong, introspection and userinfo too.
    pub fn promises(&self) -> Promises {
        let bound_ms = if self.seed.is_multiple_of(STRONG_EVERY) { 0 } else { BOUND_MS };
        Promises { grace_ms: GRACE_MS, bound_ms }
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
        for schedule in [drawn(7), drawn(7).pinned_to("us").in_the_clear()] {
            schedule.write(file.path()).unwrap();
            assert_eq!(Schedule::read(file.path()).unwrap(), schedule);
        }
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
    fn one_seed_in_four_has_a_tenant_whose_every_read_is_strong() {
        let bounds: Vec<u64> = (0..8).map(|seed| drawn(seed).promises().bound_ms).collect();
        assert_eq!(bounds.iter().filter(|bound_ms| **bound_ms == 0).count(), 2);
        assert!(
            drawn(crate::smoke::SEED).promises().bound_ms > 0,
            "the smoke run measures how stale reads are"
        );
    }

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        let steps = drawn(3).steps;
        let first: std::collections::BTreeSet<Kind> =
            steps.iter().take(Kind::ALL.len()).map(|step| step.fault.kind()).collect();
        assert_eq!(first.len(), Kind::ALL.len());
    }
}
