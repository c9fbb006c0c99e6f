//! openraft issue 2116, at its root: what a follower's core does when a snapshot comes whose entries it
//! has in its log and has not applied (docs/adr/0013).

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use domicile_storage::{
    Batch, Engine, EngineError, KeyRange, MemoryEngine, MemoryLog, Order, Pair, Transaction,
};
use openraft::errors::Fatal;
use openraft::raft::{AppendEntriesRequest, SnapshotResponse};
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, Membership};
use tokio::time::timeout;

use crate::barrier::AppliedState;
use crate::peer::{Intake, NoPeers};
use crate::snapshot::{LocalState, StateSnapshot};
use crate::storage_suite::stores;
use crate::type_config::{Entry, LogId, Raft, RaftVote, SnapshotMeta, StoredMembership, TypeConfig, log_id};
use crate::{NodeInfo, Retention, TimerProfile, state_meta};

const WAIT: Duration = Duration::from_secs(10);

/// An engine whose commits can be held.
#[derive(Default)]
struct Gated {
    inner: MemoryEngine,
    held: Mutex<bool>,
    changed: Condvar,
}

impl Gated {
    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.changed.notify_all();
    }
}

impl Engine for Gated {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.inner.get(key)
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        self.inner.scan(range, order, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        drop(self.changed.wait_while(self.held.lock().unwrap(), |held| *held).unwrap());
        self.inner.commit(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.inner.sync()
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        self.inner.size_on_disk()
    }
}

fn members() -> Membership<u64, NodeInfo> {
    let nodes: BTreeMap<u64, NodeInfo> = (1..=3).map(|id| (id, NodeInfo::default())).collect();
    Membership::new(vec![BTreeSet::from([1, 2, 3])], nodes).unwrap()
}

fn leader() -> RaftVote {
    RaftVote::new_committed(1, 2)
}

/// Node 1, which follows node 2.
async fn follower(state: &Arc<Gated>) -> Raft {
    let (log, adapter) = stores(Arc::new(MemoryLog::new()), Arc::clone(state) as Arc<dyn Engine>);
    let config = TimerProfile::Fast.config("issue-2116".to_owned(), Retention::default(), true).unwrap();
    let raft = Raft::new(1, Arc::new(config), NoPeers, log, adapter).await.unwrap();
    raft.runtime_config().elect(false);
    raft
}

/// Gives it entries 0 to `last`, of which those to `committed` are committed.
async fn give(raft: &Raft, last: u64, committed: u64) {
    let payload = |index| match index {
        0 => EntryPayload::Membership(members()),
        _ => EntryPayload::Blank,
    };
    let entry = |index| Entry { log_id: log_id(1, index), payload: payload(index) };
    let request = AppendEntriesRequest {
        vote: leader(),
        prev_log_id: None,
        entries: (0..=last).map(entry).collect(),
        leader_commit: Some(log_id(1, committed)),
    };
    assert!(raft.append_entries(request).await.unwrap().is_success());
    let applied = raft.wait(Some(WAIT)).applied_index(Some(committed), "what is committed").await;
    applied.unwrap();
}

/// A snapshot of another replica, which has applied up to `index`.
fn snapshot(index: u64) -> SnapshotOf<TypeConfig, StateSnapshot> {
    snapshot_of(1, index)
}

fn snapshot_of(term: u64, index: u64) -> SnapshotOf<TypeConfig, StateSnapshot> {
    let (_, adapter) = stores(Arc::new(MemoryLog::new()), Arc::new(MemoryEngine::new()));
    let membership = StoredMembership::new(Some(log_id(1, 0)), members());
    let applied = AppliedState { log_id: Some(log_id(term, index)), membership, settings: None };
    let engine = adapter.barrier.engine();
    let mut transaction = Transaction::new(&*engine);
    state_meta::store_applied(&mut transaction, &applied).unwrap();
    state_meta::store_membership(&mut transaction, &applied).unwrap();
    engine.commit(transaction.into_batch()).unwrap();
    adapter.barrier.advance(applied.clone());
    let meta = SnapshotMeta { last_log_id: applied.log_id, last_membership: applied.membership };
    let state = LocalState { barrier: Arc::clone(&adapter.barrier), place: Arc::clone(&adapter.place) };
    SnapshotOf::<TypeConfig, StateSnapshot> { meta, snapshot: StateSnapshot::Local(state) }
}

type Installed = Result<SnapshotResponse<TypeConfig>, Fatal<TypeConfig>>;

/// Installs snapshots at these indexes, the next while the one before is being written.
async fn install(raft: &Raft, state: &Gated, indexes: &[u64]) -> Vec<Installed> {
    state.hold(true);
    let mut installing = Vec::new();
    for index in indexes {
        let (core, snapshot) = (raft.clone(), snapshot(*index));
        installing.push(tokio::spawn(async move { core.install_full_snapshot(leader(), snapshot).await }));
        // The core has taken it once it answers something that came later.
        while raft.with_raft_state(|_| ()).await.is_ok()
            && raft.with_raft_state(|state| state.snapshot_meta.last_log_id).await.ok().flatten()
                < Some(log_id(1, *index))
        {
            tokio::task::yield_now().await;
        }
    }
    state.hold(false);
    let mut results = Vec::new();
    for installed in installing {
        results.push(timeout(WAIT, installed).await.unwrap().unwrap());
    }
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_beyond_the_log_is_installed_while_another_is_written() {
    let state = Arc::<Gated>::default();
    let raft = follower(&state).await;
    give(&raft, 20, 10).await;
    let results = install(&raft, &state, &[50, 80]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    raft.wait(Some(WAIT)).applied_index(Some(80), "both snapshots").await.unwrap();
}

/// As pinned, openraft asserts in debug builds that what was written never shrinks, which a snapshot
/// inside the log breaks. Once this fails, openraft takes such a snapshot: expect it to be installed.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issue_2116_a_snapshot_inside_a_log_that_is_not_applied_ends_the_core() {
    let state = Arc::<Gated>::default();
    let raft = follower(&state).await;
    give(&raft, 99, 10).await;
    let results = install(&raft, &state, &[50]).await;
    assert!(matches!(results[..], [Err(Fatal::Panicked)]), "{results:?}");
}

/// Tells the follower what is committed; its log must end with that.
async fn commit(raft: &Raft, vote: RaftVote, last: LogId) {
    let commit = AppendEntriesRequest {
        vote,
        prev_log_id: Some(last),
        entries: Vec::new(),
        leader_commit: Some(last),
    };
    assert!(raft.append_entries(commit).await.unwrap().is_success());
    raft.wait(Some(WAIT)).applied_index(Some(last.index()), "what is committed").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_inside_the_log_is_answered_from_the_log() {
    let raft = follower(&Arc::default()).await;
    give(&raft, 99, 10).await;
    let vote = Intake::default().install(&raft, leader(), snapshot(50)).await.unwrap();
    assert_eq!(vote, leader());
    let applied = raft.with_raft_state(|state| state.local_committed().copied()).await.unwrap();
    assert_eq!(applied, Some(log_id(1, 10)), "the log is applied, not the snapshot");
    commit(&raft, leader(), log_id(1, 99)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_contradicts_a_snapshot_makes_way_for_it() {
    let raft = follower(&Arc::default()).await;
    give(&raft, 99, 10).await;
    let second = RaftVote::new_committed(2, 3);
    let vote = Intake::default().install(&raft, second, snapshot_of(2, 50)).await.unwrap();
    assert_eq!(vote, second);
    commit(&raft, second, log_id(2, 50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_leader_that_is_none_any_more_is_not_installed() {
    let raft = follower(&Arc::default()).await;
    give(&raft, 20, 20).await;
    let earlier = RaftVote::new_committed(0, 3);
    let vote = Intake::default().install(&raft, earlier, snapshot_of(0, 50)).await.unwrap();
    assert_eq!(vote, leader());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_waits_for_the_appends_before_it() {
    let (intake, raft) = (Intake::default(), follower(&Arc::default()).await);
    give(&raft, 20, 10).await;
    let before = intake.enter().await;
    let (installing, core) = (intake.clone(), raft.clone());
    let installed =
        tokio::spawn(async move { installing.install(&core, leader(), snapshot(50)).await.unwrap() });
    while intake.try_enter().is_some() {
        tokio::task::yield_now().await;
    }
    assert!(!installed.is_finished());
    // What comes from the leader meanwhile waits for the snapshot, and heartbeats go past it.
    drop(before);
    assert_eq!(timeout(WAIT, installed).await.unwrap().unwrap(), leader());
    drop(intake.enter().await);
    raft.wait(Some(WAIT)).applied_index(Some(50), "the snapshot").await.unwrap();
}
