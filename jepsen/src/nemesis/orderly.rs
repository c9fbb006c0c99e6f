//! What operators do too: nodes restarted in turn, and a leadership that is handed over.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{LOOK, Nemesis, Took, took};
use crate::cluster::{AdminRequest, Signal};

/// How long a node may take to stop in order: requests in flight have some seconds of it.
const STOP_MAX: Duration = Duration::from_secs(30);
const TRANSFER_MAX: Duration = Duration::from_secs(8);

impl Nemesis {
    /// SIGTERM and a start, one node after another. The last part is who did not stop by itself.
    pub(super) async fn restart(&self, nodes: &[usize]) -> (Took, String, Vec<usize>, Vec<String>) {
        let (mut told, mut done, mut unstopped) = (Vec::new(), Vec::new(), Vec::new());
        for node in nodes {
            if !self.cluster.processes.signal(*node, Signal::Terminate) {
                continue;
            }
            let in_order = self.cluster.processes.gone(*node, STOP_MAX).await;
            told.push(format!("n{}{}", node + 1, if in_order { "" } else { " (killed: it did not stop)" }));
            if !in_order {
                let limit_s = STOP_MAX.as_secs();
                unstopped.push(format!("n{} did not stop within {limit_s} s of SIGTERM", node + 1));
            }
            if self.cluster.start(*node).is_err() || self.cluster.ready(*node).await.is_err() {
                return (Took::Unknown, format!("{} did not come back", told.join(" ")), done, unstopped);
            }
            done.push(*node);
        }
        // What had to be killed was not stopped in order.
        let took = if unstopped.is_empty() { took(!done.is_empty()) } else { Took::Unknown };
        (took, told.join(" "), done, unstopped)
    }

    /// Has another voter lead.
    pub(super) async fn transfer(&self) -> (Took, String, Vec<usize>) {
        let Some(before) = self.leader().await else {
            return (Took::Skipped, "nobody leads".to_owned(), Vec::new());
        };
        let (path, body) = (format!("/v1/partitions/{}/transfer-leader", self.partition), json!({}));
        let request = AdminRequest {
            method: Method::POST,
            path: &path,
            key: None,
            consistency: None,
            body: Some(&body),
        };
        match self.cluster.admin(&self.cluster.http, before, request).await {
            Ok(answer) if !answer.is_success() => return (Took::Skipped, answer.told(), Vec::new()),
            Ok(_) | Err(_) => {}
        }
        let changed = async {
            loop {
                match self.leader().await {
                    Some(after) if after != before => return after,
                    Some(_) | None => tokio::time::sleep(LOOK).await,
                }
            }
        };
        match tokio::time::timeout(TRANSFER_MAX, changed).await {
            Ok(after) => (Took::Installed, format!("n{} to n{}", before + 1, after + 1), vec![before]),
            Err(_) => (Took::Unknown, format!("n{} still leads", before + 1), Vec::new()),
        }
    }
}
