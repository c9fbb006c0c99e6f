//! A fault stops its own group, and stays until an operator clears it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use domicile_raft::testing::ToyCipher;
use domicile_raft::{
    CipherError, Consistency, DataDir, EntryCipher, GroupConfig, Health, NodeConfig, OnPanic, OpenError,
    OpenState, Outcome, PanicReport, Partition, PartitionId, RaftNode, ReadError, SystemClock, UnknownReason,
};
use domicile_storage::{
    Batch, Engine, EngineError, KeyRange, LogOptions, MemoryEngine, MemoryLog, Order, Pair, RaftEngineLog,
    SledEngine, SledOptions,
};
use support::{WAIT, applied, disk_node, group, propose, value};

async fn quarantined(partition: &dyn Partition) -> String {
    // The reply may be there before the supervisor has seen the core stop.
    let mut leadership = partition.leadership();
    let lost = tokio::time::timeout(WAIT, leadership.wait_for(|seen| !seen.leads)).await;
    assert!(lost.is_ok());
    for _ in 0..1_000 {
        if let Health::Quarantined(reason) = partition.status().health {
            return reason;
        }
        tokio::task::yield_now().await;
    }
    panic!("not quarantined");
}

#[tokio::test]
async fn a_fault_in_apply_stops_its_group_only_also_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let node = disk_node(temp.path());
    let healthy = node.open_group(group(0)).await.unwrap();
    let faulty = node.open_group(group(1)).await.unwrap();
    applied(&*faulty, "before=1").await;
    assert_eq!(propose(&*faulty, "!").await, Outcome::Unknown(UnknownReason::Fatal));
    let reason = quarantined(&*faulty).await;
    assert!(reason.contains("breaks an invariant"), "{reason}");
    assert_eq!(propose(&*faulty, "a=1").await, Outcome::Unknown(UnknownReason::Fatal));
    assert_eq!(faulty.read(Consistency::Linearizable, WAIT).await, Err(ReadError::Stopped));
    assert_eq!(value(&*faulty, "half"), None, "half of a faulty command is visible");
    applied(&*healthy, "still=here").await;
    node.shutdown().await;
    drop((healthy, faulty, node));

    let node = disk_node(temp.path());
    let healthy = node.open_group(group(0)).await.unwrap();
    let faulty = node.open_group(group(1)).await.unwrap();
    assert_eq!(value(&*healthy, "still").as_deref(), Some("here"));
    assert_eq!(faulty.status().health, Health::Quarantined(reason));
    assert_eq!(propose(&*faulty, "a=1").await, Outcome::Unknown(UnknownReason::Fatal));
    assert!(faulty.state().get(b"x").is_err(), "a closed state must not look empty");
    node.shutdown().await;
    drop((healthy, faulty, node));

    // Without the marker it starts again, meets the same command, and stops again: nothing is skipped.
    std::fs::remove_file(temp.path().join("partitions/1/QUARANTINED")).unwrap();
    let node = disk_node(temp.path());
    let faulty = node.open_group(group(1)).await.unwrap();
    assert!(quarantined(&*faulty).await.contains("breaks an invariant"));
    assert!(temp.path().join("partitions/1/QUARANTINED").exists());
    node.shutdown().await;
}

fn watched_node(root: &Path, seen: &Arc<Mutex<Vec<PanicReport>>>) -> RaftNode {
    let directory = DataDir::open(root).unwrap();
    let log = Arc::new(RaftEngineLog::open(directory.log(), &LogOptions::default()).unwrap());
    let open: OpenState = Arc::new(|_, path| Ok(Arc::new(SledEngine::open(path, &SledOptions::default())?)));
    let seen = Arc::clone(seen);
    let on_panic: OnPanic = Arc::new(move |report| seen.lock().unwrap().push(report.clone()));
    let config = NodeConfig::new(Some(directory), log, open, Arc::new(SystemClock::new()));
    RaftNode::open(NodeConfig { on_panic, ..config }).unwrap()
}

#[tokio::test]
async fn a_panic_is_reported_and_three_of_them_quarantine_the_group() {
    let temp = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let node = watched_node(temp.path(), &seen);
    let partition = node.open_group(group(1)).await.unwrap();
    assert_eq!(propose(&*partition, "panic").await, Outcome::Unknown(UnknownReason::Fatal));
    let failed = Health::Failed("panic: told to".to_owned());
    assert_eq!(partition.status().health, failed, "one panic is a restart");
    node.shutdown().await;
    drop((partition, node));
    for _ in 0..2 {
        // The command is committed: every start meets it again.
        let node = watched_node(temp.path(), &seen);
        let partition = node.open_group(group(1)).await;
        node.shutdown().await;
        drop((partition, node));
    }
    let reports = seen.lock().unwrap().clone();
    let expected = PanicReport { partition: PartitionId(1), message: "told to".to_owned() };
    assert_eq!(reports, vec![expected; 3]);

    let node = watched_node(temp.path(), &seen);
    let partition = node.open_group(group(1)).await.unwrap();
    assert_eq!(partition.status().health, Health::Quarantined("3 panics in ten minutes".to_owned()));
    assert_eq!(seen.lock().unwrap().len(), 3, "a quarantined group was started");
    node.shutdown().await;
}

/// Panics on demand, inside the core of Raft.
struct Panicking(ToyCipher, Arc<AtomicBool>);

impl EntryCipher for Panicking {
    fn seal(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        assert!(!self.1.load(Ordering::SeqCst), "told to");
        self.0.seal(context, plaintext)
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        self.0.open(context, sealed)
    }
}

#[tokio::test]
async fn a_panic_in_the_core_is_reported_too() {
    let temp = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let node = watched_node(temp.path(), &seen);
    let armed = Arc::new(AtomicBool::new(false));
    let cipher = Arc::new(Panicking(ToyCipher::new(9), Arc::clone(&armed)));
    let partition = node.open_group(GroupConfig { cipher, ..group(1) }).await.unwrap();
    let mut leadership = partition.leadership();
    armed.store(true, Ordering::SeqCst);
    assert_eq!(propose(&*partition, "a=1").await, Outcome::Unknown(UnknownReason::Fatal));
    tokio::time::timeout(WAIT, leadership.wait_for(|seen| !seen.leads)).await.unwrap().unwrap();
    let ended = tokio::time::timeout(WAIT, async { while leadership.changed().await.is_ok() {} }).await;
    assert!(ended.is_ok());
    assert_eq!(
        seen.lock().unwrap().iter().map(|report| report.partition).collect::<Vec<_>>(),
        [PartitionId(1)]
    );
    assert!(temp.path().join("partitions/1/PANICS").exists());
}

#[tokio::test]
async fn a_state_that_fails_stops_its_group_only() {
    let failing = Arc::new(FailingEngine::default());
    let state = Arc::clone(&failing);
    let open: OpenState = Arc::new(move |partition, _| {
        Ok(if partition.0 == 1 {
            Arc::clone(&state) as Arc<dyn Engine>
        } else {
            Arc::new(MemoryEngine::new())
        })
    });
    let log = Arc::new(MemoryLog::new());
    let node = RaftNode::open(NodeConfig::new(None, log, open, Arc::new(SystemClock::new()))).unwrap();
    let healthy = node.open_group(group(0)).await.unwrap();
    let faulty = node.open_group(group(1)).await.unwrap();
    applied(&*faulty, "a=1").await;
    failing.fails.store(true, Ordering::SeqCst);
    assert_eq!(propose(&*faulty, "b=1").await, Outcome::Unknown(UnknownReason::Fatal));
    assert!(quarantined(&*faulty).await.contains("no space"));
    applied(&*healthy, "a=1").await;
}

#[derive(Default)]
struct FailingEngine {
    inner: MemoryEngine,
    fails: AtomicBool,
}

impl Engine for FailingEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.inner.get(key)
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        self.inner.scan(range, order, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        if self.fails.load(Ordering::SeqCst) {
            let source = std::io::Error::other("no space left");
            return Err(EngineError::Io { file: "state".into(), action: "commit", source });
        }
        self.inner.commit(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.inner.sync()
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        self.inner.size_on_disk()
    }
}

#[tokio::test]
async fn a_damaged_state_quarantines_its_group_and_a_locked_one_does_not() {
    let temp = tempfile::tempdir().unwrap();
    let directory = DataDir::open(temp.path()).unwrap();
    let open: OpenState = Arc::new(|partition, path| match partition.0 {
        1 => Err(EngineError::Corrupt {
            file: path.into(),
            key: "00".to_owned(),
            reason: "checksum".to_owned(),
        }),
        2 => Err(EngineError::Locked(path.into())),
        _ => Ok(Arc::new(MemoryEngine::new())),
    });
    let clock = Arc::new(SystemClock::new());
    let node =
        RaftNode::open(NodeConfig::new(Some(directory), Arc::new(MemoryLog::new()), open, clock)).unwrap();
    let damaged = node.open_group(group(1)).await.unwrap();
    let Health::Quarantined(reason) = damaged.status().health else { panic!("a damaged group runs") };
    assert!(reason.contains("state.1") && reason.contains("checksum"), "{reason}");
    assert!(temp.path().join("partitions/1/QUARANTINED").exists());
    assert!(matches!(node.open_group(group(2)).await.err(), Some(OpenError::State { .. })));
    assert!(!temp.path().join("partitions/2/QUARANTINED").exists());
    applied(&*node.open_group(group(0)).await.unwrap(), "a=1").await;
}
