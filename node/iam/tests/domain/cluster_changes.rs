//! What operators change of a cluster that runs: its settings, a region's law, a partition's placement.

use std::time::Duration;

use domicile_iam::commands::{
    ChangePlacement, ClusterRefusal, ExpireReservation, ReadyPartition, RedeemJoinToken, RequestPartition,
    ReserveTenant, SetJurisdiction, TenantRefusal, UpdateCluster,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{Id, TenantId};
use domicile_iam::model::MemberHints;
use domicile_iam::query::Consistency::Local;
use domicile_iam::service::Iam;
use domicile_iam::streams::cluster::SettingsPatch;
use domicile_raft::PartitionId;
use domicile_raft::placement::{Placement, SurvivalGoal};

use crate::cluster::{join, joined, refusal, token};
use crate::cluster_world::{World, anywhere, ctx, keyed, pinned};

/// A region with one node.
async fn with_region(iam: &Iam, secret: u8, name: &str) {
    iam.directory(&ctx(), &token(secret, name, true)).await.unwrap();
    let whole = RedeemJoinToken {
        jurisdiction: Some(name.to_owned()),
        certificate: Some(vec![secret; 40].into()),
        ..join(secret, secret, name, "a")
    };
    iam.directory(&ctx(), &whole).await.unwrap();
}

#[tokio::test]
async fn settings_are_changed_at_the_revision_that_was_read_and_once_for_a_key() {
    let world = World::initialised().await;
    let iam = &world.edge;
    let read = || async { iam.cluster(&Local).await.unwrap().unwrap() };
    let first = read().await;
    let patch = SettingsPatch {
        name: Some("Other".to_owned()),
        dead_after_ms: Some(5_000),
        ..SettingsPatch::default()
    };
    let update = UpdateCluster { patch, if_revision: Some(first.revision) };
    iam.directory(&keyed("k"), &update).await.unwrap();
    let second = read().await;
    assert_eq!((second.name.as_str(), second.dead_after_ms), ("Other", 5_000));
    assert!(iam.directory(&keyed("k"), &update).await.unwrap().replayed);
    let stale = refusal(iam.directory(&ctx(), &update).await);
    assert_eq!(stale, ClusterRefusal::Stale { current: second.revision });
    // What is so already is no change.
    iam.directory(&ctx(), &UpdateCluster { if_revision: None, ..update }).await.unwrap();
    assert_eq!(read().await, second);
}

#[tokio::test]
async fn a_default_placement_that_the_nodes_cannot_give_is_refused_with_the_reason() {
    let world = World::initialised().await;
    let iam = &world.edge;
    let by_default = |placement: Placement| UpdateCluster {
        patch: SettingsPatch { default_placement: Some(placement), ..SettingsPatch::default() },
        if_revision: None,
    };
    let refused = refusal(iam.directory(&ctx(), &by_default(anywhere())).await);
    assert_eq!(refused.to_string(), "eu has 1 zone; survive=zone needs 3");
    // It is the default already, for the nodes that are to come.
    iam.directory(&ctx(), &by_default(pinned())).await.unwrap();
    for (secret, zone) in [(1, "b"), (2, "c")] {
        joined(iam, secret, "eu", zone).await;
    }
    iam.directory(&ctx(), &by_default(anywhere())).await.unwrap();
    assert_eq!(iam.cluster(&Local).await.unwrap().unwrap().default_placement, anywhere());
    let region = Placement { survive: SurvivalGoal::Region, ..anywhere() };
    let refused = refusal(iam.directory(&ctx(), &by_default(region)).await);
    assert_eq!(refused.to_string(), "eu is 1 region with nodes; survive=region needs 3");
}

#[tokio::test]
async fn a_regions_law_is_what_an_operator_said_last() {
    let world = World::initialised().await;
    let iam = &world.edge;
    let law = |region: &str, jurisdiction: &str| SetJurisdiction {
        region: region.to_owned(),
        jurisdiction: jurisdiction.to_owned(),
    };
    for _ in 0..2 {
        iam.directory(&ctx(), &law("eu", "de")).await.unwrap();
    }
    let region = iam.regions(&Local).await.unwrap().remove(0);
    assert_eq!((region.jurisdiction.as_str(), region.revision), ("de", 2), "said twice it is said once");
    let unknown = refusal(iam.directory(&ctx(), &law("mars", "de")).await);
    assert_eq!(unknown, ClusterRefusal::NotFound("region".to_owned()));
    let malformed = refusal(iam.directory(&ctx(), &law("eu", "D E")).await);
    assert!(matches!(malformed, ClusterRefusal::Invalid { .. }), "{malformed:?}");
}

#[tokio::test]
async fn a_partition_comes_to_survive_less_only_where_nobody_inside_was_promised_more() {
    let world = World::initialised().await;
    let iam = &world.edge;
    for (secret, name) in [(1, "us"), (2, "ap")] {
        with_region(iam, secret, name).await;
    }
    let region = Placement { survive: SurvivalGoal::Region, ..anywhere() };
    let request = RequestPartition { placement: region.clone(), must_be_possible: true, by_default: false };
    let partition = iam.directory(&ctx(), &request).await.unwrap().reply.partition;
    let ready = ReadyPartition { partition, generation: 1, members: MemberHints::default() };
    iam.directory(&ctx(), &ready).await.unwrap();
    let reserve = |id: u8, slug: &str, placement: &Placement| ReserveTenant {
        tenant: TenantId::from_bytes([id; 16]),
        slug: slug.to_owned(),
        home: partition,
        placement: Some(placement.clone()),
    };
    let change = |generation, placement| ChangePlacement { partition, generation, placement };
    iam.directory(&ctx(), &reserve(8, "kept", &region)).await.unwrap();
    let refused = refusal(iam.directory(&ctx(), &change(1, anywhere())).await);
    assert_eq!(refused.to_string(), "tenant `kept` was promised to survive the loss of a region");
    // Where the leader should be is a wish, and replicas to read are more than was asked for.
    let wished =
        Placement { preferred_leader_regions: vec!["us".to_owned()], read_replicas: true, ..region.clone() };
    iam.directory(&ctx(), &change(1, wished.clone())).await.unwrap();
    let refused = refusal(iam.directory(&ctx(), &change(2, region.clone())).await);
    assert_eq!(refused.to_string(), "tenant `kept` was promised read replicas", "it is being made");

    world.clock.advance(Duration::from_mins(2));
    let expire = ExpireReservation { tenant: TenantId::from_bytes([8; 16]) };
    assert!(iam.directory(&ctx(), &expire).await.unwrap().reply, "the name is free");
    iam.directory(&ctx(), &change(2, anywhere())).await.unwrap();
    let late = iam.directory(&ctx(), &reserve(9, "late", &region)).await;
    assert!(matches!(late, Err(ExecuteError::Refused(TenantRefusal::Placement(_)))), "{late:?}");
    iam.directory(&ctx(), &reserve(9, "late", &anywhere())).await.unwrap();
    iam.directory(&ctx(), &change(3, wished)).await.unwrap();
}

#[tokio::test]
async fn another_wish_needs_no_more_nodes_than_there_are_and_names_regions_that_are_known() {
    let world = World::initialised().await;
    let iam = &world.edge;
    let change = |placement| ChangePlacement { partition: PartitionId(1), generation: 1, placement };
    // One zone is all there is, as when the partition was made.
    let region = Placement { survive: SurvivalGoal::Region, ..pinned() };
    assert!(matches!(refusal(iam.directory(&ctx(), &change(region)).await), ClusterRefusal::Impossible(_)));
    let directory = Placement { preferred_leader_regions: vec!["mars".to_owned()], ..anywhere() };
    let directory = ChangePlacement { partition: PartitionId::DIRECTORY, ..change(directory) };
    let unknown = refusal(iam.directory(&ctx(), &directory).await);
    assert_eq!(unknown.to_string(), "region `mars` is not known");
    let wished = Placement { preferred_leader_regions: vec!["eu".to_owned()], ..pinned() };
    iam.directory(&ctx(), &change(wished.clone())).await.unwrap();
    let seen = iam.partitions(&Local).await.unwrap();
    assert_eq!((&seen[1].placement, seen[1].generation), (&wished, 2));
}
