//! A node whose disk fills up, as people and programs see it. Needs the right to mount a file system.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(dead_code, reason = "a part of the support is used")]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::{DevNode, Start};

/// Of the whole file system; a node refuses writes with less than a sixteenth of it free.
const DISK: &str = "size=192m";
const WAIT_MAX: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);

/// A small file system, unmounted when dropped.
struct Disk {
    at: PathBuf,
    _temp: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Result<Self, String> {
        let temp = tempfile::tempdir().unwrap();
        let at = temp.path().join("disk");
        std::fs::create_dir(&at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "none"]).arg(&at).output();
        let mount = mount.map_err(|cause| cause.to_string())?;
        let said = String::from_utf8_lossy(&mount.stderr).trim().to_owned();
        if mount.status.success() { Ok(Self { at, _temp: temp }) } else { Err(said) }
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Leaves 4 MiB: too little for writes, enough for what a node notes by itself.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        while filler.write_all(&vec![7; 1 << 20]).is_ok() {}
        let length = filler.metadata().unwrap().len();
        filler.set_len(length.saturating_sub(4 << 20)).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing more to do about it here.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// A node and what asks it.
struct World {
    node: DevNode,
    http: reqwest::Client,
}

impl World {
    fn start(data: &Path) -> Self {
        Self { node: Start::on(data).serve(), http: reqwest::Client::new() }
    }

    async fn create(&self, name: &str) -> (u16, Value) {
        let url = format!("{}/v1/tenants/demo/users", self.node.text("admin_url"));
        let request = self.http.post(url).bearer_auth(self.node.text("admin_token"));
        let answer = request.json(&json!({ "username": name })).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn listed(&self) -> Value {
        let url = format!("{}/v1/tenants/demo/users", self.node.text("admin_url"));
        let answer = self.http.get(url).bearer_auth(self.node.text("admin_token")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "reads need no room");
        answer.json().await.unwrap()
    }

    async fn readiness(&self) -> String {
        let url = format!("{}/readyz?verbose", self.node.text("management_url"));
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Waits until `/readyz?verbose` names the disk, or names it no more.
    async fn until_full(&self, full: bool) {
        let waiting = async {
            while self.readiness().await.contains("[-] disk: full") != full {
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(WAIT_MAX, waiting).await;
        assert!(waited.is_ok(), "full: {full} is not told: {}", self.readiness().await);
    }
}

/// Root that may not mount is a failure where tools are required, as in CI; else that is said and passed over.
fn skipped(cause: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let is_root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    let required = std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required");
    assert!(!(is_root && required), "no file system could be mounted: {cause}");
    eprintln!("SKIPPED: no file system could be mounted: {cause}");
}

#[tokio::test]
async fn a_full_disk_is_named_to_whoever_writes_and_writes_go_on_when_there_is_room() {
    let disk = match Disk::mount() {
        Ok(disk) => disk,
        Err(cause) => return skipped(&cause),
    };
    let world = World::start(&disk.at.join("data"));
    assert_eq!(world.create("before").await.0, 201);
    disk.fill();
    world.until_full(true).await;
    let (status, problem) = world.create("refused").await;
    assert_eq!((status, &problem["detail"]), (503, &json!("nothing was done: disk full")), "{problem}");
    assert!(world.listed().await.to_string().contains("\"before\""));
    disk.make_room();
    world.until_full(false).await;
    let (status, made) = world.create("refused").await;
    assert_eq!(status, 201, "nothing of the refused write is there: {made}");
}
