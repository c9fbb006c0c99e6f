//! A real cluster, as `domicile demo` makes it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::http1::{Http1, Request};
use crate::process::{self, Running};
use crate::wait_for;

/// Nodes, tenants and how to reach them.
pub struct Demo {
    pub ready: Value,
    /// Processes started here, in place of ones that were killed.
    restarted: Vec<Option<Running>>,
    pids: Vec<u32>,
    parent: Option<Running>,
    home: TempDir,
}

/// `kill -9`.
fn kill(pid: u32) -> rustix::io::Result<()> {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL)
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.parent.take());
        // They would stop by themselves, in order and in their time.
        for pid in &self.pids {
            let _ = kill(*pid);
        }
    }
}

impl Demo {
    /// `domicile demo` with these arguments; returns once it serves.
    pub async fn start(arguments: &[&str]) -> Self {
        let home = process::home();
        let file = home.path().join("ready.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
        command.arg("demo").args(arguments).arg("--data-dir").arg(home.path().join("demo"));
        command.arg("--ready-file").arg(&file);
        let mut parent = Running::start(&mut command, &home.path().join("demo.log"));
        let ready: Value = wait_for("the demo serves", async || {
            assert!(parent.0.try_wait().unwrap().is_none(), "the demo ended: {}", log(home.path()));
            serde_json::from_slice(&std::fs::read(&file).ok()?).ok()
        })
        .await;
        let pids: Vec<u32> = list(&ready, "nodes")
            .iter()
            .map(|node| u32::try_from(node["pid"].as_u64().unwrap()).unwrap())
            .collect();
        let restarted = pids.iter().map(|_| None).collect();
        Self { ready, restarted, pids, parent: Some(parent), home }
    }

    pub fn nodes(&self) -> usize {
        self.pids.len()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.pids.clone()
    }

    fn text(&self, turn: usize, name: &str) -> &str {
        self.ready["nodes"][turn][name].as_str().unwrap()
    }

    pub fn region(&self, turn: usize) -> &str {
        self.text(turn, "region")
    }

    pub fn public_url(&self, turn: usize) -> &str {
        self.text(turn, "public_url")
    }

    /// `host:port`.
    pub fn public(&self, turn: usize) -> &str {
        self.public_url(turn).strip_prefix("http://").unwrap()
    }

    pub fn admin(&self, turn: usize) -> &str {
        self.text(turn, "admin_url").strip_prefix("http://").unwrap()
    }

    pub fn token(&self) -> &str {
        self.ready["admin_token"].as_str().unwrap()
    }

    /// The tenant of that name, as the ready file describes it.
    pub fn tenant(&self, slug: &str) -> &Value {
        list(&self.ready, "tenants").iter().find(|tenant| tenant["slug"] == slug).unwrap()
    }

    /// `kill -9`.
    pub fn kill(&mut self, turn: usize) {
        kill(self.pids[turn]).unwrap();
        drop(self.restarted[turn].take());
    }

    /// Starts a node that was killed.
    pub fn bring_back(&mut self, turn: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
        command.arg("start").arg("--config").arg(self.text(turn, "config_file"));
        let running = Running::start(&mut command, &self.home.path().join(format!("again-{turn}.log")));
        self.pids[turn] = running.pid();
        self.restarted[turn] = Some(running);
    }

    /// `GET` on the admin API of a node.
    pub async fn get(&self, turn: usize, path: &str) -> Result<Value, String> {
        let address = self.admin(turn);
        let headers = format!("authorization: Bearer {}\r\n", self.token());
        let request = Request::get(path, address, &headers);
        let asking = async { Http1::to(address).send(&request).await?.good().map(|answer| answer.json()) };
        tokio::time::timeout(Duration::from_secs(10), asking).await.map_err(|_| "no answer".to_owned())?
    }

    /// `POST` on the admin API of the first node.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let address = self.admin(0);
        let request = Request::json(path, address, body, self.token());
        Http1::to(address).send(&request).await?.good().map(|answer| answer.json())
    }

    /// The partition as node `from` sees it, once it has a leader and `voters` voters, all alive and level.
    pub async fn settled(&self, from: usize, partition: u64, voters: usize) -> Value {
        wait_for("the partition is whole", async || {
            let cluster = self.get(from, "/v1/cluster").await.ok()?;
            let found = list(&cluster, "partitions").iter().find(|one| one["id"] == partition)?.clone();
            let replicas = list(&found, "replicas");
            let committed = found["committed"].as_u64()?;
            let level = |replica: &Value| replica["applied"].as_u64().is_some_and(|at| at + 50 >= committed);
            let whole = found["available"] == true
                && found["leader"].is_u64()
                && list(&found, "voters").len() == voters
                && replicas.len() >= voters
                && replicas.iter().all(level);
            whole.then_some(found)
        })
        .await
    }

    /// The node's turn by its id.
    pub fn turn_of(&self, node: &Value) -> usize {
        list(&self.ready, "nodes").iter().position(|one| one["id"] == *node).unwrap()
    }

    /// Which node leads a tenant's partition, once all is well there.
    pub async fn leader(&self, from: usize, slug: &str) -> usize {
        let partition = self.tenant(slug)["partition"].as_u64().unwrap();
        self.turn_of(&self.settled(from, partition, 3).await["leader"])
    }
}

fn log(home: &Path) -> String {
    std::fs::read_to_string(home.join("demo.log")).unwrap_or_default()
}

/// A list in a document.
pub fn list<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document[name].as_array().map_or(&[], Vec::as_slice)
}
