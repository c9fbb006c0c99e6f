//! A node whose disk cannot be trusted any more: it is decommissioned, and its host joins under a new id.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::{AdminRequest, Cluster, PartitionView, Signal};
use crate::client::Door;

const LOOK: Duration = Duration::from_millis(200);
/// For the cluster to let go of the old node.
const REBUILD_MAX: Duration = Duration::from_mins(2);

impl Cluster {
    /// Has a node join anew, with an empty disk and another id; returns once it serves and nothing is missing.
    ///
    /// # Errors
    /// The cluster does not let the old one go, or the new one in.
    pub async fn rebuild(&self, turn: usize) -> anyhow::Result<()> {
        self.remove(turn).await?;
        self.join_anew(turn).await
    }

    /// Ends a node and has the cluster forget it: its votes go, its id is never used again.
    ///
    /// # Errors
    /// The cluster does not let it go.
    pub async fn remove(&self, turn: usize) -> anyhow::Result<()> {
        self.processes.signal(turn, Signal::Kill);
        self.net.set_process(turn, None);
        let working = async {
            let (from, id) = self.somebody_who_knows(turn).await;
            self.decommission(turn, from, id).await;
        };
        let worked = tokio::time::timeout(REBUILD_MAX, working).await;
        worked.with_context(|| format!("{} is not let go", self.nodes[turn].name))
    }

    /// Has the machine of a node that was removed join, with an empty disk; returns once it serves and nothing is
    /// missing.
    ///
    /// # Errors
    /// The cluster does not let it in.
    pub async fn join_anew(&self, turn: usize) -> anyhow::Result<()> {
        let working = async {
            let data = self.nodes[turn].data();
            std::fs::remove_dir_all(data).with_context(|| format!("cannot empty {}", data.display()))?;
            self.join(turn).await;
            self.start(turn)?;
            self.ready(turn).await?;
            // The next disk may be lost only when this one is made up for.
            while !self.is_whole().await {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        };
        let worked = tokio::time::timeout(REBUILD_MAX, working).await;
        worked.with_context(|| format!("{} does not come back as a new node", self.nodes[turn].name))?
    }

    /// Until somebody has let it in; a token that was made and not used runs out.
    async fn join(&self, turn: usize) {
        let region = json!({ "region": self.nodes[turn].region });
        for from in (0..self.nodes.len()).filter(|other| *other != turn).cycle() {
            if self.processes.is_running(from) {
                match self.join_by(turn, from, &region).await {
                    Ok(()) => return,
                    Err(told) => eprintln!("n{} did not join: {told:#}", turn + 1),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn join_by(&self, turn: usize, from: usize, region: &Value) -> anyhow::Result<()> {
        let made = self.persist(from, "/v1/join-tokens", region).await?;
        let token = made.get("token").and_then(Value::as_str).context("no join token came back")?;
        Ok(self.processes.run(turn, &["join", "-"], Some(token.to_owned())).await?)
    }

    /// Whether every partition has all its voters, and all of its state on each.
    pub async fn is_whole(&self) -> bool {
        let voters = self.nodes.len().min(3);
        for turn in 0..self.nodes.len() {
            if let Some(view) = self.view(turn).await {
                let is_whole = |one: &PartitionView| one.available && one.caught_up && one.voters >= voters;
                return !view.partitions.is_empty() && view.partitions.iter().all(is_whole);
            }
        }
        false
    }

    /// Another node, and the id under which it knows this one.
    async fn somebody_who_knows(&self, turn: usize) -> (usize, u64) {
        loop {
            for from in (0..self.nodes.len()).filter(|from| *from != turn) {
                let Some(view) = self.view(from).await else { continue };
                if let Some(id) = view.id_at(self.nodes[turn].admin.as_str()) {
                    return (from, id);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Until it is done: refused while another voter's absence would cost a quorum; others are asked in turn, since
    /// the one asked may be cut off.
    async fn decommission(&self, turn: usize, first: usize, id: u64) {
        let path = format!("/v1/nodes/{id}/decommission");
        let nodes = self.nodes.len();
        let others = (first..first + nodes).map(|other| other % nodes).filter(|other| *other != turn);
        for from in others.cycle() {
            let request = AdminRequest {
                method: Method::POST,
                path: &path,
                key: None,
                consistency: None,
                body: Some(&Value::Null),
            };
            if self.admin(&self.http, from, request).await.is_ok_and(|answer| answer.is_success()) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many of a node's partitions are stopped, by its metrics.
    pub async fn stopped_partitions(&self, turn: usize) -> Option<usize> {
        let url = self.nodes.get(turn)?.management.join("/metrics").ok()?;
        let asked = self.http.send(self.http.request(Method::GET, &url, &Door::Named));
        let answer = tokio::time::timeout(Duration::from_secs(2), asked).await.ok()?.ok()?;
        let stopped = answer.text.lines().filter(|line| line.starts_with("domicile_partition_stopped{"));
        Some(stopped.filter(|line| line.ends_with(" 1")).count())
    }
}
