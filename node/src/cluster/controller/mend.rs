//! Members whose node answers and whose replica a fault stopped for good: its files are damaged or gone.
//!
//! Such a member counts as dead for its partition alone, so that another node takes its place where there is
//! one. Where there is none it loses its vote, is taken out, its files are removed, and it comes back from
//! nothing: a replica that forgot its votes must not vote as the one that gave them. While it is a voter it
//! helps no quorum, so that two voters that work survive as much as those two and it.

use std::collections::BTreeSet;

use domicile_raft::placement::{Liveness, Situation, Step};
use domicile_raft::{NodeId, PartitionId};

/// Has the planner see `broken` members as dead. Once they are no members they are nodes like others.
pub(super) fn set_aside(situation: &mut Situation, broken: &BTreeSet<NodeId>) {
    let members = &situation.members;
    for node in broken {
        let is_member = members.voters.contains(node) || members.learners.contains(node);
        if let Some(planned) = situation.nodes.get_mut(node).filter(|_| is_member) {
            planned.liveness = Liveness::Dead;
        }
    }
}

/// `planned`, or taking the votes of `broken` where the planner has nobody in their place.
pub(super) fn or_release(planned: Step, situation: &Situation, broken: &BTreeSet<NodeId>) -> Step {
    if planned != Step::Nothing {
        return planned;
    }
    let voters = &situation.members.voters;
    let alive = |id: &&NodeId| situation.nodes.get(*id).is_some_and(|node| node.liveness == Liveness::Alive);
    let working: BTreeSet<NodeId> = voters.difference(broken).copied().collect();
    let all_answer = working.iter().filter(alive).count() == working.len();
    // With one that only does not answer now, taking a vote would take its chance to count again.
    if working.len() == voters.len() || working.len() <= voters.len() / 2 || !all_answer {
        return planned;
    }
    Step::SetVoters(working)
}

/// Every node keeps the directory, so nobody takes out a damaged replica of it; its node has to go.
pub(super) fn applies_to(partition: PartitionId) -> bool {
    partition != PartitionId::DIRECTORY
}

#[cfg(test)]
mod tests {
    use domicile_raft::placement::{Members, PlanNode, Readers, plan};

    use super::*;
    use crate::cluster::catalog::tests::node;

    fn situation(nodes: u64) -> Situation {
        let zones = ["a", "b", "c", "d"];
        let all: Vec<(NodeId, PlanNode)> = (1..=nodes)
            .zip(zones)
            .map(|(id, zone)| (NodeId(id), node("eu", zone).plan(Liveness::Alive, 1)))
            .collect();
        let voters = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
        Situation {
            nodes: all.into_iter().collect(),
            placement: domicile_raft::placement::GroupSettings::anywhere(domicile_raft::TimerProfile::Zone)
                .placement,
            readers: Readers::AsPlaced,
            members: Members {
                leader: Some(NodeId(1)),
                caught_up: voters.clone(),
                voters,
                joint: false,
                learners: BTreeSet::new(),
            },
        }
    }

    /// Makes steps as the controller would, until there are none; node 3's replica works again once it
    /// was taken out.
    fn steps(mut seen: Situation) -> (Vec<Step>, BTreeSet<NodeId>) {
        let mut broken = BTreeSet::from([NodeId(3)]);
        let mut taken = Vec::new();
        for _ in 0..10 {
            let mut looked_at = seen.clone();
            set_aside(&mut looked_at, &broken);
            let step = or_release(plan(&looked_at), &looked_at, &broken);
            let members = &mut seen.members;
            match &step {
                Step::Nothing => break,
                Step::AddLearner(id) => {
                    members.learners.insert(*id);
                    members.caught_up.insert(*id);
                }
                Step::SetVoters(voters) => {
                    let out: Vec<NodeId> = members.voters.difference(voters).copied().collect();
                    members.learners.extend(out);
                    members.learners.retain(|id| !voters.contains(id));
                    members.voters.clone_from(voters);
                }
                Step::RemoveLearner(id) => {
                    members.learners.remove(id);
                    members.caught_up.remove(id);
                    broken.remove(id);
                }
                Step::Wait(_) | Step::FinishJoint | Step::TransferLeader(_) => unreachable!("{step:?}"),
            }
            taken.push(step);
        }
        (taken, seen.members.voters)
    }

    #[test]
    fn a_voter_whose_files_are_gone_is_taken_out_and_comes_back_from_nothing() {
        let voters = |ids: &[u64]| Step::SetVoters(ids.iter().copied().map(NodeId).collect());
        let (taken, left) = steps(situation(3));
        let (out, back) = (Step::RemoveLearner(NodeId(3)), Step::AddLearner(NodeId(3)));
        assert_eq!(taken, [voters(&[1, 2]), out, back, voters(&[1, 2, 3])]);
        assert_eq!(left.len(), 3);
    }

    #[test]
    fn where_there_is_another_node_it_takes_the_place_first() {
        let (taken, left) = steps(situation(4));
        assert_eq!(taken[0], Step::AddLearner(NodeId(4)));
        assert_eq!(left, BTreeSet::from([NodeId(1), NodeId(2), NodeId(4)]));
    }

    #[test]
    fn no_vote_is_taken_while_another_voter_is_silent() {
        let mut seen = situation(3);
        seen.nodes.get_mut(&NodeId(2)).unwrap().liveness = Liveness::Silent;
        let broken = BTreeSet::from([NodeId(3)]);
        set_aside(&mut seen, &broken);
        assert!(!matches!(or_release(plan(&seen), &seen, &broken), Step::SetVoters(_)));
        assert_eq!(or_release(Step::Nothing, &seen, &broken), Step::Nothing);
    }
}
