//! Steps that cross partitions, asked for by a node that leads neither.

use std::time::Duration;

use domicile_iam::commands::{TenantPatch, TenantRefusal};
use domicile_iam::execute::{ConsistencyToken, ExecuteError};
use domicile_iam::model::{Edge, ListedTenant, PageRequest, SigningAlgorithm, TenantSettings};
use domicile_iam::query::{Consistency, QueryError};
use domicile_iam::service::Iam;
use domicile_raft::placement::{Placement, Regions};
use domicile_raft::{Incarnation, PartitionId};
use proptest::prelude::*;

use crate::cluster_world::{Loss, World, acme, ctx, keyed, of, pinned};

#[tokio::test(start_paused = true)]
async fn any_node_makes_a_tenant_and_routes_to_it() {
    let world = World::initialised().await;
    world.ask_as(9, "ap");
    let made = world.edge.create_tenant(&ctx(), acme()).await.unwrap().reply;
    assert_eq!(made.placement, Some(pinned()));
    for node in [&world.directory, &world.home, &world.edge] {
        let route = node.route("acme").unwrap().unwrap();
        assert_eq!((route.tenant, route.home, route.edge), (made.id, PartitionId(1), Edge::Any));
        assert_eq!(node.route_by_host("ACME.example").unwrap().unwrap().tenant, made.id);
        assert!(node.route_by_host("other.example").unwrap().is_none());
        let documents = node.public_documents(made.id).unwrap().unwrap();
        assert_eq!(documents.context.issuer, "https://acme.example");
        assert!(documents.jwks.unwrap().contains("\"ES256\""));
        assert_eq!(route.entry.home_origin.as_deref(), Some("https://eu.example"));
    }
    assert!(world.home.tenant_by_slug("acme").await.unwrap().is_some());
    let elsewhere = world.edge.tenant_by_slug("acme").await;
    assert_eq!(elsewhere.err(), Some(QueryError::Elsewhere { home: PartitionId(1) }));
    let patch = TenantPatch { disabled: Some(true), ..TenantPatch::default() };
    let write = world.edge.update_tenant(&of(made.id), patch).await;
    assert!(matches!(write, Err(ExecuteError::NotLeader { partition: PartitionId(1), .. })), "{write:?}");
    let listed = world.edge.list_tenants(&PageRequest::default(), &Consistency::Linearizable).await.unwrap();
    assert_eq!(listed.items, [ListedTenant::Shown(Box::new(made))]);
}

#[tokio::test(start_paused = true)]
async fn the_first_keys_of_a_tenant_are_due_at_once_where_its_home_is_led() {
    let world = World::initialised().await;
    let tenant = world.edge.create_tenant(&ctx(), acme()).await.unwrap().reply.id;
    let due = |iam: &Iam| {
        let iam = iam.clone();
        async move { tokio::time::timeout(Duration::from_secs(1), iam.keys_due()).await.ok() }
    };
    assert_eq!(due(&world.home).await, Some(tenant));
    for other in [&world.home, &world.directory, &world.edge] {
        assert_eq!(due(other).await, None);
    }
    assert!(world.home.drive_due_keys(tenant).await.unwrap() > 0);
    let signs = world.home.signing_key(tenant, SigningAlgorithm::RS256).await.unwrap().unwrap();
    let listed = world.edge.public_documents(tenant).unwrap().unwrap().jwks.unwrap();
    assert!(listed.contains(signs.kid()), "a key signs once all nodes know it");
    assert_eq!(world.home.drive_due_keys(tenant).await.unwrap(), 0);

    let settings = TenantSettings { edge: Edge::Placement, ..TenantSettings::default() };
    let patch = TenantPatch { settings: Some(settings), ..TenantPatch::default() };
    world.home.update_tenant(&of(tenant), patch).await.unwrap();
    assert_eq!(due(&world.home).await, Some(tenant), "other settings may want other keys");
}

#[tokio::test(start_paused = true)]
async fn a_change_at_home_reaches_the_entry_that_others_serve() {
    let world = World::initialised().await;
    let tenant = world.edge.create_tenant(&ctx(), acme()).await.unwrap().reply.id;
    let keys =
        |iam: &domicile_iam::service::Iam| iam.public_documents(tenant).unwrap().unwrap().jwks.unwrap();
    let before = keys(&world.edge);
    world.home.drive_all_keys().await.unwrap();
    let after = keys(&world.edge);
    assert!(!before.contains("\"RS256\"") && after.contains("\"RS256\""));
    assert!(!world.home.publish_entry(tenant).await.unwrap(), "nothing new");
    let settings = TenantSettings { edge: Edge::Placement, ..TenantSettings::default() };
    let patch = TenantPatch { settings: Some(settings), ..TenantPatch::default() };
    world.home.update_tenant(&of(tenant), patch).await.unwrap();
    world.home.publish_entry(tenant).await.unwrap();
    assert_eq!(world.edge.route("acme").unwrap().unwrap().edge, Edge::Placement);
    world.home.repoint_issuer(&of(tenant), "https://login.example".to_owned()).await.unwrap();
    assert!(world.edge.route_by_host("acme.example").unwrap().is_none());
    assert_eq!(world.edge.route_by_host("login.example").unwrap().unwrap().tenant, tenant);
}

#[tokio::test(start_paused = true)]
async fn a_home_that_comes_to_a_node_is_served_there_and_one_that_goes_is_not() {
    let world = World::initialised().await;
    let made = world.edge.create_tenant(&ctx(), acme()).await.unwrap();
    let tenant = made.reply.id;
    world.edge.add_home(world.reader());
    assert!(world.edge.tenant_by_slug("acme").await.unwrap().is_some());
    let fresh = world.edge.get_tenant(tenant, &Consistency::AtLeast(made.consistency)).await.unwrap();
    assert_eq!(fresh.unwrap().id, tenant);
    assert!(world.edge.remove_home(PartitionId(1)).is_some());
    let gone = world.edge.get_tenant(tenant, &Consistency::Local).await;
    assert_eq!(gone.err(), Some(QueryError::Elsewhere { home: PartitionId(1) }));
}

/// Found by `domicile-jepsen run --topology eu3 --nemesis disk --seed 2`: a host that had just joined anew said
/// that there was no such tenant, to strong reads too.
#[tokio::test(start_paused = true)]
async fn a_replica_to_which_nothing_came_yet_does_not_say_that_there_is_no_tenant() {
    let world = World::initialised().await;
    world.edge.create_tenant(&ctx(), acme()).await.unwrap();
    world.edge.add_home(world.newcomer());
    let asked = world.edge.tenant_by_slug("acme").await;
    assert!(matches!(asked, Err(QueryError::NotLeader { partition: PartitionId(1), .. })), "{asked:?}");
    assert!(world.edge.tenant_by_slug("other").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_abandoned_incarnation_or_of_another_tenant_does_not_fit() {
    let world = World::initialised().await;
    let made = world.home.create_tenant(&ctx(), acme()).await.unwrap();
    let (tenant, token) = (made.reply.id, made.consistency);
    let read = |token| {
        let home = world.home.clone();
        async move { home.get_tenant(tenant, &Consistency::AtLeast(token)).await.err() }
    };
    assert_eq!(read(token).await, None);
    let abandoned = ConsistencyToken { incarnation: Incarnation(0), ..token };
    assert_eq!(read(abandoned).await, Some(QueryError::ForeignToken));
    let newer = ConsistencyToken { incarnation: Incarnation(2), ..token };
    assert!(matches!(read(newer).await, Some(QueryError::Unavailable { .. })));
    let elsewhere = ConsistencyToken { partition: PartitionId(5), ..token };
    assert_eq!(read(ConsistencyToken { epoch: 1, ..elsewhere }).await, Some(QueryError::ForeignToken));
    assert_eq!(read(ConsistencyToken { epoch: 0, ..elsewhere }).await, None, "it came here since");
    let moved_on = read(ConsistencyToken { epoch: 2, ..elsewhere }).await;
    assert_eq!(moved_on, Some(QueryError::Elsewhere { home: PartitionId(5) }));
    let other = ConsistencyToken { tenant: domicile_iam::tables::directory_tenant(), ..token };
    assert_eq!(read(other).await, Some(QueryError::ForeignToken));
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_crashed_after_any_step_resumes_with_its_key_or_runs_out() {
    // How many asks a creation takes.
    let world = World::initialised().await;
    let before = world.asked();
    world.edge.create_tenant(&keyed("k"), acme()).await.unwrap();
    let steps = world.asked() - before;
    assert!(steps >= 5, "{steps}");
    for crash_at in 0..steps {
        for resumes in [true, false] {
            let world = World::initialised().await;
            world.ask_as(9, "ap");
            let losses = std::iter::repeat_n(Loss::Nothing, crash_at).chain([Loss::Crash]);
            world.lose(losses);
            let crashed = world.edge.create_tenant(&keyed("k"), acme()).await;
            assert!(matches!(crashed, Err(ExecuteError::Unknown)), "{crash_at}: {crashed:?}");
            world.restart();
            if resumes {
                let made = world.edge.create_tenant(&keyed("k"), acme()).await.unwrap().reply;
                let route = world.edge.route("acme").unwrap().unwrap();
                assert_eq!(route.tenant, made.id, "{crash_at}");
                assert_eq!(world.home.housekeep().await.unwrap(), 0);
                continue;
            }
            world.clock.advance(Duration::from_mins(2));
            world.directory.housekeep().await.unwrap();
            world.home.housekeep().await.unwrap();
            let routed = world.edge.route("acme").unwrap().is_some();
            // Routed only if the very last step was done; else nothing is left and the name is free.
            assert_eq!(routed, crash_at + 1 == steps, "{crash_at}");
            let again = world.edge.create_tenant(&keyed("other"), acme()).await;
            assert_eq!(again.is_ok(), !routed, "{crash_at}: {again:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_which_an_answer_was_lost_is_finished() {
    let world = World::initialised().await;
    for loss in [Loss::Ask, Loss::Answer, Loss::NotSent] {
        let tenant = world.edge.create_tenant(&ctx(), acme()).await.unwrap().reply.id;
        world.lose([loss, Loss::Nothing, loss]);
        let deleted = world.edge.delete_tenant(&of(tenant), None).await;
        // The tenant's keys went with the first try, whose answer was lost.
        assert!(
            matches!(deleted, Ok(_) | Err(ExecuteError::Refused(TenantRefusal::NotFound))),
            "{deleted:?}"
        );
        world.home.housekeep().await.unwrap();
        assert!(world.edge.route("acme").unwrap().is_none());
        world.restart();
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_refuses_a_tenant_that_its_region_may_not_hold() {
    let world = World::initialised().await;
    let elsewhere = Placement { regions: Regions::Only(["us".to_owned()].into()), ..pinned() };
    let new = domicile_iam::commands::CreateTenant { placement: Some(elsewhere), ..acme() };
    let tenant = world.edge.reserve_tenant(&ctx(), "acme").await.unwrap().reply;
    let refused = world.edge.create_home(&ctx(), tenant, &new).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(TenantRefusal::Placement(_)))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_placement_whose_partition_is_not_made_yet_is_waited_for_and_an_impossible_one_refused() {
    let world = World::initialised().await;
    let impossible = Placement { preferred_leader_regions: vec!["eu".to_owned()], ..pinned() };
    let new = domicile_iam::commands::CreateTenant { placement: Some(impossible.clone()), ..acme() };
    let refused = world.edge.create_tenant(&ctx(), new.clone()).await;
    let Err(ExecuteError::Refused(TenantRefusal::Placement(reason))) = refused else { panic!("{refused:?}") };
    assert_eq!(reason, "eu has 1 zone; survive=zone needs 3");
    for (secret, zone) in [(1, "b"), (2, "c")] {
        crate::cluster::joined(&world.edge, secret, "eu", zone).await;
    }
    let waited = world.edge.create_tenant(&ctx(), new).await;
    assert!(matches!(waited, Err(ExecuteError::Unavailable { .. })), "{waited:?}");
}

#[tokio::test]
async fn what_is_personal_about_an_operator_does_not_reach_the_directory() {
    use domicile_storage::{KeyRange, Order};
    let world = World::initialised().await;
    let engine = domicile_raft::Partition::state(&*world.partitions[0]);
    let rows = engine.scan(&KeyRange::prefix(&[3]), Order::Ascending, 100_000).unwrap();
    let details: Vec<_> = rows
        .iter()
        .map(|(_, row)| domicile_iam::event::StoredEvent::decode(row).unwrap().actor_details)
        .collect();
    assert!(details.len() > 3 && details.iter().all(Option::is_none));
}

#[tokio::test]
async fn bytes_that_are_no_ask_are_answered_with_a_fault() {
    let world = World::initialised().await;
    let from = domicile_iam::service::Asker { node: domicile_raft::NodeId(1), region: "eu".to_owned() };
    for bytes in [&b""[..], b"\x01", b"\x02\x80", &[1; 4096]] {
        assert!(!world.home.serve_remote(&from, PartitionId(1), bytes).await.is_empty());
        assert!(!world.home.serve_remote(&from, PartitionId(9), bytes).await.is_empty());
    }
}

fn losses() -> impl Strategy<Value = Vec<Loss>> {
    let loss = prop_oneof![
        3 => Just(Loss::Nothing),
        1 => Just(Loss::NotSent),
        1 => Just(Loss::Ask),
        1 => Just(Loss::Answer)
    ];
    prop::collection::vec(loss, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is lost on the way, a creation with a key makes one tenant, once.
    #[test]
    fn a_creation_over_a_lossy_way_makes_one_tenant(losses in losses()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let world = World::initialised().await;
            world.ask_as(9, "ap");
            world.lose(losses);
            let made = world.edge.create_tenant(&keyed("k"), acme()).await.unwrap().reply;
            let again = world.edge.create_tenant(&keyed("k"), acme()).await.unwrap().reply;
            assert_eq!(made.id, again.id);
            let page = PageRequest { page_size: Some(200), page_token: None };
            let filter = domicile_iam::query::EventFilter::default();
            let events = world.home.events(made.id, &page, &filter, &Consistency::Local).await.unwrap();
            let created = events.items.iter().filter(|event| event.event_type == "tenant.created").count();
            assert_eq!(created, 1);
        });
    }
}
