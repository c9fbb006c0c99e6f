//! Power loss on an ext4 of our own: stop the process, shut the file system down without its journal,
//! mount it again. What was not synced is gone.
//!
//! The shutdown is an ioctl, which safe Rust cannot issue; perl can, and is essential on Debian, so it
//! is there wherever these tests have root. Without root the tests say so and pass; what else is missing is
//! a failure where tools are required, as in CI.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;

use domicile_storage::{Batch, Engine as _, GroupId, LogEngine as _, LogEntry, LogError, Write};

use crate::child::{Answers, NEVER, OFTEN, Position, RARELY, check, open, spawn};
use crate::workload::choice;
use crate::{is_there, number, seed, skipped};

const SHUTDOWN: &str = r"
    open(my $mount, '<', $ARGV[0]) or die qq($ARGV[0]: $!);
    my $without_journal = pack('L', 2);
    ioctl($mount, 0x8004587d, $without_journal) or die qq(FS_IOC_SHUTDOWN: $!);
";

fn run(program: &str, arguments: &[&str]) {
    tried(program, arguments).unwrap_or_else(|cause| panic!("{cause}"));
}

fn tried(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {errors}")) }
}

/// A mounted loop file; unmounted when dropped.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// One for a test of `what`, unless this machine has none to give.
    fn of(directory: &Path, what: &str) -> Option<Self> {
        let lacks = match missing() {
            Some(Lack::Root) => {
                println!("SKIPPED: {what} needs root, which this process is not");
                return None;
            }
            Some(Lack::Tool(named)) => named.to_owned(),
            None => match Self::new(directory) {
                Ok(disk) => return Some(disk),
                Err(cause) => format!("a file system that can be mounted ({cause})"),
            },
        };
        skipped(&lacks);
        None
    }

    fn new(directory: &Path) -> Result<Self, String> {
        let disk = Self { image: directory.join("image"), mount: directory.join("mount") };
        std::fs::create_dir(&disk.mount).unwrap();
        std::fs::File::create(&disk.image).unwrap().set_len(256 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", disk.image.to_str().unwrap()]);
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        tried("mount", &["-o", "loop", self.image.to_str().unwrap(), self.mount.to_str().unwrap()])
    }

    fn lose_power(&self) {
        run("perl", &["-e", SHUTDOWN, self.mount.to_str().unwrap()]);
    }

    fn unmount(&self) {
        // A process that another test is starting shares our open files until it is itself.
        let unmount = || Command::new("umount").arg(&self.mount).output().unwrap();
        let mut last = unmount();
        for _ in 0..500 {
            if last.status.success() {
                return;
            }
            last = unmount();
        }
        panic!("umount: {}", String::from_utf8_lossy(&last.stderr));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing more to do about it here; a round that failed is being reported.
        let _ =
            Command::new("umount").arg("-l").arg(&self.mount).stderr(std::process::Stdio::null()).status();
    }
}

/// What keeps this process from it.
enum Lack {
    /// It may not mount; nobody expects it to.
    Root,
    /// It is root on a machine without this.
    Tool(&'static str),
}

fn missing() -> Option<Lack> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    match (root, Path::new("/dev/loop-control").exists()) {
        (false, _) => Some(Lack::Root),
        (true, false) => Some(Lack::Tool("loop devices")),
        (true, true) => {
            let tools =
                [("mkfs.ext4", "mkfs.ext4 (Debian's `e2fsprogs`)"), ("mount", "mount"), ("perl", "perl")];
            tools.into_iter().find(|(program, _)| !is_there(program)).map(|(_, named)| Lack::Tool(named))
        }
    }
}

/// Stops every thread of the process before returning.
fn freeze(pid: u32) {
    run("sh", &["-c", &format!("kill -STOP {pid}")]);
    let running = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.filter_map(Result::ok).any(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state follows the name, which is in brackets and may hold spaces.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('T'))
        })
    };
    while running() {
        std::thread::yield_now();
    }
}

/// Works, loses its power and is looked at, again and again; every fifth round begins with an empty directory, since
/// fresh ones fail in other ways than aged ones. Reads up to `answers_max` answers before a cut.
fn lose_power_again_and_again(what: &str, sync_every: u64, answers_max: u64) {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::of(directory.path(), what) else { return };
    let seed = seed();
    let rounds = number("DOMICILE_POWER_LOSS_ROUNDS", 20);
    let mut data = disk.mount.join("0");
    let mut position = Position::default();
    for round in 0..rounds {
        if round.is_multiple_of(5) {
            let _ = std::fs::remove_dir_all(&data);
            data = disk.mount.join(round.to_string());
            std::fs::create_dir(&data).unwrap();
            std::fs::File::open(&disk.mount).unwrap().sync_all().unwrap();
            position = Position::default();
        }
        let mut child = spawn(&data, seed, position, sync_every);
        let mut answers = Answers::of(&mut child, position);
        answers.read_some(choice(seed, round, answers_max) + 5);
        freeze(child.id());
        disk.lose_power();
        child.kill().unwrap();
        answers.read_rest();
        child.wait().unwrap();
        disk.unmount();
        disk.mount().unwrap();
        position = check(&data, seed, answers.position);
    }
    println!("{rounds} rounds of power loss, all whole");
}

#[test]
fn lost_power_leaves_a_prefix_with_all_that_was_synced() {
    lose_power_again_and_again("power loss", OFTEN, 100);
}

/// As a node runs: its log is synced with every entry, which has the journal of the file system written, its state once in
/// thousands. What sled wrote in between is on the disk in part.
#[test]
fn lost_power_leaves_a_state_whole_that_was_written_to_long_after_its_last_sync() {
    lose_power_again_and_again("power loss between syncs", RARELY, 1_000);
}

/// sled overwrites segments whose pages it has moved, and takes the moved ones for durable once it wrote them.
#[test]
fn what_sled_has_written_is_on_the_disk_before_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::of(directory.path(), "power loss behind sled's back") else { return };
    let mut child = spawn(&disk.mount, seed(), Position::default(), NEVER);
    let file = disk.mount.join("state/db/db");
    while std::fs::metadata(&file).map_or(0, |found| found.len()) < 2 << 20 {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        std::thread::yield_now();
    }
    // A process that stands still has no write under way.
    freeze(child.id());
    let written = std::fs::read(&file).unwrap();
    disk.lose_power();
    child.kill().unwrap();
    child.wait().unwrap();
    disk.unmount();
    disk.mount().unwrap();
    let kept = std::fs::read(&file).unwrap();
    assert!(kept == written, "{} bytes were written, {} are left", written.len(), kept.len());
}

#[test]
fn a_disk_that_fails_stops_the_log_and_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::of(directory.path(), "a failing disk") else { return };
    let (log, state) = open(&disk.mount, 60_000);
    let append = |index| {
        let (answer, answers) = channel();
        let entries = vec![LogEntry { index, bytes: vec![7; 100] }];
        log.append(GroupId(0), entries, Box::new(move |result| answer.send(result).unwrap()));
        answers.recv().unwrap()
    };
    let put = || {
        let write = Write::Put { key: b"k".to_vec(), value: b"v".to_vec() };
        state.commit(Batch { writes: vec![write] }).and_then(|()| state.sync())
    };
    append(1).unwrap();
    put().unwrap();
    disk.lose_power();
    let first = append(2).unwrap_err();
    assert!(matches!(first, LogError::Io { .. }), "{first}");
    let later = append(3).unwrap_err();
    assert!(matches!(later, LogError::Stopped(_)), "{later}");
    assert!(put().is_err());
    // Nobody may take for stored what is only in memory.
    assert!(state.get(b"k").is_err() && put().is_err());
    drop((log, state));
    disk.unmount();
    disk.mount().unwrap();
    let (log, state) = open(&disk.mount, 60_000);
    assert_eq!(log.bounds(GroupId(0)).last, Some(1));
    assert_eq!(state.get(b"k").unwrap().unwrap(), b"v");
}
