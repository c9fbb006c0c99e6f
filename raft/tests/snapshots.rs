//! A replica that the log cannot bring up gets the whole state, while writes go on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domicile_raft::placement::GroupSettings;
use domicile_raft::testing::Switchboard;
use domicile_raft::{
    Change, Consistency, DataDir, DigestError, DiskOptions, GroupConfig, LogCut, LogCutError, NodeConfig,
    NodeId, NodeIdentity, Order, Partition, PartitionId, Peers, RaftNode, Retention, Start, StateDigest,
    SystemClock, TimerProfile, state_digest_at,
};
use support::cluster::{Cluster, P1, cluster_id, config, identity, info, start_node, until};
use support::{WAIT, applied, value};

/// Cuts the log soon.
fn short(start: Start) -> GroupConfig {
    let retention = Retention { snapshot_every: 40, keep_entries: 5, keep_bytes: 1 << 20 };
    GroupConfig { retention, ..config(1, start) }
}

fn on_disk(board: &Switchboard, id: u64, root: &Path) -> Arc<RaftNode> {
    let clock = Arc::new(SystemClock::new());
    let mut config = NodeConfig::on_disk(root, DiskOptions::default(), clock).unwrap();
    config.peers = Some(Peers { transport: board.transport(identity(id)), cluster: cluster_id() });
    let node = Arc::new(RaftNode::open(config).unwrap());
    board.attach(NodeId(id), node.peer_service());
    node
}

fn digest(partition: &dyn Partition) -> Option<(u64, [u8; 32])> {
    state_digest_at(&*partition.state()).unwrap()
}

async fn write(partition: &dyn Partition, from: u32, to: u32) {
    for n in from..to {
        applied(partition, &format!("key{n}={}", "v".repeat(2_000))).await;
    }
}

/// Adds `follower` to the group that `leader` leads, with writes going on all the time, and waits until
/// both have the same state.
async fn brings_up(leader: &Arc<RaftNode>, follower: &Arc<RaftNode>) {
    let partition = leader.partition(P1).unwrap();
    write(&*partition, 0, 300).await;
    let settings = GroupSettings { generation: 1, ..GroupSettings::anywhere(TimerProfile::Fast) };
    let me = leader.identity().id;
    let order = |generation, change| {
        let incarnation = domicile_raft::Incarnation(1);
        leader.order(me, Order { partition: P1, incarnation, generation, change }, WAIT)
    };
    order(0, Change::UpdateSettings { settings: settings.clone() }).await.unwrap();
    let expected = partition.status().membership;
    let node = follower.identity().id;
    let writing = Arc::new(AtomicBool::new(true));
    let writer = {
        let (partition, writing) = (Arc::clone(&partition), Arc::clone(&writing));
        tokio::spawn(async move {
            let mut n = 300;
            while writing.load(Ordering::Acquire) {
                write(&*partition, n, n + 1).await;
                n += 1;
            }
            n
        })
    };
    order(1, Change::AddLearner { expected, node, info: info(node.0) }).await.unwrap();
    let replica = follower.partition(P1).unwrap();
    until("the follower has the first entries", || value(&*replica, "key299").is_some()).await;
    writing.store(false, Ordering::Release);
    let end = writer.await.unwrap();
    replica.read(Consistency::Linearizable, WAIT).await.unwrap();
    assert!(value(&*replica, &format!("key{}", end - 1)).is_some());
    until("equal digests", || digest(&*replica).is_some() && digest(&*replica) == digest(&*partition)).await;
    assert_eq!(replica.status().settings, Some(settings), "settings come with the state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_gets_the_state_in_memory_while_writes_go_on() {
    let board = Switchboard::new();
    let nodes = [1, 2].map(|id| start_node(&board, id, 1, Arc::default()));
    nodes[0].open_group(short(Start::Bootstrap(info(1)))).await.unwrap();
    nodes[1].open_group(short(Start::Join)).await.unwrap();
    brings_up(&nodes[0], &nodes[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_gets_the_state_on_disk_and_has_it_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let leader = start_node(&board, 1, 1, Arc::default());
    leader.open_group(short(Start::Bootstrap(info(1)))).await.unwrap();
    DataDir::open(temp.path()).unwrap().adopt(NodeId(2), &cluster_id()).unwrap();
    let follower = on_disk(&board, 2, temp.path());
    follower.open_group(short(Start::Join)).await.unwrap();
    brings_up(&leader, &follower).await;
    let partitions = temp.path().join("partitions/1");
    let current = std::fs::read_to_string(partitions.join("CURRENT")).unwrap();
    assert_ne!(current, "state.1\n", "a state was installed");
    follower.shutdown().await;
    drop(follower);
    write(&*leader.partition(P1).unwrap(), 0, 20).await;
    let follower = on_disk(&board, 2, temp.path());
    let replica = follower.open_group(short(Start::Join)).await.unwrap();
    replica.read(Consistency::Linearizable, WAIT).await.unwrap();
    assert_eq!(follower.identity(), NodeIdentity { id: NodeId(2), boots: 2 });
    let partition = leader.partition(P1).unwrap();
    until("equal digests", || digest(&*replica).is_some() && digest(&*replica) == digest(&*partition)).await;
    let states = std::fs::read_dir(&partitions).unwrap().map(|entry| entry.unwrap().file_name());
    let states: Vec<_> = states.filter(|name| name.to_string_lossy().starts_with("state.")).collect();
    assert_eq!(states.len(), 1, "the one before was removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_cut_on_order_to_what_is_applied_and_who_lacks_it_gets_the_state() {
    let cluster = Cluster::of(2);
    // Its retention would keep everything.
    cluster.node(1).open_group(config(1, Start::Bootstrap(info(1)))).await.unwrap();
    let leader = cluster.replica(1, 1);
    write(&*leader, 0, 30).await;
    let applied = leader.applied();
    assert!(leader.status().log_bytes > 0);
    let cut = cluster.node(1).cut_log(P1, WAIT).await.unwrap();
    assert_eq!(cut, LogCut { snapshot: applied, purged: applied });
    assert_eq!(leader.status().log_bytes, 0, "the entries are still there");
    assert_eq!(cluster.node(1).cut_log(P1, WAIT).await, Ok(cut), "there is no more to cut");

    cluster.node(2).open_group(config(1, Start::Join)).await.unwrap();
    assert_eq!(cluster.node(2).cut_log(P1, WAIT).await, Err(LogCutError::Empty));
    cluster.add_learner(1, 1, 2).await.unwrap();
    let replica = cluster.replica(2, 1);
    until("the learner has what was cut", || value(&*replica, "key0").is_some()).await;
    write(&*leader, 30, 31).await;
    until("the learner follows the log", || value(&*replica, "key30").is_some()).await;
    let cut = cluster.node(2).cut_log(P1, WAIT).await.unwrap();
    assert!(cut.snapshot > applied && cut.purged == cut.snapshot, "{cut:?}");
    assert_eq!(cluster.node(2).cut_log(PartitionId(9), WAIT).await, Err(LogCutError::NoReplica));
}

/// What both nodes say of their replicas, once it is of one position.
async fn of_one_position(cluster: &Cluster) -> [StateDigest; 2] {
    let asking = async {
        loop {
            let one = cluster.node(1).digest(P1).await.unwrap();
            let other = cluster.node(2).digest(P1).await.unwrap();
            if one.applied == other.applied {
                return [one, other];
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_have_one_digest_at_one_position() {
    let cluster = Cluster::with_group(2).await;
    let leader = cluster.replica(1, 1);
    write(&*leader, 0, 30).await;
    let [before, other] = of_one_position(&cluster).await;
    assert_eq!(before, other);
    write(&*leader, 30, 31).await;
    let [after, other] = of_one_position(&cluster).await;
    assert_eq!(after, other);
    assert!(after.applied > before.applied && after.digest != before.digest, "{before:?} {after:?}");
    assert!(matches!(cluster.node(1).digest(PartitionId(9)).await, Err(DigestError::NoReplica)));
}

#[test]
fn a_node_makes_one_digest_at_a_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(async {
        let cluster = Cluster::of(1);
        let node = cluster.node(1);
        node.open_group(config(1, Start::Bootstrap(info(1)))).await.unwrap();
        write(&*cluster.replica(1, 1), 0, 3).await;
        // The only thread for what blocks is taken: a digest that was begun waits for it.
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || held.recv());
        let mut first = Box::pin(node.digest(P1));
        tokio::select! {
            biased;
            made = &mut first => panic!("it did not wait: {made:?}"),
            () = std::future::ready(()) => {}
        }
        assert!(matches!(node.digest(P1).await, Err(DigestError::Busy)));
        drop(go_on);
        assert!(holding.await.unwrap().is_err());
        let made = first.await.unwrap();
        assert_eq!(node.digest(P1).await.unwrap(), made);
    });
}
