//! Nodes' certificates end soon in a run that asks for renewals, so that each node renews its own every 40 s. The
//! fault is the next one of any node: it began and ends here. Connections that are open live on with what they were
//! made with, so that another node is restarted then: it must find the one that renewed, and be found by it.

use std::time::Duration;

use super::{LOOK, Nemesis, Took, VIEW_MAX, names};

/// What a node writes when it did.
const RENEWED: &str = "renewed this node's certificate";
const RENEWAL_MAX: Duration = Duration::from_mins(1);
/// How long the restarted node may take to hear the one that renewed.
const HEAR_MAX: Duration = Duration::from_secs(20);

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
        let Ok(who) = tokio::time::timeout(RENEWAL_MAX, renewed).await else {
            return (Took::Skipped, "no certificate was renewed".to_owned(), Vec::new());
        };
        let told = format!("{} renewed its certificate", names(&[who]));
        let other = (who + 1) % self.cluster.nodes.len();
        if other == who {
            return (Took::Installed, told, vec![who]);
        }
        let (took, restarted, ..) = self.restart(&[other]).await;
        if took != Took::Installed {
            return (Took::Unknown, format!("{told}, restarted {restarted}"), vec![who]);
        }
        if self.hears(other, who).await {
            (Took::Installed, format!("{told}, {} connected anew", names(&[other])), vec![who])
        } else {
            (Took::Unknown, format!("{told}, {} does not hear it", names(&[other])), vec![who])
        }
    }

    /// Whether `one` gets answers of `other`, over connections that it made since it was started.
    async fn hears(&self, one: usize, other: usize) -> bool {
        let Some(node) = self.cluster.nodes.get(other) else { return false };
        let hearing = async {
            loop {
                let asked = tokio::time::timeout(VIEW_MAX, self.cluster.view(one)).await;
                if asked.ok().flatten().is_some_and(|view| view.answers(node.admin.as_str())) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(HEAR_MAX, hearing).await.is_ok()
    }

    /// How often each node did so far.
    fn renewals(&self) -> Vec<usize> {
        let count = |log: Vec<u8>| String::from_utf8_lossy(&log).matches(RENEWED).count();
        self.cluster.nodes.iter().map(|node| std::fs::read(node.log()).map_or(0, count)).collect()
    }
}
