//! Nothing is acknowledged, counted or cut before it is on disk.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::{
    GroupConfig, NodeConfig, OpenState, Outcome, Partition, RaftNode, Retention, SystemClock, UnknownReason,
};
use domicile_storage::{Engine, GroupId, LogEngine, MemoryEngine, MemoryLog};
use support::{WAIT, applied, count, disk_node, group, value};

/// A node whose log and single state the test holds; what they hold outlives the node.
fn node_over(log: &Arc<MemoryLog>, state: &Arc<MemoryEngine>) -> RaftNode {
    let state = Arc::clone(state);
    let open: OpenState = Arc::new(move |_, _| Ok(Arc::clone(&state) as Arc<dyn Engine>));
    let log: Arc<dyn LogEngine> = Arc::clone(log) as Arc<dyn LogEngine>;
    RaftNode::open(NodeConfig::new(None, log, open, Arc::new(SystemClock::new()))).unwrap()
}

#[tokio::test]
async fn a_proposal_is_acknowledged_only_after_the_sync() {
    let (log, state) = (Arc::new(MemoryLog::new()), Arc::new(MemoryEngine::new()));
    let node = node_over(&log, &state);
    let partition = node.open_group(group(1)).await.unwrap();
    let before = partition.applied();
    log.hold_syncs();
    let waiting = partition.propose(b"a=1".to_vec(), Duration::from_millis(60)).await;
    assert_eq!(waiting, Outcome::Unknown(UnknownReason::Timeout));
    assert_eq!((partition.applied(), value(&*partition, "a")), (before, None));
    assert_eq!(log.bounds(GroupId(1)).last, Some(before + 1), "the entry was never written");
    // The outcome was unknown: it may still happen, and does.
    log.sync_now();
    partition.read(domicile_raft::Consistency::AtLeast(before + 1), WAIT).await.unwrap();
    assert_eq!(value(&*partition, "a").as_deref(), Some("1"));
}

#[test]
fn a_proposal_that_was_not_synced_is_gone_after_power_loss_and_no_other() {
    let (log, state) = (Arc::new(MemoryLog::new()), Arc::new(MemoryEngine::new()));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async {
        let partition = node_over(&log, &state).open_group(group(1)).await.unwrap();
        applied(&*partition, "kept=1").await;
        log.hold_syncs();
        let lost = partition.propose(b"lost=1".to_vec(), Duration::from_millis(30)).await;
        assert_eq!(lost, Outcome::Unknown(UnknownReason::Timeout));
    });
    log.lose_unsynced();
    state.lose_unsynced();
    assert_eq!(state.get(&support::register("kept")).unwrap(), None, "the state was synced by chance");
    runtime().block_on(async {
        let partition = node_over(&log, &state).open_group(group(1)).await.unwrap();
        assert_eq!(value(&*partition, "kept").as_deref(), Some("1"));
        assert_eq!(value(&*partition, "lost"), None);
    });
}

#[test]
fn the_log_is_cut_only_below_what_the_state_has_synced() {
    let (log, state) = (Arc::new(MemoryLog::new()), Arc::new(MemoryEngine::new()));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cutting = || GroupConfig {
        retention: Retention { snapshot_every: 20, keep_entries: 5, ..Retention::default() },
        ..group(1)
    };
    let mut written = 0;
    for _ in 0..4 {
        let first = runtime().block_on(async {
            let partition = node_over(&log, &state).open_group(cutting()).await.unwrap();
            assert_eq!(count(&*partition), written, "power loss took what was acknowledged");
            for _ in 0..100 {
                written += 1;
                applied(&*partition, &format!("n{written}=x")).await;
            }
            log.bounds(GroupId(1)).first.unwrap()
        });
        assert!(first > 0, "the log was never cut");
        state.lose_unsynced();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_share_the_syncs_of_one_log() {
    let temp = tempfile::tempdir().unwrap();
    let node = disk_node(temp.path());
    let groups = [node.open_group(group(0)).await.unwrap(), node.open_group(group(1)).await.unwrap()];
    let before = node.log_syncs_total();
    let workers = (0..64).map(|worker| {
        let partition: Arc<dyn Partition> = Arc::clone(&groups[worker % 2]);
        tokio::spawn(async move {
            for n in 0..8 {
                applied(&*partition, &format!("w{worker}n{n}=x")).await;
            }
        })
    });
    futures::future::join_all(workers).await.into_iter().for_each(Result::unwrap);
    let (proposals, syncs) = (64 * 8, node.log_syncs_total() - before);
    assert!(syncs > 0 && syncs * 4 < proposals, "{syncs} syncs for {proposals} proposals");
    node.shutdown().await;
}

#[tokio::test]
async fn a_log_of_large_entries_is_cut_by_bytes() {
    let (log, state) = (Arc::new(MemoryLog::new()), Arc::new(MemoryEngine::new()));
    let retention = Retention { keep_bytes: 4 << 20, ..Retention::default() };
    let node = node_over(&log, &state);
    let partition = node.open_group(GroupConfig { retention, ..group(1) }).await.unwrap();
    let large = "x".repeat(1_000_000);
    // The cut follows on its own time, so the writes go on until it did; an uncut log takes them all.
    let mut first = None;
    for n in 0..200 {
        applied(&*partition, &format!("n={n}{large}")).await;
        first = log.bounds(GroupId(1)).first;
        if first > Some(0) {
            break;
        }
    }
    assert!(first > Some(0), "never cut");
    node.shutdown().await;
}
