//! Where a partition's replicas may be, and what it must survive.

mod choose;
#[cfg(test)]
mod choose_tests;
mod feasible;
mod plan;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod replacement_tests;
mod situation;
mod survival;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use domicile_storage::{Bug, is_seeded};

use crate::TimerProfile;

pub use choose::{Target, target};
pub use feasible::{Impossible, check, check_named};
pub use plan::{Step, Wait, plan};
pub use situation::{Duty, Liveness, Members, PlanNode, Readers, Situation};
pub use survival::{Loss, Survival, Tolerance, loss_without, survival_of, tolerance};

/// What a partition keeps working through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurvivalGoal {
    /// The loss of one zone: three voters in three zones.
    Zone,
    /// The loss of one region: five voters 2-2-1 over three regions, or over more that have one node each.
    Region,
}

/// The regions that a partition may touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regions {
    /// Every region, those of the future too.
    Any,
    /// These, and no other ever.
    Only(BTreeSet<String>),
}

/// A placement: what a tenant asked for, and what its partition's log holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placement {
    /// Where replicas may be.
    pub regions: Regions,
    /// What is survived.
    pub survive: SurvivalGoal,
    /// Where the leader should be, most wanted first; empty for no wish.
    #[serde(default)]
    pub preferred_leader_regions: Vec<String>,
    /// Whether regions without a voter get a read replica (a learner).
    #[serde(default)]
    pub read_replicas: bool,
}

impl Placement {
    /// Whether a replica may be in `region`.
    #[must_use]
    pub fn allows(&self, region: &str) -> bool {
        match &self.regions {
            Regions::Any => true,
            Regions::Only(_) if is_seeded(Bug::OutsidePlacement) => true,
            Regions::Only(regions) => regions.contains(region),
        }
    }

    /// The timers for voters this far apart.
    #[must_use]
    pub fn timers(&self) -> TimerProfile {
        match &self.regions {
            Regions::Only(regions) if regions.len() == 1 => TimerProfile::Zone,
            Regions::Any | Regions::Only(_) => TimerProfile::Wide,
        }
    }
}

/// What a group's own log says of it. Changed by an entry of its own; every replica has the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// Raised with each change; an order with a lower one is refused.
    pub generation: u64,
    /// Timers of all its replicas.
    pub timers: TimerProfile,
    /// Where its replicas may be. The leader adds no member elsewhere, whoever asks.
    pub placement: Placement,
}

impl GroupSettings {
    /// Generation 0 with replicas anywhere, until an order says otherwise.
    #[must_use]
    pub fn anywhere(timers: TimerProfile) -> Self {
        let placement = Placement {
            regions: Regions::Any,
            survive: SurvivalGoal::Zone,
            preferred_leader_regions: Vec::new(),
            read_replicas: false,
        };
        Self { generation: 0, timers, placement }
    }
}
