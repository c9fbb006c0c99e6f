//! Links that are cut and joined again, and who is left alone by it.

use std::time::Duration;

use super::{Begun, LOOK, Nemesis, Took, cuts, names};
use crate::net::Seen;
use crate::schedule::{Fault, Shape, Who};

/// How long a leader that was cut off is waited for to have a successor: some cuts leave it its place.
const SUCCESSION_MAX: Duration = Duration::from_secs(8);

/// Whether a fault of links took, by what was seen while it lasted: of what can be counted it must have `met` some, and
/// nothing may have passed by it.
pub(super) fn took(began: Took, met: Option<u64>, stray_bytes: u64) -> Took {
    if began == Took::Skipped || met == Some(0) {
        Took::Skipped
    } else if stray_bytes > 0 {
        Took::Unknown
    } else {
        Took::Installed
    }
}

/// What passed by, for people.
pub(super) fn strays(seen: Seen) -> String {
    match seen.stray_bytes {
        0 => String::new(),
        bytes => format!(", but {bytes} bytes passed on connections whose process is not known"),
    }
}

impl Nemesis {
    /// Cuts links. The last part is who lost the majority of the others and kept its clients.
    pub(super) async fn partition(&self, shape: &Shape) -> (Took, String, Vec<usize>, Vec<usize>) {
        let links = &self.cluster.net.links;
        let whom = match cuts::target(shape) {
            Some(who) => self.resolve(who).await,
            None => Vec::new(),
        };
        let nodes = self.cluster.nodes.len();
        // Packets of clients go through the router; proxies do not have them.
        let has_clients = self.cluster.net.counts().is_some();
        let ends = if has_clients { links.ends() - 1 } else { nodes };
        let order = cuts::of(shape, &whom, |region| self.ends_of(region, ends), nodes, ends);
        for (from, to) in &order {
            links.cut(*from, *to);
            if cuts::is_gradual(shape) {
                tokio::time::sleep(LOOK).await;
            }
        }
        let astray = if cuts::takes_clients(shape) { Vec::new() } else { cuts::astray(&order, nodes) };
        let told = format!("{} {} links cut", names(&whom), links.cuts());
        (super::took(links.cuts() > 0), told, whom, astray)
    }

    /// Makes all links whole.
    pub(super) async fn join(&self, shape: &Shape) -> String {
        let links = &self.cluster.net.links;
        if cuts::is_gradual(shape) {
            for node in (0..self.cluster.nodes.len()).rev() {
                for other in 0..self.cluster.nodes.len() {
                    links.heal(node, other);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        links.heal_all();
        "healed".to_owned()
    }

    /// Returns once a fault does what it is for. That the leader is cut off is felt only when another leads.
    pub async fn bites(&self, fault: &Fault, begun: &Begun) {
        let Fault::Partition(shape) = fault else { return };
        if cuts::target(shape) != Some(&Who::Leader) || begun.hit.is_empty() {
            return;
        }
        let succeeded = async {
            while !self.another_leads(&begun.hit).await {
                tokio::time::sleep(LOOK).await;
            }
        };
        // Without a successor the fault goes on as it is.
        let _ = tokio::time::timeout(SUCCESSION_MAX, succeeded).await;
    }

    async fn another_leads(&self, than: &[usize]) -> bool {
        let leader = self.leader_told_by(|turn| !than.contains(&turn)).await;
        leader.is_some_and(|leader| !than.contains(&leader))
    }

    /// The nodes of a region, and its clients if they are among the ends.
    fn ends_of(&self, region: &str, ends: usize) -> Vec<usize> {
        let nodes = self.cluster.nodes.iter().enumerate();
        let nodes = nodes.filter(|(_, node)| node.is_in(region)).map(|(turn, _)| turn);
        let clients = self.cluster.net.links.clients_of(region).filter(|end| *end < ends);
        nodes.chain(clients).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_links_took_if_something_met_it_and_nothing_passed_by() {
        assert_eq!(took(Took::Installed, None, 0), Took::Installed);
        assert_eq!(took(Took::Installed, Some(3), 0), Took::Installed);
        assert_eq!(took(Took::Installed, Some(0), 0), Took::Skipped);
        assert_eq!(took(Took::Installed, None, 7), Took::Unknown);
        assert_eq!(took(Took::Skipped, None, 0), Took::Skipped);
        assert!(strays(Seen { stray_bytes: 7, ..Seen::default() }).contains("7 bytes"));
        assert_eq!(strays(Seen::default()), "");
    }
}
