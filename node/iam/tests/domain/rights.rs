//! Which node may ask for which step, and what a home owes its tenants.

use std::collections::BTreeMap;
use std::time::Duration;

use domicile_iam::commands::{
    ActivateTenant, AddRegionCertificate, ChangePlacement, ClusterRefusal, CreateJoinToken, CreateTenant,
    ReadyPartition, RecordMembers, ReleaseTenant, RequestPartition, ReserveTenant, SetJurisdiction,
    SetNodeState, TenantRefusal, UpdateCluster, UpdateNode,
};
use domicile_iam::execute::ExecuteError;
use domicile_iam::ids::{Id, TenantId};
use domicile_iam::model::{Edge, ListedTenant, MemberHints, NodeState, PageRequest, TenantSettings};
use domicile_iam::query::Consistency::{Linearizable, Local};
use domicile_iam::service::{Iam, Step};
use domicile_iam::streams::cluster::SettingsPatch;
use domicile_raft::placement::{Placement, Regions};
use domicile_raft::{NodeId, PartitionId};

use crate::cluster::joined;
use crate::cluster_world::{Loss, World, acme, addresses, anywhere, ctx, init, of, pinned};

async fn denied<C: Step<Refusal = ClusterRefusal>>(iam: &Iam, command: &C) -> bool {
    matches!(
        iam.directory(&ctx(), command).await.err(),
        Some(ExecuteError::Refused(ClusterRefusal::NotAllowed(_)) | ExecuteError::Fault(_))
    )
}

/// Whether all that operators and the controller ask for is denied.
async fn all_denied(iam: &Iam) -> bool {
    let members = MemberHints { voters: [NodeId(9)].into(), ..MemberHints::default() };
    let partition = PartitionId(1);
    let patch = SettingsPatch { dead_after_ms: Some(60_000), ..SettingsPatch::default() };
    let token = CreateJoinToken {
        secret_sha256: [5; 32],
        region: "eu".to_owned(),
        new_region: false,
        lifetime_ms: 600_000,
    };
    denied(iam, &token).await
        && denied(iam, &SetNodeState { node: NodeId(1), state: NodeState::Draining }).await
        && denied(iam, &UpdateCluster { patch, if_revision: None }).await
        && denied(iam, &SetJurisdiction { region: "eu".to_owned(), jurisdiction: "de".to_owned() }).await
        && denied(iam, &ChangePlacement { partition, generation: 1, placement: anywhere() }).await
        && denied(iam, &RecordMembers { partition, generation: 1, members: members.clone() }).await
        && denied(iam, &ReadyPartition { partition, generation: 1, members }).await
}

#[tokio::test]
async fn what_operators_ask_for_goes_through_a_voter_of_the_directory() {
    let world = World::initialised().await;
    let second = joined(&world.edge, 1, "eu", "b").await;
    for (node, region) in [(second.0, "eu"), (9, "ap"), (1, "ap")] {
        world.ask_as(node, region);
        assert!(all_denied(&world.edge).await, "node {node} of {region}");
    }
    world.ask_as(1, "eu");
    let drain = SetNodeState { node: second, state: NodeState::Draining };
    world.edge.directory(&ctx(), &drain).await.unwrap();
}

#[tokio::test]
async fn another_certificate_of_a_region_is_asked_for_by_a_node_that_proved_to_be_of_it() {
    let world = World::initialised().await;
    let second = joined(&world.edge, 1, "eu", "b").await;
    let add = AddRegionCertificate { region: "eu".to_owned(), certificate: vec![9; 40] };
    world.ask_as(second.0, "ap");
    assert!(denied(&world.edge, &add).await, "it proved to be of another region");
    world.ask_as(1, "ap");
    assert!(denied(&world.edge, &add).await);
    world.ask_as(second.0, "eu");
    world.edge.directory(&ctx(), &add).await.unwrap();
}

#[tokio::test]
async fn a_node_speaks_for_itself_alone_and_in_its_own_region() {
    let world = World::initialised().await;
    let second = joined(&world.edge, 1, "eu", "b").await;
    let update =
        UpdateNode { node: second, addresses: addresses(), version: "9".to_owned(), boot_counter: 1 };
    for (node, region) in [(1, "eu"), (second.0, "ap")] {
        world.ask_as(node, region);
        assert!(denied(&world.edge, &update).await, "node {node} of {region}");
    }
    world.ask_as(second.0, "eu");
    world.edge.directory(&ctx(), &update).await.unwrap();
    world.voted_by(1).await;
    let gone = SetNodeState { node: second, state: NodeState::Decommissioned };
    world.directory.directory(&ctx(), &gone).await.unwrap();
    assert!(denied(&world.edge, &update).await, "decommissioned");
}

#[tokio::test]
async fn what_makes_a_cluster_or_goes_round_its_rules_runs_only_where_it_is_asked_for() {
    let world = World::initialised().await;
    assert!(denied(&world.edge, &init()).await);
    let request = RequestPartition { placement: anywhere(), must_be_possible: false, by_default: false };
    assert!(denied(&world.edge, &request).await);
    let late = world.directory.directory(&ctx(), &request).await;
    assert!(
        matches!(late, Err(ExecuteError::Refused(ClusterRefusal::Impossible(_)))),
        "the first home is there"
    );
}

#[tokio::test(start_paused = true)]
async fn outside_the_placement_a_tenant_can_be_made_and_not_ended() {
    let world = World::initialised().await;
    world.ask_as(9, "ap");
    let tenant = world.edge.create_tenant(&ctx(), acme()).await.unwrap().reply.id;
    let deleted = world.edge.delete_tenant(&of(tenant), None).await;
    assert!(matches!(deleted, Err(ExecuteError::Refused(TenantRefusal::Placement(_)))), "{deleted:?}");
    let released = world.edge.directory(&ctx(), &ReleaseTenant { tenant }).await;
    assert!(matches!(released, Err(ExecuteError::Refused(TenantRefusal::Placement(_)))), "{released:?}");
    assert!(world.home.tenant_by_slug("acme").await.unwrap().is_some());
    world.ask_as(7, "eu");
    world.edge.delete_tenant(&of(tenant), None).await.unwrap();
    assert!(world.edge.route("acme").unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn outside_the_placement_a_tenant_with_a_closed_edge_is_not_seen() {
    let world = World::initialised().await;
    let closed = CreateTenant {
        slug: "closed".to_owned(),
        issuer: "https://closed.example".to_owned(),
        settings: TenantSettings { edge: Edge::Placement, ..TenantSettings::default() },
        ..acme()
    };
    world.edge.create_tenant(&ctx(), acme()).await.unwrap();
    world.edge.create_tenant(&ctx(), closed).await.unwrap();
    let seen = |region: &'static str| {
        world.ask_as(9, region);
        let edge = world.edge.clone();
        async move {
            let listed = edge.list_tenants(&PageRequest::default(), &Linearizable).await.unwrap().items;
            let shown = |tenant: &ListedTenant| match tenant {
                ListedTenant::Shown(tenant) => (tenant.slug.clone(), true),
                ListedTenant::Unanswered(tenant) => (tenant.slug.clone(), false),
            };
            listed.iter().map(shown).collect::<BTreeMap<_, _>>()
        }
    };
    let named = |closed| BTreeMap::from([("acme".to_owned(), true), ("closed".to_owned(), closed)]);
    assert_eq!(seen("eu").await, named(true));
    // Its name and home are in the directory, which is everywhere.
    assert_eq!(seen("ap").await, named(false));
}

#[tokio::test]
async fn a_name_is_reserved_only_for_a_partition_that_takes_tenants() {
    let world = World::initialised().await;
    for (secret, zone) in [(1, "b"), (2, "c")] {
        joined(&world.edge, secret, "eu", zone).await;
    }
    let wanted = Placement { read_replicas: true, ..pinned() };
    let request = RequestPartition { placement: wanted, must_be_possible: true, by_default: false };
    let wanted = world.edge.directory(&ctx(), &request).await.unwrap().reply.partition;
    let tenant = TenantId::from_bytes([8; 16]);
    let reserve = |home| ReserveTenant { tenant, slug: "acme".to_owned(), home, placement: None };
    for home in [PartitionId::DIRECTORY, wanted, PartitionId(77)] {
        let refused = world.edge.directory(&ctx(), &reserve(home)).await;
        assert!(matches!(refused, Err(ExecuteError::Refused(TenantRefusal::Placement(_)))), "{home:?}");
    }
    world.edge.directory(&ctx(), &reserve(PartitionId(1))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_placement_is_never_widened_over_a_tenant_inside() {
    let world = World::initialised().await;
    for (secret, zone) in [(1, "b"), (2, "c")] {
        joined(&world.edge, secret, "eu", zone).await;
    }
    let change = |partition, placement| ChangePlacement { partition, generation: 1, placement };
    let (home, directory) = (PartitionId(1), PartitionId::DIRECTORY);
    let narrow = world.edge.directory(&ctx(), &change(directory, pinned())).await;
    assert!(matches!(narrow, Err(ExecuteError::Refused(ClusterRefusal::Invalid { .. }))), "{narrow:?}");
    // One that asked for nothing counts on what the cluster gave it.
    let unasked = CreateTenant { placement: None, ..acme() };
    world.edge.reserve_tenant(&ctx(), "half").await.unwrap();
    let refused = |outcome: &Result<_, ExecuteError<ClusterRefusal>>| {
        matches!(outcome, Err(ExecuteError::Refused(ClusterRefusal::Impossible(_))))
    };
    let widened = world.edge.directory(&ctx(), &change(home, anywhere())).await;
    assert!(refused(&widened), "one is being made: {widened:?}");
    world.clock.advance(Duration::from_mins(2));
    world.directory.housekeep().await.unwrap();
    let made = world.edge.create_tenant(&ctx(), unasked).await.unwrap().reply;
    assert_eq!(made.placement, Some(pinned()));
    let widened = world.edge.directory(&ctx(), &change(home, anywhere())).await;
    assert!(refused(&widened), "{widened:?}");
    let same = Placement { read_replicas: true, ..pinned() };
    world.edge.directory(&ctx(), &change(home, same)).await.unwrap();
}

/// The name is taken by a write that its leader gave up on, and that is applied after the change was decided.
#[tokio::test(start_paused = true)]
async fn a_placement_is_not_widened_over_a_tenant_whose_reservation_came_late() {
    let world = World::initialised().await;
    for (secret, zone) in [(1, "b"), (2, "c")] {
        joined(&world.edge, secret, "eu", zone).await;
    }
    world.late.hold();
    let reserved = world.directory.reserve_tenant(&ctx(), "late").await;
    assert!(matches!(reserved, Err(ExecuteError::Unknown)), "{reserved:?}");
    world.late.release();
    let change = ChangePlacement { partition: PartitionId(1), generation: 1, placement: anywhere() };
    let widened = world.directory.directory(&ctx(), &change).await;
    let Err(ExecuteError::Refused(ClusterRefusal::Impossible(reason))) = &widened else {
        panic!("{widened:?}");
    };
    assert!(reason.contains("`late`"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_may_be_elsewhere_hosts_no_tenant_that_may_not() {
    let world = World::initialised().await;
    let tenant = world.edge.reserve_tenant(&ctx(), "acme").await.unwrap().reply;
    let both = Regions::Only(["eu".to_owned(), "us".to_owned()].into());
    let wider = CreateTenant { placement: Some(Placement { regions: both, ..pinned() }), ..acme() };
    world.edge.create_home(&ctx(), tenant, &wider).await.unwrap();
    let tenant = world.edge.reserve_tenant(&ctx(), "other").await.unwrap().reply;
    let us = Regions::Only(["us".to_owned()].into());
    let elsewhere = CreateTenant { placement: Some(Placement { regions: us, ..pinned() }), ..acme() };
    for iam in [&world.edge, &world.home] {
        let refused = iam.create_home(&ctx(), tenant, &elsewhere).await;
        assert!(matches!(refused, Err(ExecuteError::Refused(TenantRefusal::Placement(_)))), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_routed_tenant_keeps_the_key_that_was_pinned_first() {
    let world = World::initialised().await;
    let acme_id = world.edge.create_tenant(&ctx(), acme()).await.unwrap().reply.id;
    let other = CreateTenant { slug: "other".to_owned(), ..acme() };
    let other = world.edge.create_tenant(&ctx(), other).await.unwrap().reply.id;
    let signed = world.home.sign_entry(&of(other), other).await.unwrap().reply;
    let foreign = ActivateTenant { tenant: acme_id, signed };
    let refused = world.edge.directory(&ctx(), &foreign).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(TenantRefusal::NotFound))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_ask_whose_answer_was_lost_is_not_done_again_over_what_came_in_between() {
    let world = World::initialised().await;
    let second = joined(&world.edge, 1, "eu", "b").await;
    world.lose([Loss::Answer]);
    let drain = SetNodeState { node: second, state: NodeState::Draining };
    let active = SetNodeState { node: second, state: NodeState::Active };
    let in_between = async {
        let drained = || async {
            let node = world.directory.node(second, &Local).await.unwrap().unwrap();
            node.state == NodeState::Draining
        };
        while !drained().await {
            tokio::task::yield_now().await;
        }
        world.directory.directory(&ctx(), &active).await.unwrap();
    };
    let (context, ()) = (ctx(), ());
    let (drained, ()) = tokio::join!(world.edge.directory(&context, &drain), in_between);
    assert!(drained.unwrap().replayed);
    assert_eq!(world.edge.node(second, &Local).await.unwrap().unwrap().state, NodeState::Active);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_done_is_never_called_not_done() {
    let world = World::initialised().await;
    let second = joined(&world.edge, 1, "eu", "b").await;
    let drain = SetNodeState { node: second, state: NodeState::Draining };
    world.lose([Loss::Broken]);
    let fault = world.edge.directory(&ctx(), &drain).await;
    assert!(matches!(fault, Err(ExecuteError::Fault(_))), "{fault:?}");
    world.lose([Loss::Answer, Loss::Broken]);
    let unknown = world.edge.directory(&ctx(), &drain).await;
    assert!(matches!(unknown, Err(ExecuteError::Unknown)), "{unknown:?}");
}
