//! A node that is removed for good, and a machine that joins under another id in its place.

use super::{Nemesis, Took, machine, names};
use crate::schedule::Who;

impl Nemesis {
    /// Removes a node: its votes go to others, or are missing until it is back.
    pub(super) async fn send_off(&self, who: &Who) -> (Took, String, Vec<usize>) {
        let skipped = |why: &str| (Took::Skipped, why.to_owned(), Vec::new());
        let Some(node) = self.resolve(who).await.first().copied() else { return skipped("nobody to remove") };
        if !self.cluster.processes.is_running(node) || !machine::is_whole(&self.cluster).await {
            return skipped("what an earlier fault took is not made up for");
        }
        match self.cluster.remove(node).await {
            Ok(()) => (Took::Unknown, format!("{} is removed", names(&[node])), vec![node]),
            Err(why) => {
                // It is still a member, and comes back as it was.
                let back = self.cluster.start(node).err().map(|why| format!(", {why:#}")).unwrap_or_default();
                skipped(&format!("{why:#}{back}"))
            }
        }
    }

    /// Its machine joins. It took once that serves and nothing is missing.
    pub(super) async fn take_in(&self, hit: &[usize]) -> (Took, String) {
        let Some(node) = hit.first() else { return (Took::Skipped, "nobody to take in".to_owned()) };
        match self.cluster.join_anew(*node).await {
            Ok(()) => (Took::Installed, format!("{} joined anew", names(hit))),
            Err(why) => (Took::Unknown, format!("{why:#}")),
        }
    }
}
