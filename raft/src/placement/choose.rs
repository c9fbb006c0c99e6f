//! Which nodes should vote and which should read: the end that the steps lead to.
//!
//! A choice is stable: members stay as long as they serve the goal as well as others would.

use std::collections::{BTreeMap, BTreeSet};

use super::SurvivalGoal;
use super::situation::{PlanNode, Readers, Situation};
use crate::NodeId;

/// Voters that survive the loss of one.
const VOTERS_SMALL: usize = 3;

/// The members wanted, and what they survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Voters.
    pub voters: BTreeSet<NodeId>,
    /// Members without a vote.
    pub learners: BTreeSet<NodeId>,
    /// What the voters survive.
    pub tolerance: Tolerance,
}

/// What a set of voters survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tolerance {
    /// No loss.
    Nothing,
    /// Any one node.
    Node,
    /// Any one zone.
    Zone,
    /// Any one region.
    Region,
}

impl std::fmt::Display for Tolerance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "none",
            Self::Node => "1 node",
            Self::Zone => "1 zone",
            Self::Region => "1 region",
        })
    }
}

/// The members that `situation` should come to.
#[must_use]
pub fn target(situation: &Situation) -> Target {
    let usable: BTreeSet<NodeId> = situation
        .nodes
        .keys()
        .copied()
        .filter(|id| situation.takes(*id) || (is_member(situation, *id) && situation.keeps(*id)))
        .collect();
    let mut voters = match situation.placement.survive {
        SurvivalGoal::Region => by_region(situation, &usable).unwrap_or_else(|| by_zone(situation, &usable)),
        SurvivalGoal::Zone => by_zone(situation, &usable),
    };
    // Fewer voters than there are would survive less: those that should go stay until others come.
    if voters.len() < situation.members.voters.len() && !situation.members.voters.is_empty() {
        voters = keep_with_replacements(situation, voters);
    }
    let learners = readers(situation, &usable, &voters);
    Target { tolerance: tolerance(situation, &voters), voters, learners }
}

/// The voters there are, where nothing better can be had.
fn keep_with_replacements(situation: &Situation, chosen: BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let current = &situation.members.voters;
    let decommissioned = |id: &NodeId| {
        situation.node(*id).is_none_or(|node| node.duty == super::situation::Duty::Decommissioned)
    };
    // Who is gone for good counts for nothing; without them the chosen may be all there is.
    let standing = current.iter().filter(|id| !decommissioned(id)).count();
    if chosen.len() >= standing { chosen } else { current.clone() }
}

fn is_member(situation: &Situation, id: NodeId) -> bool {
    situation.members.voters.contains(&id) || situation.members.learners.contains(&id)
}

/// Five voters 2-2-1 over three regions, or three 1-1-1; `None` with fewer regions.
fn by_region(situation: &Situation, usable: &BTreeSet<NodeId>) -> Option<BTreeSet<NodeId>> {
    let mut regions: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for id in usable {
        if let Some(node) = situation.node(*id) {
            regions.entry(node.region.as_str()).or_default().push(*id);
        }
    }
    if regions.len() < VOTERS_SMALL {
        return None;
    }
    let mut ranked: Vec<&str> = regions.keys().copied().collect();
    ranked.sort_by_key(|region| {
        (preference(situation, region), std::cmp::Reverse(voters_in(situation, region)), *region)
    });
    let size = |region: &&str| regions.get(*region).map_or(0, Vec::len);
    let pairs: Vec<&str> = ranked.iter().copied().filter(|region| size(region) >= 2).take(2).collect();
    let counts: Vec<(&str, usize)> = if let [first, second] = pairs[..] {
        let single = ranked.iter().copied().find(|region| *region != first && *region != second)?;
        vec![(first, 2), (second, 2), (single, 1)]
    } else {
        ranked.iter().copied().take(VOTERS_SMALL).map(|region| (region, 1)).collect()
    };
    let mut voters = BTreeSet::new();
    for (region, count) in counts {
        let nodes = regions.get(region)?.iter().copied().collect();
        voters.extend(spread(situation, &nodes, count));
    }
    Some(voters)
}

/// Three voters in as many zones as there are, in the preferred regions first; one where there are
/// fewer than three nodes, since two survive less than one.
fn by_zone(situation: &Situation, usable: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    if usable.len() >= VOTERS_SMALL {
        return spread(situation, usable, VOTERS_SMALL);
    }
    let stays = situation.members.voters.intersection(usable).next().copied();
    stays.or_else(|| usable.first().copied()).into_iter().collect()
}

/// `count` of `nodes`, over as many zones as possible.
fn spread(situation: &Situation, nodes: &BTreeSet<NodeId>, count: usize) -> BTreeSet<NodeId> {
    let mut chosen: BTreeSet<NodeId> = BTreeSet::new();
    let mut zones: BTreeSet<(&str, &str)> = BTreeSet::new();
    while chosen.len() < count {
        let best = nodes
            .iter()
            .filter(|id| !chosen.contains(id))
            .filter_map(|id| situation.node(*id).map(|node| (*id, node)))
            .min_by_key(|(id, node)| {
                let new_zone = !zones.contains(&(node.region.as_str(), node.zone.as_str()));
                rank(situation, *id, node, new_zone)
            });
        let Some((id, node)) = best else { break };
        zones.insert((node.region.as_str(), node.zone.as_str()));
        chosen.insert(id);
    }
    chosen
}

/// Smaller is better.
fn rank(
    situation: &Situation,
    id: NodeId,
    node: &PlanNode,
    new_zone: bool,
) -> (bool, usize, bool, bool, usize, NodeId) {
    (
        !new_zone,
        preference(situation, &node.region),
        !situation.members.voters.contains(&id),
        !situation.members.learners.contains(&id),
        node.replicas,
        id,
    )
}

/// The place of a region among those wanted for the leader; the last for all others.
pub(super) fn preference(situation: &Situation, region: &str) -> usize {
    let wanted = &situation.placement.preferred_leader_regions;
    wanted.iter().position(|preferred| preferred == region).unwrap_or(wanted.len())
}

fn voters_in(situation: &Situation, region: &str) -> usize {
    let voters = situation.members.voters.iter();
    voters.filter(|id| situation.node(**id).is_some_and(|node| node.region == region)).count()
}

fn readers(situation: &Situation, usable: &BTreeSet<NodeId>, voters: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    if situation.readers == Readers::Everywhere {
        return usable.difference(voters).copied().collect();
    }
    if !situation.placement.read_replicas {
        return BTreeSet::new();
    }
    let mut served: BTreeSet<&str> = BTreeSet::new();
    for id in voters {
        served.extend(situation.node(*id).map(|node| node.region.as_str()));
    }
    let mut readers = BTreeSet::new();
    let mut others: Vec<(NodeId, &PlanNode)> =
        usable.iter().filter_map(|id| situation.node(*id).map(|node| (*id, node))).collect();
    others.sort_by_key(|(id, node)| (!situation.members.learners.contains(id), node.replicas, *id));
    for (id, node) in others {
        if !voters.contains(&id) && served.insert(node.region.as_str()) {
            readers.insert(id);
        }
    }
    readers
}

/// What `voters` survive, whichever node, zone or region is lost.
#[must_use]
pub fn tolerance(situation: &Situation, voters: &BTreeSet<NodeId>) -> Tolerance {
    let quorum = voters.len() / 2 + 1;
    let survives = |lost: usize| voters.len().saturating_sub(lost) >= quorum;
    let mut zones: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut regions: BTreeMap<&str, usize> = BTreeMap::new();
    for node in voters.iter().filter_map(|id| situation.node(*id)) {
        *zones.entry((node.region.as_str(), node.zone.as_str())).or_default() += 1;
        *regions.entry(node.region.as_str()).or_default() += 1;
    }
    let most = |counts: Vec<usize>| counts.into_iter().max().unwrap_or(0);
    if voters.is_empty() || !survives(1) {
        Tolerance::Nothing
    } else if survives(most(regions.into_values().collect())) {
        Tolerance::Region
    } else if survives(most(zones.into_values().collect())) {
        Tolerance::Zone
    } else {
        Tolerance::Node
    }
}
