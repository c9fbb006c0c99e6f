//! What is still there after a stop, a crash and a kill.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use domicile_raft::testing::ToyCipher;
use domicile_raft::{Consistency, GroupConfig, Incarnation, NodeId, OpenError, Partition};
use support::{WAIT, applied, count, disk_node, group, value};

/// Runs `life` in a runtime of its own that ends without any shutdown.
fn without_shutdown(life: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(life);
    runtime.shutdown_timeout(WAIT);
}

#[tokio::test]
async fn a_clean_stop_keeps_state_identity_and_position() {
    let temp = tempfile::tempdir().unwrap();
    let mut last = 0;
    for life in 1..=3u64 {
        let node = disk_node(temp.path());
        assert_eq!((node.identity().id, node.identity().boots), (NodeId(1), life));
        let partition = node.open_group(group(1)).await.unwrap();
        assert!(partition.leadership().borrow().leads);
        assert!(partition.applied() >= last, "the state went back");
        assert_eq!(count(&*partition), life - 1);
        last = applied(&*partition, &format!("life{life}=x")).await;
        node.shutdown().await;
    }
}

#[test]
fn a_stop_without_shutdown_replays_what_the_state_lost() {
    let temp = tempfile::tempdir().unwrap();
    without_shutdown(async {
        let node = disk_node(temp.path());
        let partition = node.open_group(group(1)).await.unwrap();
        for n in 0..50 {
            applied(&*partition, &format!("key{n}={n}")).await;
        }
    });
    // All state since the last sync is gone, as after power loss: the log alone must bring it back.
    std::fs::remove_dir_all(temp.path().join("partitions/1/state.1")).unwrap();
    without_shutdown(async {
        let node = disk_node(temp.path());
        let partition = node.open_group(group(1)).await.unwrap();
        partition.read(Consistency::Linearizable, WAIT).await.unwrap();
        assert_eq!(count(&*partition), 50);
        assert_eq!(value(&*partition, "key49").as_deref(), Some("49"));
    });
}

/// One life of group 1 on `root` that leaves state on disk.
async fn live(root: &Path, command: &str) {
    let node = disk_node(root);
    applied(&*node.open_group(group(1)).await.unwrap(), command).await;
    node.shutdown().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

async fn assert_log_lost(root: &Path) {
    for _ in 0..2 {
        let node = disk_node(root);
        let refused = node.open_group(group(1)).await.err().unwrap();
        assert!(matches!(refused, OpenError::LogLost { partition: 1, .. }), "{refused:?}");
        let said = refused.to_string();
        assert!(said.contains(&root.join("log").display().to_string()), "{said}");
        assert!(said.contains("rejoin") && said.contains("new node id"), "{said}");
        node.shutdown().await;
    }
    assert!(!root.join("partitions/1/QUARANTINED").exists(), "no damage of the partition itself");
}

#[tokio::test]
async fn state_whose_log_was_removed_never_starts() {
    let temp = tempfile::tempdir().unwrap();
    live(temp.path(), "a=1").await;
    std::fs::remove_dir_all(temp.path().join("log")).unwrap();
    assert_log_lost(temp.path()).await;
}

#[tokio::test]
async fn state_that_alone_was_restored_never_starts() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    live(old.path(), "a=1").await;
    let node = disk_node(new.path());
    applied(&*node.open_group(group(0)).await.unwrap(), "other=1").await;
    node.shutdown().await;
    drop(node);
    copy(&old.path().join("partitions/1"), &new.path().join("partitions/1"));
    assert_log_lost(new.path()).await;
}

#[tokio::test]
async fn state_beside_a_log_of_an_earlier_term_never_starts() {
    let temp = tempfile::tempdir().unwrap();
    let (log, backup) = (temp.path().join("log"), temp.path().join("backup"));
    live(temp.path(), "a=1").await;
    copy(&log, &backup);
    live(temp.path(), "b=2").await;
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&backup, &log).unwrap();
    assert_log_lost(temp.path()).await;
}

#[test]
fn a_log_sealed_with_another_key_is_refused_and_left_whole() {
    let temp = tempfile::tempdir().unwrap();
    without_shutdown(async {
        let node = disk_node(temp.path());
        applied(&*node.open_group(group(1)).await.unwrap(), "a=1").await;
        node.shutdown().await;
    });
    without_shutdown(async {
        let node = disk_node(temp.path());
        let other = GroupConfig { cipher: Arc::new(ToyCipher::new(10)), ..group(1) };
        let Some(OpenError::Log { source, .. }) = node.open_group(other).await.err() else {
            panic!("another key opened the log");
        };
        assert!(format!("{source}: {:?}", std::error::Error::source(&source)).contains("CipherError"));
        let partition = node.open_group(group(1)).await.unwrap();
        assert_eq!(value(&*partition, "a").as_deref(), Some("1"));
        node.shutdown().await;
    });
}

#[tokio::test]
async fn a_log_of_another_incarnation_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let node = disk_node(temp.path());
    let partition = node.open_group(group(1)).await.unwrap();
    applied(&*partition, "a=1").await;
    node.shutdown().await;
    drop(partition);
    let next = GroupConfig { incarnation: Incarnation(2), ..group(1) };
    let refused = node.open_group(next).await.err().unwrap();
    assert!(matches!(refused, OpenError::Log { .. }));
    assert!(std::error::Error::source(&refused).unwrap().to_string().contains("incarnation 1, not 2"));
}

#[test]
fn nothing_proposed_can_be_read_in_the_log_files() {
    let temp = tempfile::tempdir().unwrap();
    without_shutdown(async {
        let node = disk_node(temp.path());
        let partition = node.open_group(group(1)).await.unwrap();
        for n in 0..20 {
            applied(&*partition, &format!("k{n}=canary-in-plaintext")).await;
        }
        node.shutdown().await;
    });
    let (files, found) = search(&temp.path().join("log"), b"canary-in-plaintext");
    assert!(files > 0, "no log file was written");
    assert_eq!(found, 0);
}

fn search(directory: &Path, needle: &[u8]) -> (usize, usize) {
    let (mut files, mut found) = (0, 0);
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let (f, n) = search(&path, needle);
            (files, found) = (files + f, found + n);
            continue;
        }
        files += 1;
        found +=
            usize::from(std::fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle));
    }
    (files, found)
}

const CHILD: &str = "DOMICILE_RAFT_TEST_CHILD";

#[test]
fn acknowledged_proposals_survive_kill_9() {
    if let Ok(root) = std::env::var(CHILD) {
        return without_shutdown(write_until_killed(Path::new(&root)));
    }
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged = [0u64; 2];
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "acknowledged_proposals_survive_kill_9", "--nocapture"])
            .env(CHILD, temp.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Another number of lines each round, so that the kill comes at another moment.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut acks = lines.filter_map(|line| line.strip_prefix("ack ").map(str::to_owned));
        for _ in 0..60 * round + 7 {
            note(&mut acknowledged, &acks.next().expect("the child ended early"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had acknowledged before it died, but was still in the pipe.
        acks.for_each(|line| note(&mut acknowledged, &line));
        without_shutdown(async {
            let node = disk_node(temp.path());
            for (id, acknowledged) in (0..2u64).zip(acknowledged) {
                let partition = node.open_group(group(id)).await.unwrap();
                for n in 1..=acknowledged {
                    let found = value(&*partition, &format!("n{n}"));
                    assert_eq!(found.as_deref(), Some("x"), "group {id} lost {n} of {acknowledged}");
                }
            }
            node.shutdown().await;
        });
    }
}

fn note(acknowledged: &mut [u64; 2], line: &str) {
    // A line cut by the kill is no acknowledgement.
    if let Some((group, n)) = line.split_once(' ').and_then(|(g, n)| Some((g, n.strip_suffix('.')?))) {
        acknowledged[group.parse::<usize>().unwrap()] = n.parse().unwrap();
    }
}

async fn write_until_killed(root: &Path) {
    let node = disk_node(root);
    let write = |id: usize| {
        let node = &node;
        async move {
            let partition: Arc<dyn Partition> = node.open_group(group(id as u64)).await.unwrap();
            for n in 1u64.. {
                applied(&*partition, &format!("n{n}=x")).await;
                println!("ack {id} {n}.");
            }
        }
    };
    tokio::join!(write(0), write(1));
}
