//! The next small step from the members there are to those wanted. Pure: the controller carries it out,
//! looks again, and asks again, so a step that failed or was done twice does no harm.
//!
//! Invariants:
//! - No step leaves the placement's regions.
//! - Voters change only to members that are alive and caught up, and only while a quorum answers.
//! - The number of voters never falls because a node is silent, dead or draining: it is replaced first.
//! - No change of voters survives less than those there are do, up to the goal: a node that drains and that
//!   nobody can replace keeps its vote.

use std::collections::BTreeSet;

use super::choose::{Target, preference, target};
use super::situation::{Duty, Situation};
use crate::NodeId;

/// What to do next with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The members are those wanted, and the leader is where it should be.
    Nothing,
    /// Something must happen first that is nobody's order.
    Wait(Wait),
    /// Open a replica on this node and add it without a vote.
    AddLearner(NodeId),
    /// Finish a change of voters that was interrupted.
    FinishJoint,
    /// Change the voters to these.
    SetVoters(BTreeSet<NodeId>),
    /// Take a member without a vote out, then close its replica.
    RemoveLearner(NodeId),
    /// Have this voter lead.
    TransferLeader(NodeId),
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The partition has no leader that answers.
    Leader,
    /// Too few voters answer for a change.
    Quorum,
    /// These learners are still being sent the log.
    CatchUp(BTreeSet<NodeId>),
}

/// The next step for one partition.
#[must_use]
pub fn plan(situation: &Situation) -> Step {
    let members = &situation.members;
    if members.leader.is_none_or(|leader| !situation.alive(leader)) {
        return Step::Wait(Wait::Leader);
    }
    let answering = members.voters.iter().filter(|id| situation.alive(**id)).count();
    if answering <= members.voters.len() / 2 {
        return Step::Wait(Wait::Quorum);
    }
    if members.joint {
        return Step::FinishJoint;
    }
    let wanted = target(situation);
    add_missing(situation, &wanted)
        .or_else(|| change_voters(situation, &wanted))
        .or_else(|| move_leader(situation))
        .or_else(|| remove_surplus(situation, &wanted))
        .unwrap_or(Step::Nothing)
}

/// Voters first: readers can wait, survival cannot.
fn add_missing(situation: &Situation, wanted: &Target) -> Option<Step> {
    let absent = |id: &&NodeId| {
        !situation.members.voters.contains(id)
            && !situation.members.learners.contains(id)
            && (situation.takes(**id) || situation.follows(**id))
    };
    let missing = wanted.voters.iter().find(absent);
    // Only once the voters stand, so that a reader far away does not delay them.
    let reader =
        || (situation.members.voters == wanted.voters).then(|| wanted.learners.iter().find(absent)).flatten();
    missing.or_else(reader).copied().map(Step::AddLearner)
}

fn change_voters(situation: &Situation, wanted: &Target) -> Option<Step> {
    let members = &situation.members;
    if members.voters == wanted.voters {
        return None;
    }
    let fresh: BTreeSet<NodeId> = wanted.voters.difference(&members.voters).copied().collect();
    let behind: BTreeSet<NodeId> =
        fresh.iter().copied().filter(|id| !members.caught_up.contains(id) || !situation.alive(*id)).collect();
    if !behind.is_empty() {
        return Some(Step::Wait(Wait::CatchUp(behind)));
    }
    let answering = wanted.voters.iter().filter(|id| situation.alive(**id)).count();
    if answering <= wanted.voters.len() / 2 {
        return Some(Step::Wait(Wait::Quorum));
    }
    // A leader that is voted out would step down in the middle: it hands over first.
    let leader = members.leader.filter(|leader| !wanted.voters.contains(leader));
    let heir = || best_leader(situation, members.voters.intersection(&wanted.voters).copied());
    if leader.is_some()
        && let Some(heir) = heir()
    {
        return Some(Step::TransferLeader(heir));
    }
    Some(Step::SetVoters(wanted.voters.clone()))
}

/// To the most wanted region with a voter that can lead; away from a node that drains.
fn move_leader(situation: &Situation) -> Option<Step> {
    let members = &situation.members;
    let leader = members.leader?;
    let best = best_leader(situation, members.voters.iter().copied())?;
    let place = |id: NodeId| situation.node(id).map(|node| leader_rank(situation, id, &node.region));
    (place(best)? < place(leader)?).then_some(Step::TransferLeader(best))
}

fn best_leader(situation: &Situation, voters: impl Iterator<Item = NodeId>) -> Option<NodeId> {
    let able = voters.filter(|id| {
        situation.alive(*id)
            && (situation.members.caught_up.contains(id) || situation.members.leader == Some(*id))
    });
    able.min_by_key(|id| {
        let region = situation.node(*id).map_or("", |node| node.region.as_str());
        (leader_rank(situation, *id, region), *id)
    })
}

/// Draining nodes last, then by the placement's wish, then regions with more voters, so that of 2-2-1
/// a pair leads.
fn leader_rank(situation: &Situation, id: NodeId, region: &str) -> (bool, usize, bool) {
    let drains = situation.node(id).is_none_or(|node| node.duty != Duty::Active);
    let companions = situation.members.voters.iter().filter(|other| **other != id);
    let alone = companions.filter_map(|other| situation.node(*other)).all(|other| other.region != region);
    (drains, preference(situation, region), alone && situation.members.voters.len() >= 5)
}

fn remove_surplus(situation: &Situation, wanted: &Target) -> Option<Step> {
    if situation.members.voters != wanted.voters {
        return None;
    }
    let surplus = situation.members.learners.iter().find(|id| {
        // One that is only silent comes back.
        !wanted.learners.contains(id) && !wanted.voters.contains(id)
    });
    surplus.copied().map(Step::RemoveLearner)
}
