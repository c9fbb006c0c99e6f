//! Whatever ends a run, and whenever, nothing of it is left: no process, mount, loop device or group.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what is wrong")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);
/// A node that is made, and then never serves.
const NODE: &str = "#!/bin/sh\nif [ \"$1\" = start ]; then while :; do sleep 1; done; fi\n";

/// Processes whose command line names this folder, outside first.
fn processes(folder: &Path) -> Vec<u32> {
    let wanted = folder.to_str().unwrap();
    let mut found: Vec<u32> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(wanted)
        })
        .collect();
    found.sort_unstable();
    found
}

fn told_by(program: &str, arguments: &[&str]) -> String {
    String::from_utf8(Command::new(program).args(arguments).output().unwrap().stdout).unwrap()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(LOOK).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "in vain: {what}");
}

/// A run that waits for its first node, which runs.
async fn started(folder: &Path) -> Child {
    let node = folder.join("node");
    std::fs::write(&node, NODE).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&node).status().unwrap().success());
    let run = Command::new(env!("CARGO_BIN_EXE_domicile-jepsen"))
        .args(["run", "--topology", "eu2,us1", "--time-limit", "10", "--seed", "1", "--net", "netns"])
        .arg("--binary")
        .arg(&node)
        .arg("--out")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("a node that runs", || {
        processes(folder).iter().any(|id| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.starts_with(b"/bin/sh") && line.ends_with(b"start\0")
        })
    })
    .await;
    run
}

async fn nothing_is_left(folder: &Path, run: &mut Child) {
    run.wait().unwrap();
    let name = format!("domicile-chaos-{}", run.id());
    until("the end of all processes", || processes(folder).is_empty()).await;
    until("the end of its disks", || !told_by("losetup", &["-a"]).contains(folder.to_str().unwrap())).await;
    assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains(folder.to_str().unwrap()));
    for controller in ["", "cpu", "blkio"] {
        assert!(!Path::new("/sys/fs/cgroup").join(controller).join(&name).exists());
    }
}

/// Root has to be able to: what it cannot do is a failure.
fn may_try() -> bool {
    let is_root = domicile_jepsen::enclosure::is_root();
    if !is_root {
        eprintln!("SKIPPED: an enclosure needs root, which this process is not");
    }
    is_root
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_nothing() {
    if !may_try() {
        return;
    }
    // The program that waits outside, and the one within, which is what it started first.
    for within in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = started(folder.path()).await;
        assert_eq!(told_by("losetup", &["-a"]).matches(folder.path().to_str().unwrap()).count(), 3);
        let victim = if within {
            let found = processes(folder.path());
            *found
                .iter()
                .find(|id| {
                    let state = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
                    // The first process of its own namespace.
                    state.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
                })
                .unwrap()
        } else {
            run.id()
        };
        assert!(Command::new("kill").args(["-KILL", &victim.to_string()]).status().unwrap().success());
        nothing_is_left(folder.path(), &mut run).await;
    }
}

#[tokio::test]
async fn two_runs_side_by_side_do_not_meet() {
    if !may_try() {
        return;
    }
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut first, mut second) = tokio::join!(started(one.path()), started(other.path()));
    first.kill().unwrap();
    nothing_is_left(one.path(), &mut first).await;
    assert!(second.try_wait().unwrap().is_none());
    assert!(!processes(other.path()).is_empty());
    second.kill().unwrap();
    nothing_is_left(other.path(), &mut second).await;
}
