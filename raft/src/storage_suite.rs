//! openraft's own storage suite over our log and state.

#![allow(clippy::expect_used, reason = "a failed step is a failed test")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use domicile_storage::{
    Batch, Engine, LogEngine, LogOptions, MemoryEngine, MemoryLog, RaftEngineLog, SledEngine, SledOptions,
    Transaction, Write,
};
use openraft::StorageError;
use openraft::storage::{RaftSnapshotBuilder as _, RaftStateMachine as _};
use openraft::testing::log::{StoreBuilder, Suite};
use tokio::sync::{mpsc, watch};

use crate::barrier::{Applied, AppliedState, CurrentState, StateBarrier};
use crate::envelope::Envelopes;
use crate::faults::{Faults, Lifecycle, abort_on_panic};
use crate::log_store::LogStore;
use crate::snapshot::{Place, SnapshotLimits, SnapshotSettings};
use crate::state_adapter::StateAdapter;
use crate::testing::{ManualClock, ToyCipher};
use crate::type_config::TypeConfig;
use crate::{ApplyFault, Committed, Incarnation, PartitionId, StateMachine, Timestamp, Verdict};

struct Accepting;

impl StateMachine for Accepting {
    fn apply(&self, _: &mut Transaction<'_>, _: Committed<'_>) -> Result<Verdict, ApplyFault> {
        Ok(Verdict::Applied(Vec::new()))
    }
}

/// A log store without the barrier: the suite cuts logs whose state it never applied.
pub(crate) fn stores(log: Arc<dyn LogEngine>, engine: Arc<dyn Engine>) -> (LogStore, StateAdapter) {
    let partition = PartitionId(7);
    let envelopes = Envelopes { partition, incarnation: Incarnation(1), cipher: Arc::new(ToyCipher::new(3)) };
    let log = LogStore::open(log, envelopes, None, u64::MAX).expect("a new log opens");
    let (open, _closed) = mpsc::channel(1);
    let barrier = StateBarrier::new(
        CurrentState::over(engine),
        AppliedState::default(),
        watch::Sender::new(Applied::default()),
        open,
    );
    let faults = Arc::new(Faults {
        partition,
        directory: None,
        clock: Arc::new(ManualClock::new(Timestamp(0), 0)),
        on_panic: abort_on_panic(),
        lifecycle: watch::Sender::new(Lifecycle::Running),
        panicked: AtomicBool::new(false),
        disk_full: AtomicBool::new(false),
    });
    let place = Place {
        partition,
        incarnation: Incarnation(1),
        directory: None,
        open_state: Arc::new(|_, _| Ok(Arc::new(MemoryEngine::new()))),
        clock: Arc::new(ManualClock::new(Timestamp(0), 0)),
        limits: SnapshotLimits::new(SnapshotSettings::default(), None),
        receiving: tokio::sync::Mutex::default(),
        retired: std::sync::Mutex::default(),
        on_step: None,
    };
    let state = StateAdapter {
        partition,
        state_machine: Arc::new(Accepting),
        barrier,
        faults,
        members: None,
        place: Arc::new(place),
        snapshots: Arc::default(),
    };
    (log, state)
}

struct InMemory;

impl StoreBuilder<TypeConfig, LogStore, StateAdapter, ()> for InMemory {
    async fn build(&self) -> Result<((), LogStore, StateAdapter), StorageError<TypeConfig>> {
        let (log, state) = stores(Arc::new(MemoryLog::new()), Arc::new(MemoryEngine::new()));
        Ok(((), log, state))
    }
}

struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore, StateAdapter, tempfile::TempDir> for OnDisk {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateAdapter), StorageError<TypeConfig>> {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let log = RaftEngineLog::open(temp.path().join("log"), &LogOptions::default()).expect("a log");
        let engine = SledEngine::open(temp.path().join("state"), &SledOptions::default()).expect("a state");
        let (log, state) = stores(Arc::new(log), Arc::new(engine));
        Ok((temp, log, state))
    }
}

#[test]
fn openraft_storage_suite_passes_in_memory() {
    runtime().block_on(Suite::test_all(InMemory)).expect("the suite passes");
}

#[test]
fn openraft_storage_suite_passes_on_disk() {
    runtime().block_on(Suite::test_all(OnDisk)).expect("the suite passes");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// The log may be cut as soon as openraft has a snapshot, and it knows of one when this returns.
#[tokio::test]
async fn what_a_snapshot_is_built_of_is_synced_before_it_is_there() {
    let engine = Arc::new(MemoryEngine::new());
    let (_, mut state) = stores(Arc::new(MemoryLog::new()), Arc::clone(&engine) as Arc<dyn Engine>);
    let put = |value: &[u8]| {
        let write = Write::Put { key: b"key".to_vec(), value: value.to_vec() };
        engine.commit(Batch { writes: vec![write] }).expect("memory takes it");
    };
    put(b"synced");
    let mut builder = state.get_snapshot_builder().await;
    builder.build_snapshot().await.expect("a snapshot is built");
    put(b"not synced");
    engine.lose_unsynced();
    assert_eq!(engine.get(b"key").expect("memory reads"), Some(b"synced".to_vec()));
}
