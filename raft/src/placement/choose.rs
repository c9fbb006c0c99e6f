//! Which nodes should vote and which should read: the end that the steps lead to.
//!
//! A choice is stable: members stay as long as they serve the goal as well as others would.

use std::collections::{BTreeMap, BTreeSet};

use super::SurvivalGoal;
use super::situation::{Duty, PlanNode, Readers, Situation};
use super::survival::{Strength, Tolerance, VOTERS_OVER_REGIONS, may_stay, stands, tolerance};
use crate::NodeId;

/// Voters that survive the loss of one.
const VOTERS_SMALL: usize = 3;
/// As many of five voters may be lost at once, so a region has no more.
const PAIR: usize = 2;
/// Of five voters there is room for so many pairs.
const PAIRS_MAX: usize = 2;

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

/// What a spread of voters keeps even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evenly {
    /// The voters in each zone.
    OverZones,
    /// The voters in each region, and in each zone of it.
    OverRegions,
}

/// The members that `situation` should come to. They never survive less than those there are: who drains
/// keeps its vote until another can have its place, and who is dead is replaced, not left out. Where the goal
/// cannot be had with as many voters as there are, the dead among them are replaced nevertheless.
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
    let mut with_leaving = usable.clone();
    with_leaving.extend(current.iter().filter(|id| stands(situation, **id)));
    let pools = [&usable, &with_leaving];
    let to_go = |voters: &BTreeSet<NodeId>| voters.difference(&usable).count();
    // Every move costs a copy of the state: only for more to be survived, or to replace who has to go.
    let is_worth_it = |voters: &BTreeSet<NodeId>| {
        Strength::of(situation, voters).survives_more_than(floor) || to_go(voters) < to_go(current)
    };
    let chosen = pools.into_iter().map(|pool| wanted(situation, pool));
    let reseated = pools.into_iter().map(|pool| reseated(situation, pool)).filter(is_worth_it);
    let voters = chosen.chain(reseated).find(|voters| !lowers(voters)).unwrap_or_else(|| current.clone());
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

/// The voters of [`seats`], in each region over its zones; `None` with fewer than three regions.
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
    let mut ranked: Vec<(&str, usize)> =
        regions.iter().map(|(region, nodes)| (*region, nodes.len())).collect();
    ranked.sort_by_key(|(region, _)| {
        (preference(situation, region), std::cmp::Reverse(voters_in(situation, region)), *region)
    });
    let mut voters = BTreeSet::new();
    for (region, count) in seats(&ranked) {
        let nodes = regions.get(region)?.iter().copied().collect();
        voters.extend(spread(situation, &nodes, count, Evenly::OverZones));
    }
    Some(voters)
}

/// How many vote in which of at least three regions, given with their nodes and the most wanted first.
/// Without any one of them the others are a majority. Five voters 2-2-1, or over more regions where fewer than
/// two have a pair: 2-1-1-1, 1-1-1-1-1. Pairs first, since a leader with another beside it waits for one region
/// only. Three, 1-1-1, where five have no place.
fn seats<'a>(ranked: &[(&'a str, usize)]) -> Vec<(&'a str, usize)> {
    let with_pair = ranked.iter().filter(|(_, nodes)| *nodes >= PAIR);
    let pairs: Vec<&str> = with_pair.map(|(region, _)| *region).take(PAIRS_MAX).collect();
    let others = ranked.iter().map(|(region, _)| *region).filter(|region| !pairs.contains(region));
    let singles: Vec<&str> = others.take(VOTERS_OVER_REGIONS - PAIR * pairs.len()).collect();
    if PAIR * pairs.len() + singles.len() < VOTERS_OVER_REGIONS {
        return ranked.iter().take(VOTERS_SMALL).map(|(region, _)| (*region, 1)).collect();
    }
    let pairs = pairs.into_iter().map(|region| (region, PAIR));
    pairs.chain(singles.into_iter().map(|region| (region, 1))).collect()
}

/// Three voters in as many zones as there are, in the preferred regions first; one where there are
/// fewer than three nodes, since two survive less than one.
fn by_zone(situation: &Situation, usable: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    if usable.len() >= VOTERS_SMALL {
        return spread(situation, usable, VOTERS_SMALL, Evenly::OverZones);
    }
    let stays = situation.members.voters.intersection(usable).next().copied();
    stays.or_else(|| usable.first().copied()).into_iter().collect()
}

/// As many voters as there are now. Those that `nodes` has no place for keep their seats, who answers first:
/// a vote that is left out would have to be taken back when its node returns.
fn reseated(situation: &Situation, nodes: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let current = &situation.members.voters;
    let mut voters = spread(situation, nodes, current.len(), Evenly::OverRegions);
    let mut others: Vec<NodeId> = current.difference(&voters).copied().collect();
    others.sort_by_key(|id| (!stands(situation, *id), !may_stay(situation, *id)));
    let left = current.len().saturating_sub(voters.len());
    voters.extend(others.into_iter().take(left));
    voters
}

/// `count` of `nodes`, as evenly as possible.
fn spread(situation: &Situation, nodes: &BTreeSet<NodeId>, count: usize, evenly: Evenly) -> BTreeSet<NodeId> {
    let mut chosen: BTreeSet<NodeId> = BTreeSet::new();
    let mut zones: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut regions: BTreeMap<&str, usize> = BTreeMap::new();
    while chosen.len() < count {
        let best = nodes
            .iter()
            .filter(|id| !chosen.contains(id))
            .filter_map(|id| situation.node(*id).map(|node| (*id, node)))
            .min_by_key(|(id, node)| {
                let (region, zone) = (node.region.as_str(), node.zone.as_str());
                let in_zone = zones.get(&(region, zone)).copied().unwrap_or(0);
                let in_region = match evenly {
                    Evenly::OverZones => 0,
                    Evenly::OverRegions => regions.get(region).copied().unwrap_or(0),
                };
                (in_region, in_zone, rank(situation, *id, node))
            });
        let Some((id, node)) = best else { break };
        *zones.entry((node.region.as_str(), node.zone.as_str())).or_default() += 1;
        *regions.entry(node.region.as_str()).or_default() += 1;
        chosen.insert(id);
    }
    chosen
}

/// Smaller is better.
fn rank(situation: &Situation, id: NodeId, node: &PlanNode) -> (usize, bool, bool, bool, usize, NodeId) {
    (
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
        // A node that drains still serves, which it does by the directory.
        let drained = situation.nodes.iter().filter(|(_, node)| node.may_follow());
        return usable
            .iter()
            .chain(drained.map(|(id, _)| id))
            .copied()
            .filter(|id| !voters.contains(id))
            .collect();
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
