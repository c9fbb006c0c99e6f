//! openraft issue 2116: a purge that follows a snapshot races with an apply, and RaftCore panics.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use domicile_raft::{Consistency, GroupConfig, Health, NodeId, Outcome, Retention, Start};
use support::WAIT;
use support::cluster::{Cluster, P1, config, info};

/// Writers that wait for each other never: the report's load, on as many cores.
const WRITERS: u64 = 64;
const WRITES_EACH: u64 = 40;
/// The report's snapshots came after 50 000 entries; the more often, the more races.
const RETENTION: Retention = Retention { snapshot_every: 20, keep_entries: 0, keep_bytes: 1 << 30 };

fn eager(start: Start) -> GroupConfig {
    GroupConfig { retention: RETENTION, ..config(1, start) }
}

/// Three voters that cut their logs all the time, right behind what is applied.
async fn cluster() -> Cluster {
    let cluster = Cluster::of(3);
    cluster.node(1).open_group(eager(Start::Bootstrap(info(1)))).await.unwrap();
    for id in 2..=3 {
        cluster.node(id).open_group(eager(Start::Join)).await.unwrap();
        cluster.add_learner(1, 1, id).await.unwrap();
    }
    // Each has to hold the membership that added the last of them.
    for id in 2..=3 {
        cluster.caught_up(1, 1, id).await;
    }
    cluster.set_voters(1, 1, &[1, 2, 3]).await.unwrap();
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issue_2116_cuts_of_the_log_under_load_leave_every_core_running() {
    let cluster = Arc::new(cluster().await);
    let written = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let cutting = tokio::spawn(cut_and_heal(Arc::clone(&cluster), Arc::clone(&over)));
    let writers = (0..WRITERS).map(|writer| {
        let (cluster, written) = (Arc::clone(&cluster), Arc::clone(&written));
        tokio::spawn(async move {
            for n in 0..WRITES_EACH {
                let body = format!("w{writer}.{n}={}", "x".repeat(1_000)).into_bytes();
                for node in 1..=3 {
                    let Some(replica) = cluster.node(node).partition(P1) else { continue };
                    if matches!(replica.propose(body.clone(), WAIT).await, Outcome::Applied { .. }) {
                        written.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    over.store(true, Ordering::Relaxed);
    cutting.await.unwrap();
    cluster.board.heal_all();
    for node in 1..=3 {
        let replica = cluster.replica(node, 1);
        replica.read(Consistency::Linearizable, WAIT).await.unwrap();
        assert_eq!(replica.status().health, Health::Running, "node {node}");
    }
    assert!(written.load(Ordering::Relaxed) >= WRITERS * WRITES_EACH / 2, "{written:?}");
}

/// Node 3 falls behind the cut again and again, so that it needs snapshots while entries come.
async fn cut_and_heal(cluster: Arc<Cluster>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        cluster.board.cut(NodeId(1), NodeId(3));
        let behind = cluster.replica(1, 1).applied() + 3 * RETENTION.snapshot_every;
        let reached = || cluster.replica(1, 1).applied() >= behind || over.load(Ordering::Relaxed);
        support::cluster::until("the others go on", reached).await;
        cluster.board.heal_all();
        let caught_up = || cluster.replica(3, 1).applied() >= behind || over.load(Ordering::Relaxed);
        support::cluster::until("caught up", caught_up).await;
    }
}
