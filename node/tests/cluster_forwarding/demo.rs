//! `domicile demo` as a process: three nodes of one region.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

/// Debug builds make RSA keys before they serve; on a busy machine that takes a while.
const START_MAX: Duration = Duration::from_mins(4);

#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    pub id: u64,
    pub public_url: String,
    pub admin_url: String,
    pub management_url: String,
    pub pid: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Tenant {
    pub slug: String,
    pub partition: u64,
    pub issuer: String,
    pub username: String,
    pub password: String,
    pub client_id: String,
    pub client_secret: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub nodes: Vec<Node>,
    pub tenants: Vec<Tenant>,
    pub admin_token: String,
}

/// Ends with this value, with all its processes.
pub struct Demo {
    pub ready: Ready,
    child: Child,
    _directory: TempDir,
}

impl Demo {
    pub async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("ready.json");
        let log = std::fs::File::create(directory.path().join("demo.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args(["demo", "--nodes", "3", "--data-dir"])
            .arg(directory.path().join("data"))
            .arg("--ready-file")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = ready(&file, &mut child).await;
        Self { ready, child, _directory: directory }
    }

    /// `kill -9` of one node.
    pub fn kill(node: &Node) {
        let process = Pid::from_raw(i32::try_from(node.pid).unwrap()).unwrap();
        kill_process(process, Signal::KILL).unwrap();
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

async fn ready(file: &PathBuf, child: &mut Child) -> Ready {
    let mut poll = tokio::time::interval(Duration::from_millis(50));
    let waiting = async {
        loop {
            poll.tick().await;
            let written = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(ready) = written {
                return ready;
            }
            if let Some(status) = child.try_wait().unwrap() {
                let log = file.with_file_name("demo.log");
                panic!("the demo ended: {status}\n{}", std::fs::read_to_string(log).unwrap());
            }
        }
    };
    let Ok(ready) = tokio::time::timeout(START_MAX, waiting).await else {
        let log = file.with_file_name("demo.log");
        panic!("the demo is not ready\n{}", std::fs::read_to_string(log).unwrap())
    };
    ready
}
