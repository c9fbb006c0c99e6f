//! A fault stops its own group, and stays until an operator clears it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};

use domicile_raft::{
    Consistency, DataDir, Health, NodeConfig, OnPanic, OpenState, Outcome, PanicReport, Partition, PartitionId,
    RaftNode, ReadError, SystemClock, UnknownReason,
};
use domicile_storage::{LogOptions, RaftEngineLog, SledEngine, SledOptions};
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
    assert!(!matches!(partition.status().health, Health::Quarantined(_)), "one panic is a restart");
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
