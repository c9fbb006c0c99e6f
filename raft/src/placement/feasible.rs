//! Whether a placement can be had with the nodes there are, and if not, why.

use std::collections::{BTreeMap, BTreeSet};

use super::{Placement, Regions, SurvivalGoal};
use crate::NodeId;
use crate::placement::situation::PlanNode;

/// Zones or regions that survive the loss of one.
const NEEDED: usize = 3;

/// Why a placement is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// No region is named.
    #[error("a placement names at least one region")]
    NoRegion,
    /// A region that no node was ever in.
    #[error("region `{0}` is not known")]
    UnknownRegion(String),
    /// A leader is wanted where no replica may be.
    #[error("region `{0}` is preferred for the leader but not among the placement's regions")]
    PreferredOutside(String),
    /// Such as: `eu-central has 2 zones; survive=zone needs 3`.
    #[error("{place} {have} {zones}; survive=zone needs {NEEDED}", place = has(.regions), zones = zones(*.have))]
    Zones {
        /// Where.
        regions: Vec<String>,
        /// Zones with a node.
        have: usize,
    },
    /// Such as: `eu-central, eu-west are 2 regions with nodes; survive=region needs 3`.
    #[error("{} with nodes; survive=region needs {NEEDED}", count(.regions))]
    Regions {
        /// Regions with a node.
        regions: Vec<String>,
    },
}

fn zones(have: usize) -> &'static str {
    if have == 1 { "zone" } else { "zones" }
}

fn has(regions: &[String]) -> String {
    let verb = if regions.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", regions.join(", "))
}

fn count(regions: &[String]) -> String {
    match regions {
        [] => "there are no regions".to_owned(),
        [one] => format!("{one} is 1 region"),
        several => format!("{} are {} regions", several.join(", "), several.len()),
    }
}

/// Checks the regions that a placement names against those there are: all that a wish for the leader's region
/// or for read replicas can break.
///
/// # Errors
/// [`Impossible`]: `NoRegion`, `UnknownRegion`, `PreferredOutside`.
pub fn check_named(placement: &Placement, regions: &BTreeSet<String>) -> Result<(), Impossible> {
    if let Regions::Only(wanted) = &placement.regions {
        if wanted.is_empty() {
            return Err(Impossible::NoRegion);
        }
        if let Some(unknown) = wanted.iter().find(|region| !regions.contains(*region)) {
            return Err(Impossible::UnknownRegion(unknown.clone()));
        }
    }
    for preferred in &placement.preferred_leader_regions {
        if !regions.contains(preferred) {
            return Err(Impossible::UnknownRegion(preferred.clone()));
        }
        if !placement.allows(preferred) {
            return Err(Impossible::PreferredOutside(preferred.clone()));
        }
    }
    Ok(())
}

/// Checks a placement against the regions and nodes there are.
///
/// # Errors
/// [`Impossible`] with the reason.
pub fn check(
    placement: &Placement,
    regions: &BTreeSet<String>,
    nodes: &BTreeMap<NodeId, PlanNode>,
) -> Result<(), Impossible> {
    check_named(placement, regions)?;
    let usable: Vec<&PlanNode> =
        nodes.values().filter(|node| node.keeps_replicas() && placement.allows(&node.region)).collect();
    let with_nodes: BTreeSet<&str> = usable.iter().map(|node| node.region.as_str()).collect();
    match placement.survive {
        SurvivalGoal::Zone => {
            let zones: BTreeSet<(&str, &str)> =
                usable.iter().map(|node| (node.region.as_str(), node.zone.as_str())).collect();
            if zones.len() >= NEEDED {
                return Ok(());
            }
            let named = match &placement.regions {
                Regions::Any => regions.iter().cloned().collect(),
                Regions::Only(wanted) => wanted.iter().cloned().collect(),
            };
            Err(Impossible::Zones { regions: named, have: zones.len() })
        }
        SurvivalGoal::Region if with_nodes.len() >= NEEDED => Ok(()),
        SurvivalGoal::Region => {
            Err(Impossible::Regions { regions: with_nodes.into_iter().map(str::to_owned).collect() })
        }
    }
}
