//! A voter that is replaced by another, and may come back.

use std::time::Duration;

use reqwest::Method;

use super::{LOOK, Nemesis, Took, names};
use crate::cluster::{AdminRequest, PartitionView};
use crate::schedule::Who;

/// How long a drain may be refused: nodes that are just coming back are no place for a vote yet.
const DRAIN_MAX: Duration = Duration::from_secs(15);
/// How long the controller may take to replace a voter.
const REPLACE_MAX: Duration = Duration::from_secs(40);
/// A node that stayed drained would be missing in every later fault.
const ACTIVATE_MAX: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(500);

impl Nemesis {
    /// Drains nodes, so that others vote in their place.
    pub(super) async fn replace(&self, who: &Who) -> (Took, String, Vec<usize>) {
        let hit = self.resolve(who).await;
        let Some(id) = self.id_of(&hit).await else {
            return (Took::Skipped, "nobody to drain".to_owned(), Vec::new());
        };
        if !self.votes(id).await.unwrap_or(false) {
            return (Took::Skipped, format!("node {id} does not vote"), Vec::new());
        }
        // Taken back in the end whatever is answered: what was refused may have been done before.
        if let Err(told) = self.insist(&hit, &format!("/v1/nodes/{id}/drain"), DRAIN_MAX).await {
            return (Took::Skipped, told, hit);
        }
        let replaced = async {
            while self.votes(id).await != Some(false) {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(REPLACE_MAX, replaced).await {
            Ok(()) => (Took::Installed, format!("{} votes no more", names(&hit)), hit),
            Err(_) => (Took::Unknown, format!("{} still votes", names(&hit)), hit),
        }
    }

    /// Lets drained nodes have replicas again.
    pub(super) async fn activate(&self, hit: &[usize]) -> String {
        let Some(id) = self.id_of(hit).await else { return "nobody to activate".to_owned() };
        match self.insist(&[], &format!("/v1/nodes/{id}/activate"), ACTIVATE_MAX).await {
            Ok(()) => format!("activated {}", names(hit)),
            Err(told) => format!("not activated: {told}"),
        }
    }

    /// The tenants' partition as the first running node that has it sees it.
    async fn partition_now(&self) -> Option<PartitionView> {
        for turn in 0..self.cluster.nodes.len() {
            if !self.cluster.processes.is_running(turn) {
                continue;
            }
            let asked = tokio::time::timeout(super::VIEW_MAX, self.cluster.view(turn)).await;
            let found = asked.ok().flatten().and_then(|view| view.partition(self.partition).cloned());
            if found.as_ref().is_some_and(|one| one.applied > 0) {
                return found;
            }
        }
        None
    }

    async fn votes(&self, id: u64) -> Option<bool> {
        self.partition_now().await.map(|one| one.voter_ids.contains(&id))
    }

    async fn id_of(&self, hit: &[usize]) -> Option<u64> {
        let admin = self.cluster.nodes.get(*hit.first()?)?.admin.to_string();
        for turn in (0..self.cluster.nodes.len()).filter(|turn| self.cluster.processes.is_running(*turn)) {
            let asked = tokio::time::timeout(super::VIEW_MAX, self.cluster.view(turn)).await;
            if let Some(id) = asked.ok().flatten().and_then(|view| view.id_at(&admin)) {
                return Some(id);
            }
        }
        None
    }

    /// Orders until it is done, or for as long as `patience` lasts; then what was said last.
    async fn insist(&self, hit: &[usize], path: &str, patience: Duration) -> Result<(), String> {
        let mut told = "nobody answered".to_owned();
        let trying = async {
            while let Err(why) = self.order(hit, path).await {
                told = why;
                tokio::time::sleep(AGAIN).await;
            }
        };
        let done = tokio::time::timeout(patience, trying).await;
        done.map_err(|_| told)
    }

    /// Of any node that is not `hit`.
    async fn order(&self, hit: &[usize], path: &str) -> Result<(), String> {
        let mut told = "nobody to ask".to_owned();
        for turn in (0..self.cluster.nodes.len()).filter(|turn| !hit.contains(turn)) {
            let request =
                AdminRequest { method: Method::POST, path, key: None, consistency: None, body: None };
            match self.cluster.admin(&self.cluster.http, turn, request).await {
                Ok(answer) if answer.is_success() => return Ok(()),
                Ok(answer) => told = answer.told(),
                Err(lost) => told = lost.to_string(),
            }
        }
        Err(told)
    }
}
