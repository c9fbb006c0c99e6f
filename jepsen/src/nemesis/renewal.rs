//! Nodes' certificates end soon in a run that asks for renewals, so that each node renews its own every 40 s. The
//! fault is the next one of any node: it began and ends here.

use std::time::Duration;

use super::{LOOK, Nemesis, Took};

/// What a node writes when it did.
const RENEWED: &str = "renewed this node's certificate";
const RENEWAL_MAX: Duration = Duration::from_mins(1);

impl Nemesis {
    pub(super) async fn renewal(&self) -> (Took, String, Vec<usize>) {
        let before = self.renewals();
        let renewed = async {
            loop {
                let now = self.renewals();
                let who = now.iter().zip(&before).position(|(now, before)| now > before);
                if let Some(who) = who {
                    return who;
                }
                tokio::time::sleep(LOOK * 5).await;
            }
        };
        match tokio::time::timeout(RENEWAL_MAX, renewed).await {
            Ok(who) => (Took::Installed, format!("n{} renewed its certificate", who + 1), vec![who]),
            Err(_) => (Took::Skipped, "no certificate was renewed".to_owned(), Vec::new()),
        }
    }

    /// How often each node did so far.
    fn renewals(&self) -> Vec<usize> {
        let count = |log: Vec<u8>| String::from_utf8_lossy(&log).matches(RENEWED).count();
        self.cluster.nodes.iter().map(|node| std::fs::read(node.log()).map_or(0, count)).collect()
    }
}
