//! What a set of voters survives, and what a partition would lose with one of its nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::SurvivalGoal;
use super::choose::target;
use super::situation::{Duty, Liveness, Situation};
use crate::NodeId;

/// With fewer voters a lost region leaves no other loss to survive.
pub(super) const VOTERS_OVER_REGIONS: usize = 5;
/// As many as the loss of a zone takes.
const VOTERS_OVER_ZONES: usize = 3;

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

/// What `voters` survive, whichever node, zone or region is lost, in the words that operators see: three
/// voters in three regions are each a node, or a zone where that is what was asked for.
#[must_use]
pub fn tolerance(situation: &Situation, voters: &BTreeSet<NodeId>) -> Tolerance {
    in_words(situation, voters.len(), voters)
}

fn in_words(situation: &Situation, votes: usize, counted: &BTreeSet<NodeId>) -> Tolerance {
    match (withstands(situation, votes, counted), situation.placement.survive) {
        (Tolerance::Region, SurvivalGoal::Region) if votes < VOTERS_OVER_REGIONS => Tolerance::Node,
        (Tolerance::Region, SurvivalGoal::Zone) if votes < VOTERS_OVER_REGIONS => Tolerance::Zone,
        (survived, SurvivalGoal::Region | SurvivalGoal::Zone) => survived,
    }
}

/// What can be lost, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// Now.
    pub now: Tolerance,
    /// Once every voter that may come back answers.
    pub whole: Tolerance,
}

impl std::fmt::Display for Survival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { now, whole } = self;
        if now == whole { write!(f, "{now}") } else { write!(f, "{now} (whole: {whole})") }
    }
}

/// What can be lost of `voters` while only those in `answering` answer. The others, and decommissioned ones, whom
/// nobody hears, help nothing through, but a majority is still one of all.
#[must_use]
pub fn survival_of(
    situation: &Situation,
    voters: &BTreeSet<NodeId>,
    answering: &BTreeSet<NodeId>,
) -> Survival {
    let belongs = |id: &NodeId| situation.node(*id).is_none_or(|node| node.duty != Duty::Decommissioned);
    let whole: BTreeSet<NodeId> = voters.iter().copied().filter(belongs).collect();
    let now: BTreeSet<NodeId> = whole.intersection(answering).copied().collect();
    let of = |counted: &BTreeSet<NodeId>| in_words(situation, voters.len(), counted);
    Survival { now: of(&now), whole: of(&whole) }
}

/// The loss that leaves a majority of `votes` among those of `counted` that are left.
fn withstands(situation: &Situation, votes: usize, counted: &BTreeSet<NodeId>) -> Tolerance {
    let quorum = votes / 2 + 1;
    let survives = |lost: usize| counted.len().saturating_sub(lost) >= quorum;
    let mut zones: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut regions: BTreeMap<&str, usize> = BTreeMap::new();
    for node in counted.iter().filter_map(|id| situation.node(*id)) {
        *zones.entry((node.region.as_str(), node.zone.as_str())).or_default() += 1;
        *regions.entry(node.region.as_str()).or_default() += 1;
    }
    let most = |counts: Vec<usize>| counts.into_iter().max().unwrap_or(0);
    if counted.is_empty() || !survives(1) {
        Tolerance::Nothing
    } else if survives(most(regions.into_values().collect())) {
        Tolerance::Region
    } else if survives(most(zones.into_values().collect())) {
        Tolerance::Zone
    } else {
        Tolerance::Node
    }
}

/// How well voters serve the goal. What is survived beyond it counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strength {
    tolerance: Tolerance,
    /// Voters that are not gone for good. Those that are dead are replaced, and not only left out.
    votes: usize,
    /// Voters that the goal takes: what goes beyond them is let go, as after a goal was lowered.
    needed: usize,
}

impl Strength {
    pub(super) fn of(situation: &Situation, voters: &BTreeSet<NodeId>) -> Self {
        let standing = voters.iter().copied().filter(|id| stands(situation, *id)).collect();
        let (goal, needed) = match situation.placement.survive {
            SurvivalGoal::Zone => (Tolerance::Zone, VOTERS_OVER_ZONES),
            SurvivalGoal::Region => (Tolerance::Region, VOTERS_OVER_REGIONS),
        };
        Self {
            tolerance: withstands(situation, voters.len(), &standing).min(goal),
            votes: voters.iter().filter(|id| may_stay(situation, **id)).count(),
            needed,
        }
    }

    pub(super) fn is_below(self, other: Self) -> bool {
        let votes = |strength: Self| strength.votes.min(strength.needed);
        self.tolerance < other.tolerance || votes(self) < votes(other)
    }

    pub(super) fn survives_more_than(self, other: Self) -> bool {
        self.tolerance > other.tolerance
    }
}

/// Whether the node is still to be counted on, if only until another has its place.
pub(super) fn may_stay(situation: &Situation, id: NodeId) -> bool {
    situation
        .node(id)
        .is_some_and(|node| node.duty != Duty::Decommissioned && situation.placement.allows(&node.region))
}

/// Whether a voter is there and may stay where it is.
pub(super) fn stands(situation: &Situation, id: NodeId) -> bool {
    may_stay(situation, id) && situation.node(id).is_some_and(|node| node.liveness != Liveness::Dead)
}

/// What a partition comes down to without a node that votes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    before: Strength,
    after: Strength,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { before, after } = self;
        let voters = if before.votes == 1 { "voter" } else { "voters" };
        write!(
            f,
            "tolerance {} with {} of its {} {voters}, {} before",
            after.tolerance, after.votes, before.votes, before.tolerance
        )
    }
}

/// What the partition would lose without `node`, with whatever others can be had in its place; `None` if
/// that is nothing.
#[must_use]
pub fn loss_without(situation: &Situation, node: NodeId) -> Option<Loss> {
    if !situation.members.voters.contains(&node) {
        return None;
    }
    let before = Strength::of(situation, &situation.members.voters);
    let mut without = situation.clone();
    without.nodes.get_mut(&node)?.duty = Duty::Decommissioned;
    let after = Strength::of(&without, &target(&without).voters);
    after.is_below(before).then_some(Loss { before, after })
}
