//! The planner on clusters that people have, and on random ones until it comes to rest.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::survival::Strength;
use super::*;
use crate::NodeId;

fn node(region: &str, zone: &str) -> PlanNode {
    PlanNode {
        region: region.to_owned(),
        zone: zone.to_owned(),
        liveness: Liveness::Alive,
        duty: Duty::Active,
        replicas: 0,
    }
}

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

pub(super) fn placed(regions: &[&str], survive: SurvivalGoal) -> Placement {
    let regions = if regions.is_empty() {
        Regions::Any
    } else {
        Regions::Only(regions.iter().map(|region| (*region).to_owned()).collect())
    };
    Placement { regions, survive, preferred_leader_regions: Vec::new(), read_replicas: false }
}

/// A partition that was just made on node `first`.
pub(super) fn fresh(nodes: &[(&str, &str)], placement: Placement, first: u64) -> Situation {
    let nodes = (1..).zip(nodes).map(|(id, (region, zone))| (NodeId(id), node(region, zone))).collect();
    let members = Members {
        leader: Some(NodeId(first)),
        voters: ids(&[first]),
        caught_up: ids(&[first]),
        ..Members::default()
    };
    Situation { nodes, placement, readers: Readers::AsPlaced, members }
}

/// Does what an obedient cluster would; learners catch up at once.
fn carry_out(situation: &mut Situation, step: &Step) {
    let members = &mut situation.members;
    match step {
        Step::Nothing | Step::Wait(_) => {}
        Step::AddLearner(id) => {
            members.learners.insert(*id);
            members.caught_up.insert(*id);
        }
        Step::FinishJoint => members.joint = false,
        Step::SetVoters(voters) => {
            let gone: Vec<NodeId> = members.voters.difference(voters).copied().collect();
            members.learners.extend(gone);
            members.learners.retain(|id| !voters.contains(id));
            members.voters.clone_from(voters);
            if !members.leader.is_some_and(|leader| voters.contains(&leader)) {
                members.leader = voters.first().copied();
            }
        }
        Step::RemoveLearner(id) => {
            members.learners.remove(id);
            members.caught_up.remove(id);
        }
        Step::TransferLeader(id) => members.leader = Some(*id),
    }
}

/// Steps until nothing is left to do.
pub(super) fn settle(situation: &mut Situation) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..100 {
        let step = plan(situation);
        if matches!(step, Step::Nothing | Step::Wait(_)) {
            return steps;
        }
        carry_out(situation, &step);
        steps.push(step);
    }
    panic!("no rest after 100 steps: {:?}", &steps[90..]);
}

pub(super) const NINE: [(&str, &str); 9] = [
    ("eu", "a"),
    ("eu", "b"),
    ("eu", "c"),
    ("us", "a"),
    ("us", "b"),
    ("us", "c"),
    ("ap", "a"),
    ("ap", "b"),
    ("ap", "c"),
];

#[test]
fn a_pinned_partition_gets_one_voter_in_each_of_three_zones_of_its_region() {
    let mut situation = fresh(&NINE, placed(&["us"], SurvivalGoal::Zone), 4);
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[4, 5, 6]));
    assert!(situation.members.learners.is_empty());
    assert_eq!(tolerance(&situation, &situation.members.voters), Tolerance::Zone);
}

#[test]
fn surviving_a_region_takes_five_voters_2_2_1_led_from_a_pair() {
    let mut situation = fresh(&NINE, placed(&[], SurvivalGoal::Region), 1);
    situation.placement.preferred_leader_regions = vec!["us".to_owned()];
    settle(&mut situation);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for id in &situation.members.voters {
        *counts.entry(situation.nodes[id].region.as_str()).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), 5);
    assert_eq!((counts["us"], *counts.values().min().unwrap()), (2, 1));
    assert_eq!(situation.nodes[&situation.members.leader.unwrap()].region, "us");
    assert_eq!(tolerance(&situation, &situation.members.voters), Tolerance::Region);
}

#[test]
fn three_nodes_in_three_regions_are_one_voter_each_and_say_one_node() {
    let nodes = [("eu", "a"), ("us", "a"), ("ap", "a")];
    for (goal, said) in [(SurvivalGoal::Region, "1 node"), (SurvivalGoal::Zone, "1 zone")] {
        let mut situation = fresh(&nodes, placed(&[], goal), 1);
        settle(&mut situation);
        assert_eq!(situation.members.voters, ids(&[1, 2, 3]));
        assert_eq!(target(&situation).tolerance.to_string(), said);
        assert_eq!(tolerance(&situation, &situation.members.voters).to_string(), said);
    }
}

#[test]
fn two_nodes_have_one_voter() {
    let mut situation = fresh(&[("eu", "a"), ("eu", "b")], placed(&[], SurvivalGoal::Zone), 1);
    assert_eq!(settle(&mut situation), Vec::new());
    assert_eq!(situation.members.voters, ids(&[1]));
}

#[test]
fn the_directory_reads_on_every_node() {
    let mut situation = fresh(&NINE, placed(&[], SurvivalGoal::Region), 1);
    situation.readers = Readers::Everywhere;
    settle(&mut situation);
    assert_eq!(situation.members.voters.len(), 5);
    assert_eq!(situation.members.learners.len(), 4);
}

/// It still serves, and would know of no tenant that came since.
#[test]
fn a_node_that_drains_gives_its_vote_in_the_directory_away_and_goes_on_reading() {
    let mut situation = fresh(&NINE, placed(&[], SurvivalGoal::Region), 1);
    situation.readers = Readers::Everywhere;
    settle(&mut situation);
    let voter = *situation.members.voters.first().unwrap();
    situation.nodes.get_mut(&voter).unwrap().duty = Duty::Draining;
    settle(&mut situation);
    assert!(!situation.members.voters.contains(&voter));
    assert!(situation.members.learners.contains(&voter));
    // Away for so long that it counts as dead, and back.
    situation.nodes.get_mut(&voter).unwrap().liveness = Liveness::Dead;
    settle(&mut situation);
    assert!(!situation.members.learners.contains(&voter));
    situation.nodes.get_mut(&voter).unwrap().liveness = Liveness::Alive;
    settle(&mut situation);
    assert!(situation.members.learners.contains(&voter));
    situation.nodes.get_mut(&voter).unwrap().duty = Duty::Decommissioned;
    settle(&mut situation);
    assert_eq!(situation.members.voters.len() + situation.members.learners.len(), 8);
    assert!(!situation.members.learners.contains(&voter));
}

#[test]
fn a_dead_voter_is_replaced_in_its_place_and_a_silent_one_is_not() {
    let nodes = [("eu", "a"), ("eu", "b"), ("eu", "c"), ("eu", "c")];
    let mut situation = fresh(&nodes, placed(&["eu"], SurvivalGoal::Zone), 1);
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[1, 2, 3]));
    situation.nodes.get_mut(&NodeId(3)).unwrap().liveness = Liveness::Silent;
    assert_eq!(plan(&situation), Step::Nothing);
    situation.nodes.get_mut(&NodeId(3)).unwrap().liveness = Liveness::Dead;
    let steps = settle(&mut situation);
    let expected =
        [Step::AddLearner(NodeId(4)), Step::SetVoters(ids(&[1, 2, 4])), Step::RemoveLearner(NodeId(3))];
    assert_eq!(steps, expected);
}

#[test]
fn without_a_replacement_a_dead_or_draining_voter_stays() {
    let nodes = [("eu", "a"), ("eu", "b"), ("eu", "c")];
    for (liveness, duty) in [(Liveness::Dead, Duty::Active), (Liveness::Alive, Duty::Draining)] {
        let mut situation = fresh(&nodes, placed(&["eu"], SurvivalGoal::Zone), 1);
        settle(&mut situation);
        let third = situation.nodes.get_mut(&NodeId(3)).unwrap();
        (third.liveness, third.duty) = (liveness, duty);
        assert_eq!(settle(&mut situation), Vec::new());
        assert_eq!(situation.members.voters, ids(&[1, 2, 3]));
    }
}

#[test]
fn a_draining_leader_hands_over_before_it_is_voted_out() {
    let nodes = [("eu", "a"), ("eu", "b"), ("eu", "c"), ("eu", "a")];
    let mut situation = fresh(&nodes, placed(&["eu"], SurvivalGoal::Zone), 1);
    settle(&mut situation);
    situation.nodes.get_mut(&NodeId(1)).unwrap().duty = Duty::Draining;
    let steps = settle(&mut situation);
    let expected = [
        Step::AddLearner(NodeId(4)),
        Step::TransferLeader(NodeId(2)),
        Step::SetVoters(ids(&[2, 3, 4])),
        Step::RemoveLearner(NodeId(1)),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn voters_change_only_to_nodes_that_have_caught_up() {
    let mut situation = fresh(&NINE, placed(&["eu"], SurvivalGoal::Zone), 1);
    situation.members.learners = ids(&[2, 3]);
    situation.members.caught_up = ids(&[1, 2]);
    assert_eq!(plan(&situation), Step::Wait(Wait::CatchUp(ids(&[3]))));
}

#[test]
fn without_a_quorum_nothing_is_ordered_and_a_joint_change_is_finished_first() {
    let mut situation = fresh(&NINE, placed(&["eu"], SurvivalGoal::Zone), 1);
    settle(&mut situation);
    situation.members.joint = true;
    assert_eq!(plan(&situation), Step::FinishJoint);
    for id in [2, 3] {
        situation.nodes.get_mut(&NodeId(id)).unwrap().liveness = Liveness::Silent;
    }
    assert_eq!(plan(&situation), Step::Wait(Wait::Quorum));
    situation.members.leader = None;
    assert_eq!(plan(&situation), Step::Wait(Wait::Leader));
}

/// Voters on 1, 3 and 4, in three zones; 2 is beside 1.
fn two_one_one() -> Situation {
    let nodes = [("eu", "a"), ("eu", "a"), ("eu", "b"), ("eu", "c")];
    let mut situation = fresh(&nodes, placed(&["eu"], SurvivalGoal::Zone), 1);
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[1, 3, 4]));
    situation
}

fn drain(situation: &mut Situation, id: u64) {
    situation.nodes.get_mut(&NodeId(id)).unwrap().duty = Duty::Draining;
}

#[test]
fn a_draining_voter_stays_while_its_place_would_be_in_a_zone_that_has_one() {
    let mut situation = two_one_one();
    let told = loss_without(&situation, NodeId(4)).unwrap().to_string();
    assert_eq!(told, "tolerance 1 node with 3 of its 3 voters, 1 zone before");
    drain(&mut situation, 4);
    assert_eq!(settle(&mut situation), Vec::new());
    assert_eq!(tolerance(&situation, &situation.members.voters), Tolerance::Zone);
    situation.nodes.insert(NodeId(5), node("eu", "c"));
    assert_eq!(loss_without(&situation, NodeId(4)), None);
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[1, 3, 5]));
}

#[test]
fn of_two_that_drain_the_one_that_can_be_replaced_goes() {
    let mut situation = two_one_one();
    assert_eq!(loss_without(&situation, NodeId(1)), None);
    drain(&mut situation, 1);
    drain(&mut situation, 4);
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[2, 3, 4]));
}

#[test]
fn a_dead_voter_is_replaced_in_a_zone_that_has_one_until_its_own_is_back() {
    let mut situation = two_one_one();
    situation.nodes.get_mut(&NodeId(4)).unwrap().liveness = Liveness::Dead;
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[1, 2, 3]));
    situation.nodes.get_mut(&NodeId(4)).unwrap().liveness = Liveness::Alive;
    settle(&mut situation);
    assert_eq!(tolerance(&situation, &situation.members.voters), Tolerance::Zone);
}

#[test]
fn of_one_voter_in_each_of_three_regions_none_moves_to_a_region_that_has_one() {
    let nodes = [("eu", "a"), ("us", "a"), ("ap", "a"), ("eu", "b")];
    let mut situation = fresh(&nodes, placed(&[], SurvivalGoal::Region), 1);
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[1, 2, 3]));
    drain(&mut situation, 3);
    assert_eq!(settle(&mut situation), Vec::new());
    assert!(loss_without(&situation, NodeId(3)).is_some());
    assert_eq!(loss_without(&situation, NodeId(4)), None, "it has no vote");
}

#[test]
fn a_node_without_a_replacement_costs_a_vote() {
    let nodes = [("eu", "a"), ("eu", "b"), ("eu", "c")];
    let mut situation = fresh(&nodes, placed(&["eu"], SurvivalGoal::Zone), 1);
    settle(&mut situation);
    let told = loss_without(&situation, NodeId(2)).unwrap().to_string();
    assert_eq!(told, "tolerance none with 2 of its 3 voters, 1 zone before");
}

#[test]
fn a_narrower_placement_takes_the_votes_of_those_outside() {
    let mut situation = fresh(&NINE, placed(&[], SurvivalGoal::Region), 1);
    settle(&mut situation);
    assert_eq!(situation.members.voters.len(), 5);
    situation.placement = placed(&["ap"], SurvivalGoal::Zone);
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[7, 8, 9]));
}

#[test]
fn a_goal_that_is_lowered_lets_the_votes_go_that_it_no_longer_takes_and_a_raised_one_takes_them_back() {
    let mut situation = fresh(&NINE, placed(&["eu", "us", "ap"], SurvivalGoal::Region), 1);
    settle(&mut situation);
    let five = situation.members.voters.clone();
    assert_eq!(five.len(), 5);
    situation.placement.survive = SurvivalGoal::Zone;
    settle_checked(&mut situation);
    let three = situation.members.voters.clone();
    assert!(three.len() == 3 && three.is_subset(&five), "{three:?} of {five:?}");
    assert_eq!(tolerance(&situation, &three), Tolerance::Zone);
    situation.placement.survive = SurvivalGoal::Region;
    settle_checked(&mut situation);
    assert_eq!(situation.members.voters.len(), 5);
    assert_eq!(tolerance(&situation, &situation.members.voters), Tolerance::Region);
}

#[test]
fn a_leader_goes_to_the_region_that_comes_to_be_preferred() {
    let mut situation = fresh(&NINE, placed(&[], SurvivalGoal::Region), 1);
    let led_from = |situation: &Situation| {
        let leader = situation.members.leader.unwrap();
        situation.nodes[&leader].region.clone()
    };
    for region in ["eu", "us", "ap"] {
        situation.placement.preferred_leader_regions = vec![region.to_owned()];
        settle_checked(&mut situation);
        assert_eq!(led_from(&situation), region);
        assert_eq!(tolerance(&situation, &situation.members.voters), Tolerance::Region);
    }
}

#[test]
fn readers_go_to_regions_without_a_voter() {
    let mut situation = fresh(&NINE, placed(&[], SurvivalGoal::Zone), 1);
    situation.placement.read_replicas = true;
    situation.placement.preferred_leader_regions = vec!["eu".to_owned()];
    settle(&mut situation);
    assert_eq!(situation.members.voters, ids(&[1, 2, 3]));
    assert_eq!(situation.members.learners, ids(&[4, 7]));
}

#[test]
fn an_impossible_placement_says_why() {
    let all: BTreeSet<String> = ["eu-central", "us"].map(str::to_owned).into();
    let nodes: BTreeMap<NodeId, PlanNode> =
        (1..).map(NodeId).zip([node("eu-central", "a"), node("eu-central", "b"), node("us", "a")]).collect();
    let refused = |placement: &Placement| check(placement, &all, &nodes).unwrap_err().to_string();
    assert_eq!(
        refused(&placed(&["eu-central"], SurvivalGoal::Zone)),
        "eu-central has 2 zones; survive=zone needs 3"
    );
    assert_eq!(
        refused(&placed(&["eu-central", "us"], SurvivalGoal::Region)),
        "eu-central, us are 2 regions with nodes; survive=region needs 3"
    );
    assert_eq!(refused(&placed(&["mars"], SurvivalGoal::Zone)), "region `mars` is not known");
    let mut preferred = placed(&["us"], SurvivalGoal::Zone);
    preferred.preferred_leader_regions = vec!["eu-central".to_owned()];
    assert_eq!(
        refused(&preferred),
        "region `eu-central` is preferred for the leader but not among the placement's regions"
    );
    assert_eq!(check(&placed(&["eu-central", "us"], SurvivalGoal::Zone), &all, &nodes), Ok(()));
}

fn any_cluster() -> impl Strategy<Value = Situation> {
    let nodes = prop::collection::vec((0..4usize, 0..3usize), 1..10);
    (nodes, any::<bool>(), prop::collection::btree_set(0..4usize, 0..4), any::<bool>()).prop_map(
        |(nodes, region_goal, only, read_replicas)| {
            const REGIONS: [&str; 4] = ["ap", "eu", "sa", "us"];
            const ZONES: [&str; 3] = ["a", "b", "c"];
            let nodes: Vec<(&str, &str)> = nodes.into_iter().map(|(r, z)| (REGIONS[r], ZONES[z])).collect();
            let mut only: Vec<&str> = only.into_iter().map(|r| REGIONS[r]).collect();
            // The first node must be allowed: the partition begins there.
            if !only.is_empty() && !only.contains(&nodes[0].0) {
                only.push(nodes[0].0);
            }
            let survive = if region_goal { SurvivalGoal::Region } else { SurvivalGoal::Zone };
            let mut placement = placed(&only, survive);
            placement.read_replicas = read_replicas;
            fresh(&nodes, placement, 1)
        },
    )
}

proptest! {
    #[test]
    fn every_cluster_comes_to_rest_inside_its_placement(
        mut situation in any_cluster(),
        fates in prop::collection::vec((0..10u64, 0..4u8), 0..6),
    ) {
        settle(&mut situation);
        for (id, fate) in fates {
            let standing = situation.members.voters.clone();
            if let Some(node) = situation.nodes.get_mut(&NodeId(id)) {
                match fate {
                    0 => node.liveness = Liveness::Silent,
                    1 => node.liveness = Liveness::Dead,
                    2 => node.duty = Duty::Draining,
                    _ => (node.liveness, node.duty) = (Liveness::Alive, Duty::Active),
                }
            }
            let alive = |id: &&NodeId| situation.nodes[id].liveness == Liveness::Alive;
            let leader = situation.members.leader;
            if leader.is_none_or(|leader| situation.nodes[&leader].liveness != Liveness::Alive) {
                // The others elect one.
                situation.members.leader = standing.iter().find(alive).copied();
            }
            for step in settle_checked(&mut situation) {
                if let Step::SetVoters(voters) = step {
                    prop_assert!(voters.len() >= standing.len(), "fewer voters: {voters:?} after {standing:?}");
                }
            }
            let members = situation.members.voters.iter().chain(&situation.members.learners);
            for id in members {
                prop_assert!(situation.placement.allows(&situation.nodes[id].region));
            }
        }
    }
}

/// As [`settle`], and no step adds, or gives a vote to, a node that must not have one.
fn settle_checked(situation: &mut Situation) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..100 {
        let step = plan(situation);
        match &step {
            Step::Nothing | Step::Wait(_) => return steps,
            Step::AddLearner(id) => assert!(situation.takes(*id)),
            Step::SetVoters(voters) => {
                for fresh in voters.difference(&situation.members.voters) {
                    assert!(situation.alive(*fresh) && situation.members.caught_up.contains(fresh));
                }
                let before = Strength::of(situation, &situation.members.voters);
                let after = Strength::of(situation, voters);
                assert!(!after.is_below(before), "{after:?} of {voters:?} after {before:?}");
            }
            Step::FinishJoint | Step::RemoveLearner(_) | Step::TransferLeader(_) => {}
        }
        carry_out(situation, &step);
        steps.push(step);
    }
    panic!("no rest after 100 steps: {:?}", &steps[90..]);
}
