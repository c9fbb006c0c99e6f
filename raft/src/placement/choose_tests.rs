//! How many vote in which region, for regions of one node and more.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::plan_tests::{fresh, placed, settle};
use super::*;
use crate::NodeId;

static REGIONS: [&str; 6] = ["ap", "eu", "me", "sa", "us", "za"];
static ZONES: [&str; 3] = ["a", "b", "c"];

/// A partition that is to survive a region, begun on the first of so many nodes in each region.
fn over(sizes: &[usize]) -> Situation {
    let mut nodes: Vec<(&str, &str)> = Vec::new();
    for (region, size) in REGIONS.iter().zip(sizes) {
        nodes.extend(ZONES.iter().take(*size).map(|zone| (*region, *zone)));
    }
    fresh(&nodes, placed(&[], SurvivalGoal::Region), 1)
}

/// The voters in each region that has one.
fn votes(situation: &Situation) -> BTreeMap<&str, usize> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for id in &situation.members.voters {
        *votes.entry(situation.nodes[id].region.as_str()).or_default() += 1;
    }
    votes
}

/// The same without the regions' names, the most first.
fn layout(situation: &Situation) -> Vec<usize> {
    let mut counts: Vec<usize> = votes(situation).into_values().collect();
    counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
    counts
}

fn voters(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

#[test]
fn five_vote_wherever_no_region_needs_more_than_two_of_them_and_else_three() {
    let cases: [(&[usize], &[usize], &str); 14] = [
        (&[1, 1, 1], &[1, 1, 1], "1 node"),
        (&[2, 1, 1], &[1, 1, 1], "1 node"),
        (&[3, 1, 1], &[1, 1, 1], "1 node"),
        (&[1, 1, 1, 1], &[1, 1, 1], "1 node"),
        (&[2, 2, 1], &[2, 2, 1], "1 region"),
        (&[1, 2, 3], &[2, 2, 1], "1 region"),
        (&[2, 2, 2], &[2, 2, 1], "1 region"),
        (&[3, 3, 3], &[2, 2, 1], "1 region"),
        (&[2, 1, 1, 1], &[2, 1, 1, 1], "1 region"),
        (&[1, 1, 1, 3], &[2, 1, 1, 1], "1 region"),
        (&[1, 2, 1, 2], &[2, 2, 1], "1 region"),
        (&[1, 1, 1, 1, 1], &[1, 1, 1, 1, 1], "1 region"),
        (&[1, 1, 1, 1, 1, 1], &[1, 1, 1, 1, 1], "1 region"),
        (&[1, 1, 1, 1, 2], &[2, 1, 1, 1], "1 region"),
    ];
    for (nodes, wanted, said) in cases {
        let mut situation = over(nodes);
        settle(&mut situation);
        assert_eq!(layout(&situation), wanted, "nodes {nodes:?}");
        assert_eq!(tolerance(&situation, &situation.members.voters).to_string(), said, "nodes {nodes:?}");
        assert_eq!(settle(&mut situation), Vec::new(), "nodes {nodes:?}");
    }
}

#[test]
fn the_pair_leads_unless_another_region_is_preferred_which_then_votes() {
    let mut situation = over(&[1, 1, 1, 1, 2]);
    settle(&mut situation);
    let led_from = |situation: &Situation| {
        let leader = situation.members.leader.unwrap();
        situation.nodes[&leader].region.clone()
    };
    assert_eq!(led_from(&situation), "us");
    let without = REGIONS[..4].iter().find(|region| !votes(&situation).contains_key(**region)).unwrap();
    situation.placement.preferred_leader_regions = vec![(*without).to_owned()];
    settle(&mut situation);
    assert_eq!(layout(&situation), [2, 1, 1, 1]);
    assert_eq!(led_from(&situation), *without);
}

#[test]
fn votes_are_added_as_regions_come_and_move_no_more_than_a_pair_takes() {
    let mut situation = over(&[1, 1, 1, 1, 1, 1]);
    let later = situation.nodes.split_off(&NodeId(4));
    settle(&mut situation);
    assert_eq!(situation.members.voters, voters(&[1, 2, 3]));
    for (id, node) in later {
        situation.nodes.insert(id, node);
        settle(&mut situation);
        let wanted = if id < NodeId(5) { voters(&[1, 2, 3]) } else { voters(&[1, 2, 3, 4, 5]) };
        assert_eq!(situation.members.voters, wanted, "after {id:?}");
    }
    let second = PlanNode { zone: "b".to_owned(), ..situation.nodes[&NodeId(2)].clone() };
    situation.nodes.insert(NodeId(7), second);
    settle(&mut situation);
    assert_eq!(situation.members.voters, voters(&[1, 2, 3, 4, 7]));
}

#[test]
fn the_vote_of_a_dead_region_goes_to_a_sixth_for_good_and_stays_where_there_is_none() {
    let mut situation = over(&[1, 1, 1, 1, 1]);
    settle(&mut situation);
    let told = loss_without(&situation, NodeId(3)).unwrap().to_string();
    assert_eq!(told, "tolerance 1 region with 4 of its 5 voters, 1 region before");
    situation.nodes.get_mut(&NodeId(3)).unwrap().liveness = Liveness::Dead;
    assert_eq!(settle(&mut situation), Vec::new());
    assert_eq!(situation.members.voters, voters(&[1, 2, 3, 4, 5]));

    let sixth = PlanNode {
        region: "za".to_owned(),
        liveness: Liveness::Alive,
        ..situation.nodes[&NodeId(3)].clone()
    };
    situation.nodes.insert(NodeId(6), sixth);
    settle(&mut situation);
    assert_eq!(situation.members.voters, voters(&[1, 2, 4, 5, 6]));
    situation.nodes.get_mut(&NodeId(3)).unwrap().liveness = Liveness::Alive;
    assert_eq!(settle(&mut situation), Vec::new());
}

proptest! {
    #[test]
    fn over_three_regions_or_more_the_loss_of_any_one_leaves_a_majority(
        sizes in prop::collection::vec(0..4_usize, 3..=6),
    ) {
        let with_nodes = sizes.iter().filter(|size| **size > 0).count();
        prop_assume!(with_nodes >= 3);
        let mut situation = over(&sizes);
        settle(&mut situation);
        let total = situation.members.voters.len();
        let seats: usize = sizes.iter().map(|size| (*size).min(2)).sum();
        prop_assert_eq!(total, if seats >= 5 { 5 } else { 3 });
        for (region, lost) in votes(&situation) {
            prop_assert!((total - lost) * 2 > total, "{lost} of {total} voters are in {region}");
        }
    }
}
