//! Groups of several voters in one process: replication, failover, reads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::time::Duration;

use domicile_raft::peer::Lane;
use domicile_raft::{Consistency, NodeId, Outcome, ReadError, TimerProfile};
use support::cluster::{Cluster, until};
use support::{WAIT, applied, propose, value};

const SOON: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_leader_that_no_quorum_answers_does_not_say_that_it_leads() {
    let cluster = Cluster::with_group(3).await;
    let mut leadership = cluster.replica(1, 1).leadership();
    assert!(leadership.borrow_and_update().leads);
    // Nothing reaches it that would tell of another leader.
    cluster.board.isolate(NodeId(1));
    let lost = leadership.wait_for(|seen| !seen.leads);
    tokio::time::timeout(WAIT, lost).await.unwrap().unwrap();
    assert_ne!(cluster.status(1, 1).leader, Some(NodeId(1)));
    cluster.board.heal_all();
    let leader = cluster.leader(1, &[1, 2, 3]).await;
    applied(&*cluster.replica(leader, 1), "a=1").await;
}

#[tokio::test]
async fn a_leader_that_falls_silent_while_nobody_can_be_elected_is_named_but_not_heard_of() {
    let cluster = Cluster::with_group(3).await;
    let follower = || cluster.status(2, 1);
    until("it is heard of", || follower().leader_heard() == Some(NodeId(1))).await;
    cluster.board.isolate(NodeId(1));
    cluster.board.isolate(NodeId(3));
    until("it is silent", || follower().leader_heard().is_none()).await;
    let status = follower();
    assert_eq!(status.leader, Some(NodeId(1)));
    // Its lease and an election timeout, each half a second here.
    assert!(status.leader_silent_ms >= Some(1_000), "{:?}", status.leader_silent_ms);
    cluster.board.heal_all();
    // By heartbeats: nothing is written.
    for node in 1..=3 {
        until("each hears of a leader", || cluster.status(node, 1).leader_heard().is_some()).await;
    }
}

#[tokio::test]
async fn what_is_applied_on_the_leader_reaches_every_replica() {
    let cluster = Cluster::with_group(3).await;
    let index = applied(&*cluster.replica(1, 1), "a=1").await;
    for node in 1..=3 {
        let replica = cluster.replica(node, 1);
        replica.read(Consistency::AtLeast(index), WAIT).await.unwrap();
        assert_eq!(value(&*replica, "a").as_deref(), Some("1"));
        let status = replica.status();
        assert_eq!(status.voters, [NodeId(1), NodeId(2), NodeId(3)]);
        assert_eq!(status.settings, Some(support::cluster::settings()));
    }
}

#[tokio::test]
async fn a_linearizable_read_on_a_follower_sees_the_last_write() {
    let cluster = Cluster::with_group(3).await;
    for round in 0..20 {
        let index = applied(&*cluster.replica(1, 1), &format!("a={round}")).await;
        for node in 1..=3 {
            let replica = cluster.replica(node, 1);
            assert!(replica.read(Consistency::Linearizable, WAIT).await.unwrap() >= index);
            assert_eq!(value(&*replica, "a"), Some(round.to_string()));
        }
    }
}

#[tokio::test]
async fn when_the_leader_is_cut_off_the_others_go_on_and_nothing_acknowledged_is_lost() {
    let cluster = Cluster::with_group(3).await;
    applied(&*cluster.replica(1, 1), "a=1").await;
    cluster.board.isolate(NodeId(1));
    let stuck = cluster.replica(1, 1);
    let lost = tokio::spawn(async move { stuck.propose(b"lost=1".to_vec(), SOON).await });
    let leader = cluster.leader(1, &[2, 3]).await;
    let replica = cluster.replica(leader, 1);
    assert_eq!(value(&*replica, "a").as_deref(), Some("1"));
    applied(&*replica, "b=2").await;
    let cut_off = cluster.replica(1, 1);
    assert_eq!(cut_off.read(Consistency::Linearizable, SOON).await, Err(ReadError::Timeout));
    assert!(matches!(lost.await.unwrap(), Outcome::Unknown(_)));
    cluster.board.heal_all();
    cut_off.read(Consistency::Linearizable, WAIT).await.unwrap();
    assert_eq!(value(&*cut_off, "b").as_deref(), Some("2"));
    until("the old leader follows", || !cut_off.leadership().borrow().leads).await;
    assert_eq!(value(&*cut_off, "lost"), None, "it was never committed");
}

#[tokio::test]
async fn a_follower_refers_proposals_to_the_leader() {
    let cluster = Cluster::with_group(3).await;
    let follower = cluster.replica(2, 1);
    until("the leader is known", || follower.status().leader.is_some()).await;
    assert_eq!(propose(&*follower, "a=1").await, Outcome::NotLeader { leader: Some(NodeId(1)) });
}

#[tokio::test]
async fn a_bounded_read_is_served_while_it_is_proved_and_refused_once_cut_off() {
    let cluster = Cluster::with_group(3).await;
    let follower = cluster.replica(2, 1);
    applied(&*cluster.replica(1, 1), "a=1").await;
    follower.read(Consistency::BoundedMs(2_000), WAIT).await.unwrap();
    assert_eq!(value(&*follower, "a").as_deref(), Some("1"));
    assert!(follower.staleness_ms().unwrap() <= 2_000);
    // Heartbeats still arrive: contact alone proves nothing.
    cluster.board.cut_one_way(NodeId(2), NodeId(1));
    until("too old", || follower.staleness_ms() > Some(300)).await;
    let read = follower.read(Consistency::BoundedMs(300), SOON).await;
    assert_eq!(read, Err(ReadError::Timeout));
    cluster.board.heal_all();
    follower.read(Consistency::BoundedMs(300), WAIT).await.unwrap();
}

#[tokio::test]
async fn bounded_reads_ask_the_leader_in_the_background_only_while_there_is_demand() {
    let cluster = Cluster::with_group(3).await;
    let follower = cluster.replica(2, 1);
    assert_eq!(follower.staleness_ms(), None, "nobody asked");
    let bound = Consistency::BoundedMs(1_500);
    follower.read(bound, WAIT).await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let asked = cluster.board.calls(NodeId(2), NodeId(1), Lane::Control);
        follower.read(bound, Duration::ZERO).await.unwrap();
        assert_eq!(cluster.board.calls(NodeId(2), NodeId(1), Lane::Control), asked, "no reader waits");
    }
}

#[tokio::test]
async fn without_a_quorum_reads_and_proposals_fail_in_time_and_after_it_is_back_they_are_served() {
    let cluster = Cluster::with_group(3).await;
    applied(&*cluster.replica(1, 1), "a=1").await;
    for (a, b) in [(1, 2), (1, 3), (2, 3)] {
        cluster.board.cut(NodeId(a), NodeId(b));
    }
    for node in 1..=3 {
        let replica = cluster.replica(node, 1);
        let read = replica.read(Consistency::Linearizable, SOON).await;
        assert_eq!(read, Err(ReadError::Timeout), "node {node}");
        let outcome = replica.propose(b"b=2".to_vec(), SOON).await;
        assert!(matches!(outcome, Outcome::Unknown(_) | Outcome::NotLeader { .. }), "{outcome:?}");
        assert!(replica.read(Consistency::Local, SOON).await.is_ok());
    }
    cluster.board.heal_all();
    for node in 1..=3 {
        let replica = cluster.replica(node, 1);
        replica.read(Consistency::Linearizable, WAIT).await.unwrap();
        assert_eq!(value(&*replica, "a").as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn issue_2080_a_leader_that_only_a_minority_hears_does_not_block_its_replacement() {
    let cluster = Cluster::with_group(5).await;
    assert_eq!(cluster.leader(1, &[1]).await, 1);
    // A bridge: node 3 hears both sides, but neither side has a quorum with its leader 1 alone.
    for (a, b) in [(1, 4), (1, 5), (2, 4), (2, 5), (1, 2)] {
        cluster.board.cut(NodeId(a), NodeId(b));
    }
    let leader = cluster.leader(1, &[3, 4, 5]).await;
    applied(&*cluster.replica(leader, 1), "after=1").await;
}

#[tokio::test]
async fn heartbeats_of_many_groups_go_in_one_message_per_peer_and_interval() {
    // openraft checks its state at every look in debug builds: more groups only take longer here.
    const GROUPS: u64 = 24;
    let cluster = Cluster::of(2);
    let made = (1..=GROUPS).map(|partition| cluster.make_group_with(partition, 2, TimerProfile::Wide));
    futures::future::join_all(made).await;
    let count = || cluster.board.calls(NodeId(1), NodeId(2), Lane::Control);
    let leads = (1..=GROUPS).all(|partition| cluster.replica(1, partition).leadership().borrow().leads);
    assert!(leads, "node 1 leads all groups");
    let before = count();
    let intervals = 6;
    tokio::time::sleep(Duration::from_millis(500 * intervals)).await;
    let sent = count() - before;
    println!("{sent} control messages in {intervals} intervals for {GROUPS} groups");
    assert!(sent >= intervals / 2, "the leader beats: {sent}");
    assert!(sent <= intervals * 2, "{sent} messages in {intervals} intervals for {GROUPS} groups");
    for partition in 1..=GROUPS {
        assert!(cluster.replica(1, partition).leadership().borrow().leads, "partition {partition}");
    }
}
