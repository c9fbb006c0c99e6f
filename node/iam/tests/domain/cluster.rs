//! The directory's own streams: joining, draining, placing.

use std::time::Duration;

use domicile_iam::commands::{
    AddRegionCertificate, ChangePlacement, ChooseFounder, ClusterRefusal, CreateJoinToken, RecordMembers,
    RedeemJoinToken, RemoveRegionCertificate, RequestPartition, RevokeJoinToken, SetNodeState, UpdateCluster,
    UpdateNode,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::model::{MemberHints, NodeState, PartitionState};
use domicile_iam::query::Consistency::Local;
use domicile_iam::service::Iam;
use domicile_iam::streams::cluster::SettingsPatch;
use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use domicile_raft::{NodeId, PartitionId};

use crate::cluster_world::{World, addresses, ctx, init, pinned};

pub fn refusal<T: std::fmt::Debug>(outcome: Result<T, ExecuteError<ClusterRefusal>>) -> ClusterRefusal {
    match outcome {
        Err(ExecuteError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

pub fn token(secret: u8, region: &str, new_region: bool) -> CreateJoinToken {
    let region = region.to_owned();
    CreateJoinToken { secret_sha256: [secret; 32], region, new_region, lifetime_ms: 600_000 }
}

pub fn join(secret: u8, joiner: u8, region: &str, zone: &str) -> RedeemJoinToken {
    RedeemJoinToken {
        secret_sha256: [secret; 32],
        joiner: [joiner; 32],
        region: region.to_owned(),
        zone: zone.to_owned(),
        jurisdiction: None,
        certificate: None,
        addresses: addresses(),
        version: "0.1.0".to_owned(),
    }
}

pub async fn joined(iam: &Iam, secret: u8, region: &str, zone: &str) -> NodeId {
    iam.directory(&ctx(), &token(secret, region, false)).await.unwrap();
    iam.directory(&ctx(), &join(secret, secret, region, zone)).await.unwrap().reply
}

#[tokio::test]
async fn a_cluster_is_initialised_once_and_may_be_again_after_a_crash() {
    let world = World::new();
    let early = world.directory.directory(&ctx(), &token(1, "eu", false)).await;
    assert!(early.is_err(), "no cluster yet");
    assert_eq!(world.directory.directory(&ctx(), &init()).await.unwrap().reply, NodeId(1));
    assert_eq!(world.directory.directory(&ctx(), &init()).await.unwrap().reply, NodeId(1));
    let other = domicile_iam::commands::InitCluster { cluster_id: "other".to_owned(), ..init() };
    let refused = refusal(world.directory.directory(&ctx(), &other).await);
    assert_eq!(refused, ClusterRefusal::AlreadyInitialised);
    let partitions = world.edge.partitions(&Local).await.unwrap();
    assert_eq!((partitions[0].id, partitions[0].state), (PartitionId::DIRECTORY, PartitionState::Ready));
    assert_eq!(world.edge.regions(&Local).await.unwrap()[0].certificates, [vec![1; 40]]);
    assert_eq!(world.edge.cluster(&Local).await.unwrap().unwrap().cluster_id, "c0ffee");
}

#[tokio::test]
async fn a_join_token_gives_one_node_one_id_that_never_comes_again() {
    let world = World::initialised().await;
    let iam = &world.edge;
    iam.directory(&ctx(), &token(1, "eu", false)).await.unwrap();
    let second = iam.directory(&ctx(), &join(1, 1, "eu", "b")).await.unwrap().reply;
    assert_eq!(second, NodeId(2));
    assert_eq!(iam.directory(&ctx(), &join(1, 1, "eu", "b")).await.unwrap().reply, second, "asked again");
    for other in [join(1, 9, "eu", "b"), join(1, 1, "eu", "a")] {
        assert_eq!(refusal(iam.directory(&ctx(), &other).await), ClusterRefusal::TokenUsed);
    }
    let started =
        UpdateNode { node: second, addresses: addresses(), version: "1".to_owned(), boot_counter: 1 };
    world.ask_as(2, "eu");
    iam.directory(&ctx(), &started).await.unwrap();
    world.ask_as(1, "eu");
    let spent = refusal(iam.directory(&ctx(), &join(1, 1, "eu", "b")).await);
    assert_eq!(spent, ClusterRefusal::TokenUsed, "the node has started");
    world.voted_by(1).await;
    let gone = SetNodeState { node: second, state: NodeState::Decommissioned };
    iam.directory(&ctx(), &gone).await.unwrap();
    assert_eq!(joined(iam, 2, "eu", "b").await, NodeId(3));
    let back = SetNodeState { node: second, state: NodeState::Active };
    assert_eq!(refusal(iam.directory(&ctx(), &back).await), ClusterRefusal::NodeGone);
    let ids: Vec<_> = iam.nodes(&Local).await.unwrap().iter().map(|node| (node.id.0, node.state)).collect();
    assert_eq!(ids, [(1, NodeState::Active), (2, NodeState::Decommissioned), (3, NodeState::Active)]);
}

#[tokio::test]
async fn bad_expired_revoked_and_foreign_tokens_are_refused_with_the_reason() {
    let world = World::initialised().await;
    let iam = &world.edge;
    assert_eq!(refusal(iam.directory(&ctx(), &join(7, 1, "eu", "a")).await), ClusterRefusal::TokenUnknown);
    iam.directory(&ctx(), &token(1, "eu", false)).await.unwrap();
    let foreign = refusal(iam.directory(&ctx(), &join(1, 1, "us", "a")).await);
    assert_eq!(foreign.to_string(), "the join token is for region `eu`, not `us`");
    let listed = iam.join_tokens(&Local).await.unwrap();
    iam.directory(&ctx(), &RevokeJoinToken { id: listed[0].id }).await.unwrap();
    assert_eq!(refusal(iam.directory(&ctx(), &join(1, 1, "eu", "a")).await), ClusterRefusal::TokenUnknown);
    assert_eq!(iam.join_tokens(&Local).await.unwrap(), []);
    iam.directory(&ctx(), &token(2, "eu", false)).await.unwrap();
    world.clock.advance(Duration::from_mins(10));
    assert_eq!(refusal(iam.directory(&ctx(), &join(2, 1, "eu", "a")).await), ClusterRefusal::TokenExpired);
    let unknown = refusal(iam.directory(&ctx(), &token(3, "mars", false)).await);
    assert_eq!(unknown.to_string(), "no such region `mars`");
}

#[tokio::test]
async fn a_new_region_comes_with_its_first_node_and_its_certificate() {
    let world = World::initialised().await;
    let iam = &world.edge;
    iam.directory(&ctx(), &token(1, "us", true)).await.unwrap();
    assert!(matches!(
        refusal(iam.directory(&ctx(), &join(1, 1, "us", "a")).await),
        ClusterRefusal::Invalid { .. }
    ));
    let whole = RedeemJoinToken {
        jurisdiction: Some("us".to_owned()),
        certificate: Some(vec![2; 40].into()),
        ..join(1, 1, "us", "a")
    };
    assert_eq!(iam.directory(&ctx(), &whole).await.unwrap().reply, NodeId(2));
    assert_eq!(iam.directory(&ctx(), &whole).await.unwrap().reply, NodeId(2), "asked again");
    let swapped = RedeemJoinToken { certificate: Some(vec![3; 40].into()), ..whole };
    assert_eq!(refusal(iam.directory(&ctx(), &swapped).await), ClusterRefusal::TokenUsed);
    let names: Vec<_> = iam.regions(&Local).await.unwrap().into_iter().map(|region| region.name).collect();
    assert_eq!(names, ["eu", "us"]);
    let again = refusal(iam.directory(&ctx(), &token(2, "us", true)).await);
    assert_eq!(again, ClusterRefusal::RegionExists("us".to_owned()));
}

#[tokio::test]
async fn a_region_trusts_a_new_certificate_beside_the_old_and_never_none() {
    let world = World::initialised().await;
    let iam = &world.edge;
    let add = AddRegionCertificate { region: "eu".to_owned(), certificate: vec![2; 40] };
    iam.directory(&ctx(), &add).await.unwrap();
    iam.directory(&ctx(), &add).await.unwrap();
    assert_eq!(iam.regions(&Local).await.unwrap()[0].certificates, [vec![1; 40], vec![2; 40]]);
    let hash = |der: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        <[u8; 32]>::try_from(digest.as_ref()).unwrap()
    };
    let remove = |der: u8| RemoveRegionCertificate { region: "eu".to_owned(), sha256: hash(&[der; 40]) };
    iam.directory(&ctx(), &remove(1)).await.unwrap();
    assert!(matches!(refusal(iam.directory(&ctx(), &remove(2)).await), ClusterRefusal::Invalid { .. }));
}

#[tokio::test]
async fn an_impossible_placement_is_refused_with_the_reason_and_equal_ones_share_a_partition() {
    let world = World::initialised().await;
    let iam = &world.edge;
    joined(iam, 1, "eu", "b").await;
    let wanted = Placement { preferred_leader_regions: vec!["eu".to_owned()], ..pinned() };
    let request = |placement: &Placement| RequestPartition {
        placement: placement.clone(),
        must_be_possible: true,
        by_default: false,
    };
    let refused = refusal(iam.directory(&ctx(), &request(&wanted)).await);
    assert_eq!(refused.to_string(), "eu has 2 zones; survive=zone needs 3");
    let unknown = Placement { regions: Regions::Only(["mars".to_owned()].into()), ..pinned() };
    let refused = refusal(iam.directory(&ctx(), &request(&unknown)).await);
    assert_eq!(refused.to_string(), "region `mars` is not known");
    let region = Placement { regions: Regions::Any, survive: SurvivalGoal::Region, ..pinned() };
    assert!(matches!(refusal(iam.directory(&ctx(), &request(&region)).await), ClusterRefusal::Impossible(_)));
    joined(iam, 2, "eu", "c").await;
    let first = iam.directory(&ctx(), &request(&wanted)).await.unwrap().reply;
    assert_eq!((first.partition, first.state), (PartitionId(2), PartitionState::Wanted));
    assert_eq!(iam.directory(&ctx(), &request(&wanted)).await.unwrap().reply, first);
}

#[tokio::test]
async fn a_placement_that_a_partition_has_and_the_nodes_do_not_give_is_refused_to_who_asks_for_it() {
    let world = World::initialised().await;
    let iam = &world.edge;
    let request = |by_default| RequestPartition { placement: pinned(), must_be_possible: true, by_default };
    // The founding partition has it, on the one node there is.
    let refused = refusal(iam.directory(&ctx(), &request(false)).await);
    assert_eq!(refused.to_string(), "eu has 1 zone; survive=zone needs 3");
    let taken = iam.directory(&ctx(), &request(true)).await.unwrap().reply;
    assert_eq!((taken.partition, taken.state), (PartitionId(1), PartitionState::Ready));
    // Only what is the default is had by default.
    let other = Placement { regions: Regions::Any, ..pinned() };
    let other = RequestPartition { placement: other, ..request(true) };
    assert!(matches!(refusal(iam.directory(&ctx(), &other).await), ClusterRefusal::Impossible(_)));
    for (secret, zone) in [(1, "b"), (2, "c")] {
        joined(iam, secret, "eu", zone).await;
    }
    let asked = iam.directory(&ctx(), &request(false)).await.unwrap().reply;
    assert_eq!(asked, taken);
    let gone = SetNodeState { node: NodeId(3), state: NodeState::Decommissioned };
    iam.directory(&ctx(), &gone).await.unwrap();
    let refused = refusal(iam.directory(&ctx(), &request(false)).await);
    assert_eq!(refused.to_string(), "eu has 2 zones; survive=zone needs 3");
}

#[tokio::test]
async fn what_the_controller_reports_is_fenced_by_the_placements_generation() {
    let world = World::initialised().await;
    let iam = &world.edge;
    for (secret, zone) in [(1, "b"), (2, "c")] {
        joined(iam, secret, "eu", zone).await;
    }
    let partition = PartitionId(1);
    let placement = Placement { read_replicas: true, ..pinned() };
    let change = ChangePlacement { partition, generation: 1, placement };
    iam.directory(&ctx(), &change).await.unwrap();
    iam.directory(&ctx(), &change).await.unwrap();
    let members = MemberHints { voters: [NodeId(1)].into(), ..MemberHints::default() };
    let late = RecordMembers { partition, generation: 1, members: members.clone() };
    let stale = refusal(iam.directory(&ctx(), &late).await);
    assert_eq!(stale, ClusterRefusal::StaleGeneration { current: 2 });
    iam.directory(&ctx(), &RecordMembers { generation: 2, ..late }).await.unwrap();
    let seen = iam.partitions(&Local).await.unwrap();
    assert_eq!((seen[1].generation, &seen[1].members), (2, &members));
}

#[tokio::test]
async fn the_founder_that_was_chosen_first_stays_the_founder() {
    let world = World::initialised().await;
    let iam = &world.edge;
    for (secret, zone) in [(1, "b"), (2, "c")] {
        joined(iam, secret, "eu", zone).await;
    }
    let wanted = Placement { preferred_leader_regions: vec!["eu".to_owned()], ..pinned() };
    let request = RequestPartition { placement: wanted, must_be_possible: true, by_default: false };
    let partition = iam.directory(&ctx(), &request).await.unwrap().reply.partition;
    let choose = |node| ChooseFounder { partition, generation: 1, node: NodeId(node) };
    let stale = ChooseFounder { generation: 7, ..choose(2) };
    let stale = refusal(iam.directory(&ctx(), &stale).await);
    assert_eq!(stale, ClusterRefusal::StaleGeneration { current: 1 });
    assert_eq!(iam.directory(&ctx(), &choose(2)).await.unwrap().reply, NodeId(2));
    assert_eq!(iam.directory(&ctx(), &choose(3)).await.unwrap().reply, NodeId(2), "asked by another");
    let members = MemberHints { voters: [NodeId(1), NodeId(3)].into(), ..MemberHints::default() };
    iam.directory(&ctx(), &RecordMembers { partition, generation: 1, members }).await.unwrap();
    assert_eq!(iam.directory(&ctx(), &choose(1)).await.unwrap().reply, NodeId(2), "members do not found");
    let seen = iam.partitions(&Local).await.unwrap();
    assert_eq!(seen.last().unwrap().founder, Some(NodeId(2)));
}

#[tokio::test]
async fn a_node_that_a_quorum_needs_cannot_be_decommissioned() {
    let world = World::initialised().await;
    let iam = &world.edge;
    for (secret, zone) in [(1, "b"), (2, "c"), (3, "d")] {
        joined(iam, secret, "eu", zone).await;
    }
    let partition = PartitionId(1);
    let votes = |ids: [u64; 3]| RecordMembers {
        partition,
        generation: 1,
        members: MemberHints { voters: ids.map(NodeId).into(), ..MemberHints::default() },
    };
    let gone = |node| SetNodeState { node: NodeId(node), state: NodeState::Decommissioned };
    iam.directory(&ctx(), &votes([1, 2, 3])).await.unwrap();
    iam.directory(&ctx(), &gone(2)).await.unwrap();
    let refused = refusal(iam.directory(&ctx(), &gone(3)).await);
    assert_eq!(refused, ClusterRefusal::QuorumNeedsIt { partition: 1 });
    iam.directory(&ctx(), &votes([1, 3, 4])).await.unwrap();
    iam.directory(&ctx(), &gone(3)).await.unwrap();
}

#[tokio::test]
async fn a_node_says_where_it_is_at_each_start_and_the_last_one_cannot_be_drained() {
    let world = World::initialised().await;
    let iam = &world.edge;
    let update = |boot_counter| UpdateNode {
        node: NodeId(1),
        addresses: addresses(),
        version: "0.2.0".to_owned(),
        boot_counter,
    };
    iam.directory(&ctx(), &update(5)).await.unwrap();
    assert_eq!(refusal(iam.directory(&ctx(), &update(4)).await), ClusterRefusal::OldBoot { known: 5 });
    let drain = SetNodeState { node: NodeId(1), state: NodeState::Draining };
    assert_eq!(refusal(iam.directory(&ctx(), &drain).await), ClusterRefusal::LastNode);
    joined(iam, 1, "eu", "b").await;
    iam.directory(&ctx(), &drain).await.unwrap();
    let node = iam.node(NodeId(1), &Local).await.unwrap().unwrap();
    assert_eq!((node.state, node.version.as_str(), node.boot_counter), (NodeState::Draining, "0.2.0", 5));
    let patch = SettingsPatch { dead_after_ms: Some(60_000), ..SettingsPatch::default() };
    iam.directory(&ctx(), &UpdateCluster { patch, if_revision: None }).await.unwrap();
    assert_eq!(iam.cluster(&Local).await.unwrap().unwrap().dead_after_ms, 60_000);
    let patch = SettingsPatch { dead_after_ms: Some(1), ..SettingsPatch::default() };
    assert!(matches!(
        refusal(iam.directory(&ctx(), &UpdateCluster { patch, if_revision: None }).await),
        ClusterRefusal::Invalid { .. }
    ));
}
