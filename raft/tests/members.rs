//! Orders: members, settings and leadership, and who is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::placement::{GroupSettings, Placement, Regions, SurvivalGoal};
use domicile_raft::testing::Switchboard;
use domicile_raft::{Change, Consistency, JoinPoint, LogPosition, NodeId, OrderError, Start, TimerProfile};
use domicile_storage::MemoryLog;
use support::cluster::{Cluster, config, info, start_node, until};
use support::{WAIT, applied, value};

/// Many times the election timeout of the fast timers.
const ELECTIONS: Duration = Duration::from_secs(2);

fn only(regions: &[&str], generation: u64) -> GroupSettings {
    let regions = Regions::Only(regions.iter().map(ToString::to_string).collect());
    let placement = Placement {
        regions,
        survive: SurvivalGoal::Zone,
        preferred_leader_regions: Vec::new(),
        read_replicas: false,
    };
    GroupSettings { generation, timers: TimerProfile::Fast, placement }
}

#[tokio::test]
async fn a_node_becomes_learner_then_voter_and_goes_the_same_way_back() {
    let cluster = Cluster::of(4);
    cluster.make_group(1, 3).await;
    applied(&*cluster.replica(1, 1), "a=1").await;
    cluster.node(4).open_group(config(1, Start::Join)).await.unwrap();
    cluster.add_learner(1, 1, 4).await.unwrap();
    cluster.caught_up(1, 1, 4).await;
    assert_eq!(value(&*cluster.replica(4, 1), "a").as_deref(), Some("1"));
    let reply = cluster.set_voters(1, 1, &[1, 2, 4]).await.unwrap();
    assert_eq!(reply.status.voters, [NodeId(1), NodeId(2), NodeId(4)]);
    assert_eq!((reply.status.learners, reply.status.joint), (vec![NodeId(3)], false));
    let expected = cluster.status(1, 1).membership;
    let refused = cluster.order(1, 1, Change::RemoveLearner { expected, node: NodeId(4) }).await;
    assert!(matches!(refused, Err(OrderError::Refused(_))), "it has a vote");
    let reply = cluster.order(1, 1, Change::RemoveLearner { expected, node: NodeId(3) }).await.unwrap();
    assert_eq!(reply.status.learners, []);
    cluster.node(3).destroy_group(support::cluster::P1).await.unwrap();
    assert!(cluster.node(3).partition(support::cluster::P1).is_none());
    applied(&*cluster.replica(1, 1), "b=2").await;
}

#[tokio::test]
async fn a_destroyed_replica_joins_again_from_nothing() {
    let cluster = Cluster::of(4);
    cluster.make_group(1, 3).await;
    for round in 0..2 {
        cluster.node(4).open_group(config(1, Start::Join)).await.unwrap();
        cluster.add_learner(1, 1, 4).await.unwrap();
        applied(&*cluster.replica(1, 1), &format!("round={round}")).await;
        cluster.replica(4, 1).read(Consistency::Linearizable, WAIT).await.unwrap();
        assert_eq!(value(&*cluster.replica(4, 1), "round"), Some(round.to_string()));
        let expected = cluster.status(1, 1).membership;
        cluster.order(1, 1, Change::RemoveLearner { expected, node: NodeId(4) }).await.unwrap();
        cluster.node(4).destroy_group(support::cluster::P1).await.unwrap();
    }
}

/// Where the group stands, as who has a replica opened knows it.
fn point(cluster: &Cluster, leader: u64) -> JoinPoint {
    let status = cluster.status(leader, 1);
    let members_since = status.membership.map_or(0, |position| position.index);
    JoinPoint { term: status.term, leader: NodeId(leader), index: status.committed.max(members_since) }
}

#[tokio::test]
async fn the_founder_comes_back_from_nothing_and_may_lead_once_it_holds_what_is_committed() {
    let cluster = Cluster::of(4);
    cluster.make_group(1, 3).await;
    cluster.node(4).open_group(config(1, Start::Join)).await.unwrap();
    cluster.add_learner(1, 1, 4).await.unwrap();
    cluster.caught_up(1, 1, 4).await;
    cluster.order(1, 1, Change::TransferLeader { to: NodeId(2) }).await.unwrap();
    until("node 2 leads", || cluster.replica(2, 1).leadership().borrow().leads).await;
    for id in [3, 4] {
        cluster.caught_up(1, 2, id).await;
    }
    cluster.set_voters(1, 2, &[2, 3, 4]).await.unwrap();
    let expected = cluster.status(2, 1).membership;
    cluster.order(2, 1, Change::RemoveLearner { expected, node: NodeId(1) }).await.unwrap();
    cluster.node(1).destroy_group(support::cluster::P1).await.unwrap();
    applied(&*cluster.replica(2, 1), "a=1").await;

    let at = point(&cluster, 2);
    cluster.node(1).open_group(config(1, Start::JoinAt(at))).await.unwrap();
    let status = cluster.status(1, 1);
    assert_eq!((status.term, status.last), (at.term, 0), "no leader of a term before can count on it");
    cluster.add_learner(1, 2, 1).await.unwrap();
    cluster.caught_up(1, 2, 1).await;
    cluster.set_voters(1, 2, &[1, 2, 3]).await.unwrap();
    cluster.order(2, 1, Change::TransferLeader { to: NodeId(1) }).await.unwrap();
    until("node 1 leads", || cluster.replica(1, 1).leadership().borrow().leads).await;
    applied(&*cluster.replica(1, 1), "b=2").await;
    assert_eq!(value(&*cluster.replica(1, 1), "a").as_deref(), Some("1"));
}

/// The log's first membership names the founder alone, and with it the founder would win at once.
#[tokio::test]
async fn a_replica_with_the_start_of_a_log_is_not_elected_by_the_membership_that_stands_there() {
    let log = Arc::new(MemoryLog::new());
    let board = Switchboard::new();
    let founder = start_node(&board, 1, 1, log.clone());
    let replica = founder.open_group(config(1, Start::Bootstrap(info(1)))).await.unwrap();
    applied(&*replica, "a=1").await;
    let last = replica.status().last;
    drop(replica);
    founder.shutdown().await;

    let at = |index| Start::JoinAt(JoinPoint { term: 1, leader: NodeId(2), index });
    let behind = start_node(&board, 1, 2, log.clone());
    let replica = behind.open_group(config(1, at(last + 1))).await.unwrap();
    let mut leadership = replica.leadership();
    let led = tokio::time::timeout(ELECTIONS, leadership.wait_for(|seen| seen.leads)).await.is_ok();
    assert!(!led, "it leads a group that is elsewhere: {:?}", replica.status());
    assert_eq!(replica.status().term, 1);
    drop((replica, leadership));
    behind.shutdown().await;

    // The same with the log up to there, so that it was the point that kept it back.
    let there = start_node(&board, 1, 3, log);
    let replica = there.open_group(config(1, at(last))).await.unwrap();
    let mut leadership = replica.leadership();
    tokio::time::timeout(WAIT, leadership.wait_for(|seen| seen.leads)).await.unwrap().unwrap();
}

#[tokio::test]
async fn orders_from_an_old_membership_or_old_settings_change_nothing() {
    let cluster = Cluster::with_group(3).await;
    let now = cluster.status(1, 1).membership;
    let old = Some(LogPosition { term: 1, index: 1 });
    let voters = [NodeId(1), NodeId(2)].into();
    let stale = cluster.order(1, 1, Change::SetVoters { expected: old, voters }).await;
    assert_eq!(stale, Err(OrderError::StaleMembership { current: now }));
    let add = Change::AddLearner { expected: old, node: NodeId(9), info: info(9) };
    assert_eq!(cluster.order(1, 1, add).await, Err(OrderError::StaleMembership { current: now }));
    let settings = GroupSettings { generation: 5, ..support::cluster::settings() };
    cluster.order(1, 1, Change::UpdateSettings { settings }).await.unwrap();
    let voters = [NodeId(1), NodeId(2)].into();
    let change = Change::SetVoters { expected: now, voters };
    let stale = cluster.order_of(1, 1, 1, 4, change).await;
    assert_eq!(stale, Err(OrderError::StaleGeneration { current: 5 }));
    assert_eq!(cluster.status(1, 1).voters.len(), 3);
}

#[tokio::test]
async fn no_member_is_taken_from_a_region_that_the_placement_does_not_name() {
    let cluster = Cluster::of(3);
    let start = Start::Bootstrap(info(1));
    let restricted = domicile_raft::GroupConfig { settings: only(&["r1", "r2"], 3), ..config(1, start) };
    cluster.node(1).open_group(restricted).await.unwrap();
    for id in [2, 3] {
        cluster.node(id).open_group(config(1, Start::Join)).await.unwrap();
    }
    let refused = cluster.add_learner(1, 1, 3).await;
    assert!(matches!(&refused, Err(OrderError::Refused(why)) if why.contains("`r3`")), "{refused:?}");
    cluster.add_learner(1, 1, 2).await.unwrap();
    cluster.caught_up(1, 1, 2).await;
    let wider = Change::UpdateSettings { settings: only(&["r1", "r2", "r3"], 4) };
    cluster.order(1, 1, wider).await.unwrap();
    cluster.add_learner(1, 1, 3).await.unwrap();
    for id in [2, 3] {
        cluster.caught_up(1, 1, id).await;
    }
    let narrow = Change::UpdateSettings { settings: only(&["r1", "r2"], 5) };
    cluster.order(1, 1, narrow).await.unwrap();
    let refused = cluster.set_voters(1, 1, &[1, 2, 3]).await;
    assert!(matches!(&refused, Err(OrderError::Refused(why)) if why.contains("`r3`")), "{refused:?}");
    cluster.set_voters(1, 1, &[1, 2]).await.unwrap();
}

#[tokio::test]
async fn only_voters_of_the_directory_and_the_node_itself_give_orders() {
    let cluster = Cluster::with_group(3).await;
    let expected = cluster.status(1, 1).membership;
    let finish = || Change::FinishJoint { expected };
    let refused = |outcome: Result<domicile_raft::OrderReply, OrderError>| {
        let Err(OrderError::Unreachable(why)) = outcome else { panic!("{outcome:?}") };
        assert!(why.contains("no vote in the directory"), "{why}");
    };
    refused(cluster.order_of(2, 1, 1, 0, finish()).await);
    cluster.make_group(0, 2).await;
    cluster.order_of(2, 1, 1, 0, finish()).await.unwrap();
    refused(cluster.order_of(3, 1, 1, 0, finish()).await);
    assert_eq!(cluster.order_of(3, 1, 1, 0, Change::Report).await.unwrap().status.voters.len(), 3);
    cluster.order(1, 1, finish()).await.unwrap();
}

#[tokio::test]
async fn a_member_is_taken_for_the_region_that_its_certificate_names() {
    let cluster = Cluster::of(2);
    let start = Start::Bootstrap(info(1));
    cluster.node(1).open_group(config(1, start)).await.unwrap();
    cluster.node(2).open_group(config(1, Start::Join)).await.unwrap();
    let expected = cluster.status(1, 1).membership;
    let add = |info| Change::AddLearner { expected, node: NodeId(2), info };
    let lie = domicile_raft::NodeInfo { region: "r1".to_owned(), ..info(2) };
    let refused = cluster.order(1, 1, add(lie)).await;
    assert!(matches!(&refused, Err(OrderError::Refused(why)) if why.contains("runs in region `r2`")));
    cluster.order(1, 1, add(info(2))).await.unwrap();
    let moved = domicile_raft::NodeInfo { zone: "b".to_owned(), ..info(2) };
    cluster.order(1, 1, add(moved)).await.unwrap();
    assert_eq!(cluster.status(1, 1).learners, [NodeId(2)]);
}

#[tokio::test]
async fn settings_leave_room_for_those_after_them() {
    let cluster = Cluster::with_group(1).await;
    let settings = GroupSettings { generation: u64::MAX, ..support::cluster::settings() };
    let refused = cluster.order(1, 1, Change::UpdateSettings { settings }).await;
    assert!(matches!(refused, Err(OrderError::Refused(_))), "{refused:?}");
    let settings = GroupSettings { generation: 1, ..support::cluster::settings() };
    cluster.order(1, 1, Change::UpdateSettings { settings }).await.unwrap();
    assert_eq!(cluster.status(1, 1).settings.map(|settings| settings.generation), Some(1));
}

#[tokio::test]
async fn settings_reach_every_replica_and_older_ones_are_refused() {
    let cluster = Cluster::with_group(3).await;
    let settings = only(&["r1", "r2", "r3"], 7);
    let change = || Change::UpdateSettings { settings: settings.clone() };
    cluster.order(1, 1, change()).await.unwrap();
    cluster.order(1, 1, change()).await.unwrap();
    for node in 1..=3 {
        cluster.replica(node, 1).read(Consistency::Linearizable, WAIT).await.unwrap();
        assert_eq!(cluster.status(node, 1).settings.as_ref(), Some(&settings));
    }
    let older = Change::UpdateSettings { settings: only(&["r1"], 6) };
    let refused = cluster.order_of(1, 1, 1, 7, older).await;
    assert_eq!(refused, Err(OrderError::StaleGeneration { current: 7 }));
}

#[tokio::test]
async fn leadership_goes_to_the_voter_named_and_to_nobody_who_lags() {
    let cluster = Cluster::with_group(3).await;
    cluster.make_group(0, 3).await;
    cluster.caught_up(1, 1, 2).await;
    cluster.order(1, 1, Change::TransferLeader { to: NodeId(2) }).await.unwrap();
    assert_eq!(cluster.leader(1, &[2]).await, 2);
    applied(&*cluster.replica(2, 1), "a=1").await;
    let again = cluster.order_of(2, 1, 1, 0, Change::TransferLeader { to: NodeId(1) }).await;
    assert_eq!(again, Err(OrderError::NotLeader { leader: Some(NodeId(2)) }), "asked of another node");
    let foreign = cluster.order(2, 1, Change::TransferLeader { to: NodeId(9) }).await;
    assert!(matches!(foreign, Err(OrderError::Refused(_))), "{foreign:?}");
    cluster.board.isolate(NodeId(3));
    for n in 0..1_100 {
        applied(&*cluster.replica(2, 1), &format!("k{n}=x")).await;
    }
    let lags = cluster.order(2, 1, Change::TransferLeader { to: NodeId(3) }).await;
    assert!(matches!(lags, Err(OrderError::NotCaughtUp { node: NodeId(3), .. })), "{lags:?}");
}

#[tokio::test]
async fn hand_over_leaves_no_leadership_behind() {
    let cluster = Cluster::of(3);
    for partition in 1..=4 {
        cluster.make_group(partition, 3).await;
    }
    for partition in 1..=4 {
        for node in 2..=3 {
            cluster.caught_up(partition, 1, node).await;
        }
    }
    assert_eq!(cluster.node(1).hand_over(WAIT).await, 0);
    for partition in 1..=4 {
        let leader = cluster.leader(partition, &[2, 3]).await;
        applied(&*cluster.replica(leader, partition), "a=1").await;
    }
}

#[tokio::test]
async fn a_change_of_voters_that_was_interrupted_is_finished_by_order() {
    let cluster = Cluster::of(5);
    cluster.make_group(1, 3).await;
    for id in [4, 5] {
        cluster.node(id).open_group(config(1, Start::Join)).await.unwrap();
        cluster.add_learner(1, 1, id).await.unwrap();
    }
    for id in 2..=5 {
        cluster.caught_up(1, 1, id).await;
    }
    // The old voters have a quorum, the new ones have not: the joint entry cannot commit.
    for id in [4, 5] {
        cluster.board.isolate(NodeId(id));
    }
    let changing = {
        let (node, expected) = (Arc::clone(cluster.node(1)), cluster.status(1, 1).membership);
        let voters = [NodeId(1), NodeId(4), NodeId(5)].into();
        let order = domicile_raft::Order {
            partition: support::cluster::P1,
            incarnation: domicile_raft::Incarnation(1),
            generation: 0,
            change: Change::SetVoters { expected, voters },
        };
        tokio::spawn(async move { node.order(NodeId(1), order, Duration::from_millis(300)).await })
    };
    let outcome = changing.await.unwrap();
    assert!(matches!(outcome, Err(OrderError::Unknown(_))), "{outcome:?}");
    until("joint", || cluster.status(1, 1).joint).await;
    // The leader that began it is gone: nobody finishes it by itself.
    cluster.board.heal_all();
    cluster.board.isolate(NodeId(1));
    let leader = cluster.leader(1, &[2, 3, 4, 5]).await;
    let status = cluster.status(leader, 1);
    if status.joint {
        let expected = status.membership;
        let reply = cluster.order(leader, 1, Change::FinishJoint { expected }).await.unwrap();
        assert!(!reply.status.joint);
    }
    let leader = cluster.leader(1, &[2, 3, 4, 5]).await;
    applied(&*cluster.replica(leader, 1), "a=1").await;
}

#[tokio::test]
async fn other_timers_are_in_force_on_every_replica_under_the_same_handles() {
    let cluster = Cluster::with_group(3).await;
    let replicas: Vec<_> = (1..=3).map(|node| cluster.replica(node, 1)).collect();
    applied(&*replicas[0], "a=1").await;
    let settings = GroupSettings { generation: 1, ..GroupSettings::anywhere(TimerProfile::Zone) };
    cluster.order(1, 1, Change::UpdateSettings { settings }).await.unwrap();
    let changed = |at: usize| replicas[at].status().timers == Some(TimerProfile::Zone);
    // Later ones are looked at first: what they waited for stays.
    until("the leader last", || {
        let (leader, third) = (changed(0), changed(2));
        assert!(!third || changed(1), "followers go by their ids");
        assert!(!leader || third, "the leader was not the last");
        leader
    })
    .await;
    for (replica, node) in replicas.iter().zip(1..) {
        until("new timers", || replica.status().timers == Some(TimerProfile::Zone)).await;
        until("started again", || replica.status().health == domicile_raft::Health::Running).await;
        assert_eq!(value(&**replica, "a").as_deref(), Some("1"), "node {node}");
    }
    let leader = cluster.leader(1, &[1, 2, 3]).await;
    until("proposals go on", || replicas.iter().any(|r| r.leadership().borrow().leads)).await;
    let done = support::propose(&*cluster.replica(leader, 1), "b=2").await;
    assert!(!matches!(done, domicile_raft::Outcome::Overloaded(_)), "{done:?}");
    for replica in &replicas {
        until("reads again", || replica.status().leader.is_some()).await;
        replica.read(Consistency::Linearizable, WAIT).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_is_not_electable_takes_no_leadership_over_and_gives_up_what_it_has() {
    let cluster = Cluster::with_group(3).await;
    for node in [2, 3] {
        cluster.caught_up(1, 1, node).await;
    }
    cluster.node(2).set_electable(false);
    let refused = cluster.order(1, 1, Change::TransferLeader { to: NodeId(2) }).await;
    assert!(refused.is_err(), "{refused:?}");
    cluster.node(1).set_electable(false);
    assert_eq!(cluster.node(1).hand_over(Duration::from_secs(20)).await, 0);
    applied(&*cluster.replica(3, 1), "a=1").await;
    until("followed", || cluster.replica(2, 1).status().leader == Some(NodeId(3))).await;
}
