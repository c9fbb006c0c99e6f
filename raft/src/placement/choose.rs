//! Which nodes should vote and which should read: the end that the steps lead to.
//!
//! A choice is stable: members stay as long as they serve the goal as well as others would.

use std::collections::{BTreeMap, BTreeSet};

use super::SurvivalGoal;
use super::situation::{Duty, PlanNode, Readers, Situation};
use super::survival::{Strength, Tolerance, stands, tolerance};
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

/// The members that `situation` should come to. They never survive less than those there are: who drains
/// keeps its vote until another can have its place, and who is dead is replaced, not left out.
#[must_use]
pub fn target(situation: &Situation) -> Target {
    let current = &situation.members.voters;
    let usable: BTreeSet<NodeId> = situation
        .nodes
        .keys()
        .copied()
        .filter(|id| situation.takes(*id) || (is_member(situation, *id) && situation.keeps(*id)))
        .collect();
    let floor = Strength::of(situation, current);
    let lowers = |voters: &BTreeSet<NodeId>| Strength::of(situation, voters).is_below(floor);
    let mut voters = wanted(situation, &usable);
    if lowers(&voters) {
        let mut with_leaving = usable.clone();
        with_leaving.extend(current.iter().filter(|id| stands(situation, **id)));
        voters = wanted(situation, &with_leaving);
    }
    if lowers(&voters) {
        voters.clone_from(current);
    }
    let learners = readers(situation, &usable, &voters);
    Target { tolerance: tolerance(situation, &voters), voters, learners }
}

/// The voters that serve the goal best, whatever there is now.
fn wanted(situation: &Situation, usable: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    match situation.placement.survive {
        SurvivalGoal::Region => by_region(situation, usable).unwrap_or_else(|| by_zone(situation, usable)),
        SurvivalGoal::Zone => by_zone(situation, usable),
    }
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
) -> (bool, usize, bool, bool, bool, usize, NodeId) {
    (
        !new_zone,
        preference(situation, &node.region),
        node.duty != Duty::Active,
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
