//! A full disk: writes stop with a clear error, nothing acknowledged is lost, and they go on by themselves.
//!
//! Needs a file system of its own, and so the right to mount one.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use domicile_raft::{Health, Outcome, Partition, UnknownReason};
use support::{WAIT, applied, disk_node, group, value};
use tempfile::TempDir;

const DISK_BYTES: u64 = 96 << 20;
const SHORT: Duration = Duration::from_millis(500);

/// A small file system, unmounted when dropped.
struct Disk {
    at: PathBuf,
    _temp: TempDir,
}

impl Disk {
    fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", said.trim())) }
    }

    fn mount(kind: &str) -> Result<Self, String> {
        let temp = tempfile::tempdir().unwrap();
        let at = temp.path().join("disk");
        std::fs::create_dir(&at).unwrap();
        let to = at.to_str().unwrap();
        if kind == "tmpfs" {
            Self::run("mount", &["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "none", to])?;
        } else {
            let image = temp.path().join("image");
            File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
            let image = image.to_str().unwrap();
            Self::run("mkfs.ext4", &["-q", "-m", "0", image])?;
            Self::run("mount", &["-o", "loop", image, to])?;
        }
        Ok(Self { at, _temp: temp })
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Takes what is left, to the last block, but for `spare` bytes.
    fn fill(&self, spare: u64) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        for block in [1 << 20, 4096] {
            while filler.write_all(&vec![7; block]).is_ok() {}
        }
        // Delayed blocks count too.
        let _ = filler.sync_all();
        let len = filler.metadata().unwrap().len();
        filler.set_len(len.saturating_sub(spare)).unwrap();
        let _ = filler.sync_all();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(cause) = Self::run("umount", &["-l", self.at.to_str().unwrap()]) {
            eprintln!("not unmounted: {cause}");
        }
    }
}

/// Root that may not mount is a failure where tools are required, as in CI; else that is said and passed over.
fn skipped(kind: &str, cause: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let is_root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    let required = std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required");
    assert!(!(is_root && required), "no file system could be mounted: {cause}");
    eprintln!("SKIPPED on {kind}: no file system could be mounted: {cause}");
}

/// Runs `check` on each kind of file system that can be mounted here.
async fn on_each(check: impl AsyncFn(&Disk)) {
    for kind in ["tmpfs", "ext4"] {
        match Disk::mount(kind) {
            Ok(disk) => check(&disk).await,
            Err(cause) => skipped(kind, &cause),
        }
    }
}

fn command(n: u32) -> Vec<u8> {
    format!("key{n}={}", "x".repeat(64 << 10)).into_bytes()
}

/// Writes from `first` on until something is not applied; gives how many were, and what came then.
async fn write_until_refused(partition: &dyn Partition, first: u32, within: Duration) -> (u32, Outcome) {
    for n in first.. {
        let outcome = partition.propose(command(n), within).await;
        if !matches!(outcome, Outcome::Applied { .. }) {
            return (n, outcome);
        }
    }
    unreachable!("the disk is small")
}

/// Proposes again and again until it is taken.
async fn resumes(partition: &dyn Partition, text: &str) {
    let again = async {
        while !matches!(partition.propose(text.as_bytes().to_vec(), SHORT).await, Outcome::Applied { .. }) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, again).await.expect("writes go on when there is room");
}

fn all_there(partition: &dyn Partition, end: u32) {
    for n in 0..end {
        assert!(value(partition, &format!("key{n}")).is_some_and(|value| value.len() == 64 << 10), "key{n}");
    }
}

async fn reopened(root: &Path, end: u32) {
    let node = disk_node(root);
    let partition = node.open_group(group(1)).await.unwrap();
    all_there(&*partition, end);
    assert_eq!(value(&*partition, "after").as_deref(), Some("1"));
    assert_eq!(partition.status().health, Health::Running);
    applied(&*partition, "later=1").await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_writes_are_refused_before_the_disk_is_full_and_taken_again_when_there_is_room() {
    on_each(async |disk| {
        let root = disk.at.join("data");
        let node = disk_node(&root);
        let partition = node.open_group(group(1)).await.unwrap();
        disk.fill(DISK_BYTES / 5);
        let (end, refused) = write_until_refused(&*partition, 0, WAIT).await;
        assert_eq!(refused, Outcome::Overloaded("disk full"), "after {end} writes");
        assert!(end > 0);
        assert_eq!(partition.status().health, Health::Running);
        all_there(&*partition, end);
        disk.make_room();
        resumes(&*partition, "after=1").await;
        node.shutdown().await;
        drop((node, partition));
        reopened(&root, end).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_others_fill_to_the_last_byte_loses_nothing_and_goes_on_by_itself() {
    on_each(async |disk| {
        let root = disk.at.join("data");
        let node = disk_node(&root);
        let partition = node.open_group(group(1)).await.unwrap();
        for n in 0..20 {
            assert!(matches!(partition.propose(command(n), WAIT).await, Outcome::Applied { .. }));
        }
        disk.fill(0);
        let (end, refused) = write_until_refused(&*partition, 20, SHORT).await;
        let clear = [Outcome::Overloaded("disk full"), Outcome::Unknown(UnknownReason::Timeout)];
        assert!(clear.contains(&refused), "{refused:?}: {:?}", partition.status().health);
        // What was given up for others is taken as well.
        disk.fill(0);
        for n in 0..5 {
            let outcome = partition.propose(command(1_000 + n), SHORT).await;
            assert!(clear.contains(&outcome), "{outcome:?}");
        }
        all_there(&*partition, end);
        assert_eq!(partition.status().health, Health::Running, "nothing is quarantined");
        disk.make_room();
        resumes(&*partition, "after=1").await;
        all_there(&*partition, end);
        assert!(!root.join("partitions/1/QUARANTINED").exists());
        node.shutdown().await;
        drop((node, partition));
        reopened(&root, end).await;
    })
    .await;
}
