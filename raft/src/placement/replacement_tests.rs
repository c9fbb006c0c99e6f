//! The dead are replaced also where the goal cannot be had: over nine nodes, and over random ones.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::plan_tests::{NINE, fresh, placed, settle};
use super::survival::{Strength, stands};
use super::*;
use crate::NodeId;

/// The nodes of a region are dead, and of the other voters one leads.
fn lose(situation: &mut Situation, region: &str) {
    for node in situation.nodes.values_mut().filter(|node| node.region == region) {
        node.liveness = Liveness::Dead;
    }
    elect(situation);
}

fn elect(situation: &mut Situation) {
    let alive = |id: &NodeId| situation.nodes[id].liveness == Liveness::Alive;
    if !situation.members.leader.is_some_and(|leader| alive(&leader)) {
        situation.members.leader = situation.members.voters.iter().copied().find(alive);
    }
}

fn voters_in(situation: &Situation, region: &str) -> usize {
    situation.members.voters.iter().filter(|id| situation.nodes[*id].region == region).count()
}

/// Nine nodes with the votes 2-2-1, and a region with that many votes.
fn over_three_regions(votes: usize) -> (Situation, &'static str) {
    let mut situation = fresh(&NINE, placed(&["eu", "us", "ap"], SurvivalGoal::Region), 1);
    settle(&mut situation);
    let region = ["eu", "us", "ap"].into_iter().find(|region| voters_in(&situation, region) == votes);
    (situation, region.unwrap())
}

#[test]
fn the_votes_of_a_region_that_stays_away_go_to_others_until_it_is_back() {
    for votes in [1, 2] {
        let (mut situation, region) = over_three_regions(votes);
        lose(&mut situation, region);
        settle(&mut situation);
        let voters = situation.members.voters.clone();
        assert_eq!(voters.len(), 5, "without {region}");
        assert!(voters.iter().all(|id| stands(&situation, *id)), "{voters:?} without {region}");
        assert_eq!(tolerance(&situation, &voters), Tolerance::Zone, "{voters:?} without {region}");
        for node in situation.nodes.values_mut() {
            node.liveness = Liveness::Alive;
        }
        settle(&mut situation);
        assert_eq!(tolerance(&situation, &situation.members.voters), Tolerance::Region);
    }
}

#[test]
fn as_many_of_the_dead_are_replaced_as_there_are_nodes_for() {
    let (mut situation, region) = over_three_regions(2);
    let spare = situation
        .nodes
        .iter()
        .find(|(id, node)| node.region != region && !situation.members.voters.contains(*id));
    let spare = *spare.unwrap().0;
    let voters = situation.members.voters.clone();
    situation.nodes.retain(|id, node| node.region == region || *id == spare || voters.contains(id));
    lose(&mut situation, region);
    settle(&mut situation);
    let now = &situation.members.voters;
    assert!(now.len() == 5 && now.contains(&spare), "{now:?} with {spare:?}");
    assert_eq!(now.iter().filter(|id| stands(&situation, **id)).count(), 4);
}

/// Every set of `count` of `nodes`.
fn sets_of(nodes: &[NodeId], count: usize) -> impl Iterator<Item = BTreeSet<NodeId>> {
    let masks = (0..1_u32 << nodes.len()).filter(move |mask| mask.count_ones() as usize == count);
    masks.map(move |mask| {
        let taken = nodes.iter().enumerate().filter(|(at, _)| mask & (1_u32 << *at) != 0);
        taken.map(|(_, id)| *id).collect()
    })
}

fn any_situation() -> impl Strategy<Value = Situation> {
    const REGIONS: [&str; 6] = ["ap", "eu", "me", "sa", "us", "za"];
    const ZONES: [&str; 3] = ["a", "b", "c"];
    let nodes =
        (3..=6_usize).prop_flat_map(|regions| prop::collection::vec((0..regions, 0..3_usize), 5..=10));
    (nodes, prop::bool::weighted(0.8)).prop_map(|(nodes, region_goal)| {
        let nodes: Vec<(&str, &str)> = nodes.into_iter().map(|(r, z)| (REGIONS[r], ZONES[z])).collect();
        let survive = if region_goal { SurvivalGoal::Region } else { SurvivalGoal::Zone };
        fresh(&nodes, placed(&[], survive), 1)
    })
}

proptest! {
    #[test]
    fn at_rest_no_voter_is_dead_and_no_other_voters_would_survive_more_where_nodes_suffice(
        mut situation in any_situation(),
        fates in prop::collection::vec((1..=10_u64, 0..5_u8), 1..10),
    ) {
        settle(&mut situation);
        for (id, fate) in fates {
            if let Some(node) = situation.nodes.get_mut(&NodeId(id)) {
                match fate {
                    0 | 1 => node.liveness = Liveness::Dead,
                    2 => node.liveness = Liveness::Silent,
                    3 => node.duty = Duty::Draining,
                    _ => (node.liveness, node.duty) = (Liveness::Alive, Duty::Active),
                }
            }
            elect(&mut situation);
            settle(&mut situation);
        }
        if plan(&situation) != Step::Nothing {
            return Ok(());
        }
        let members = &situation.members;
        let is_member = |id: &NodeId| members.voters.contains(id) || members.learners.contains(id);
        let usable: Vec<NodeId> = situation.nodes.keys().copied()
            .filter(|id| situation.takes(*id) || (is_member(id) && situation.keeps(*id)))
            .collect();
        if usable.len() < members.voters.len() {
            return Ok(());
        }
        for id in &members.voters {
            prop_assert!(stands(&situation, *id), "{id:?} votes in {:?}", members.voters);
        }
        let mut unplaced = situation.clone();
        unplaced.members.voters.clear();
        prop_assert!(members.voters.len() >= target(&unplaced).voters.len());
        let survived = Strength::of(&situation, &members.voters);
        for others in sets_of(&usable, members.voters.len()) {
            let possible = Strength::of(&situation, &others);
            prop_assert!(!possible.survives_more_than(survived), "{others:?} rather than {:?}", members.voters);
        }
    }
}

/// One voter in each of three zones, and no other node.
fn three_zones() -> Situation {
    let mut situation = fresh(&[("eu", "a"), ("eu", "b"), ("eu", "c")], placed(&[], SurvivalGoal::Zone), 1);
    settle(&mut situation);
    situation
}

#[test]
fn what_can_be_lost_now_is_told_by_the_voters_that_answer() {
    let situation = three_zones();
    let voters = &situation.members.voters;
    let shown = |answering: &[u64]| {
        let answering: BTreeSet<NodeId> = answering.iter().copied().map(NodeId).collect();
        survival_of(&situation, voters, &answering).to_string()
    };
    assert_eq!(shown(&[1, 2, 3]), "1 zone");
    assert_eq!(shown(&[1, 3]), "none (whole: 1 zone)");
    assert_eq!(shown(&[3]), "none (whole: 1 zone)", "not even a quorum");
    assert_eq!(shown(&[1, 3, 9]), "none (whole: 1 zone)", "node 9 has no vote");
}

#[test]
fn a_decommissioned_voter_helps_nothing_through_also_while_it_answers() {
    let mut situation = three_zones();
    situation.nodes.get_mut(&NodeId(2)).unwrap().duty = Duty::Decommissioned;
    let voters = &situation.members.voters;
    assert_eq!(survival_of(&situation, voters, voters).to_string(), "none");
}

#[test]
fn of_five_voters_four_survive_a_zone_in_place_of_a_region() {
    let (situation, region) = over_three_regions(1);
    let voters = &situation.members.voters;
    let answering = |without: &str| -> BTreeSet<NodeId> {
        voters.iter().copied().filter(|id| situation.nodes[id].region != without).collect()
    };
    assert_eq!(survival_of(&situation, voters, voters).to_string(), "1 region");
    assert_eq!(survival_of(&situation, voters, &answering(region)).to_string(), "1 zone (whole: 1 region)");
}
