//! Proposals while leaders are lost, and replicas that missed more than the log keeps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domicile_raft::{Consistency, GroupConfig, NodeId, Outcome, Partition, Retention, Start, TimerProfile};
use support::cluster::{Cluster, config, info, until};
use support::{WAIT, applied, count, value};

/// Proposes numbered keys to whoever takes them; gives those that were acknowledged.
async fn write(replicas: Vec<Arc<dyn Partition>>, name: char, stop: Arc<AtomicBool>) -> Vec<String> {
    let (mut acknowledged, mut n) = (Vec::new(), 0u64);
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{name}{n}");
        n += 1;
        let outcome = replicas[at].propose(format!("{key}=x").into_bytes(), Duration::from_secs(1)).await;
        match outcome {
            Outcome::Applied { .. } => acknowledged.push(key),
            Outcome::NotLeader { leader: Some(NodeId(leader)) } => at = usize::try_from(leader - 1).unwrap(),
            // A key that may have been written is never written again here: it counts for nothing.
            Outcome::NotLeader { leader: None } | Outcome::Unknown(_) => {
                at = (at + 1) % replicas.len();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Outcome::Conflict { .. } | Outcome::Overloaded(_) => panic!("{outcome:?}"),
        }
    }
    acknowledged
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_while_leaders_come_and_go() {
    let cluster = Cluster::with_group(3).await;
    let all = [1, 2, 3];
    let replicas: Vec<_> = all.iter().map(|node| cluster.replica(*node, 1)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        ('a'..='d').map(|name| tokio::spawn(write(replicas.clone(), name, Arc::clone(&stop)))).collect();
    for _ in 0..3 {
        let leader = cluster.leader(1, &all).await;
        cluster.board.isolate(NodeId(leader));
        let others: Vec<u64> = all.into_iter().filter(|id| *id != leader).collect();
        let next = cluster.leader(1, &others).await;
        let before = cluster.replica(next, 1).applied();
        until("writes go on", || cluster.replica(next, 1).applied() > before + 10).await;
        cluster.board.heal_all();
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 30, "{} writes were acknowledged", acknowledged.len());
    for replica in &replicas {
        replica.read(Consistency::Linearizable, WAIT).await.unwrap();
        let lost: Vec<_> = acknowledged.iter().filter(|key| value(&**replica, key).is_none()).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
}

#[tokio::test]
async fn a_replica_that_missed_more_than_the_log_keeps_is_sent_the_state_with_its_settings() {
    let cluster = Cluster::of(3);
    let retention = Retention { snapshot_every: 50, keep_entries: 10, ..Retention::default() };
    let cutting = |start| GroupConfig { retention, ..config(1, start) };
    cluster.node(1).open_group(cutting(Start::Bootstrap(info(1)))).await.unwrap();
    for n in 0..400 {
        applied(&*cluster.replica(1, 1), &format!("k{n}=x")).await;
    }
    cluster.node(2).open_group(cutting(Start::Join)).await.unwrap();
    cluster.add_learner(1, 1, 2).await.unwrap();
    cluster.caught_up(1, 1, 2).await;
    let replica = cluster.replica(2, 1);
    replica.read(Consistency::Linearizable, WAIT).await.unwrap();
    assert_eq!(count(&*replica), 400);
    assert_eq!(replica.status().settings, Some(support::cluster::settings()));
    applied(&*cluster.replica(1, 1), "after=1").await;
    replica.read(Consistency::Linearizable, WAIT).await.unwrap();
    assert_eq!(value(&*replica, "after").as_deref(), Some("1"));
}

/// What others see of it: it sends nothing more, and its port refuses.
fn end_process(cluster: &Cluster, node: u64) {
    for other in (1..=3).filter(|other| *other != node) {
        cluster.board.cut_one_way(NodeId(node), NodeId(other));
    }
    cluster.board.detach(NodeId(node));
}

#[tokio::test]
async fn a_leader_whose_process_is_gone_is_replaced_before_its_heartbeats_are_missed() {
    let cluster = Cluster::of(3);
    cluster.make_group_with(1, 3, TimerProfile::Wide).await;
    let gone = tokio::time::Instant::now();
    end_process(&cluster, 1);
    cluster.leader(1, &[2, 3]).await;
    // A leader that only says nothing is given 3 s, and then an election timeout of 1.5 s at least.
    assert!(gone.elapsed() < Duration::from_secs(3), "{:?}", gone.elapsed());
}

#[tokio::test]
async fn a_node_that_is_not_electable_does_not_succeed_a_leader_that_is_gone() {
    let cluster = Cluster::with_group(3).await;
    cluster.node(2).set_electable(false);
    // By its id it would come first.
    end_process(&cluster, 1);
    assert_eq!(cluster.leader(1, &[2, 3]).await, 3);
}
