//! Bad links. A fault took if the router met packets that it hit.

use std::sync::atomic::Ordering;

use super::{Took, names};
use crate::cluster::Cluster;
use crate::net::Counts;
use crate::schedule::Harm;

/// How many packets were hit so far.
fn hit_so_far(counts: &Counts, harm: Harm) -> u64 {
    let count = match harm {
        Harm::Loss(_) => &counts.lost,
        Harm::Duplicate(_) => &counts.duplicated,
        Harm::Reorder(_) => &counts.reordered,
        Harm::Rate(_) => &counts.throttled,
    };
    count.load(Ordering::Relaxed)
}

/// Makes all links of `whom` bad; gives how many packets were hit before.
pub(super) fn begin(cluster: &Cluster, whom: &[usize], harm: Harm) -> (Took, String, u64) {
    let Some(counts) = cluster.net.counts() else {
        return (Took::Skipped, "this network has no packets".to_owned(), 0);
    };
    let before = hit_so_far(counts, harm);
    let links = &cluster.net.links;
    for node in whom {
        // The last end is the harness, which looks on.
        for other in 0..links.ends() - 1 {
            for (from, to) in [(*node, other), (other, *node)] {
                links.change(from, to, |link| match harm {
                    Harm::Loss(of) => link.loss = of,
                    Harm::Duplicate(of) => link.duplicate = of,
                    Harm::Reorder(of) => link.reorder = of,
                    Harm::Rate(kbit) => link.rate_kbit = kbit,
                });
            }
        }
    }
    let took = if whom.is_empty() { Took::Skipped } else { Took::Unknown };
    (took, names(whom), before)
}

/// Heals the links; says how many packets were hit.
pub(super) fn end(cluster: &Cluster, harm: Harm, before: u64) -> (Took, String) {
    cluster.net.links.heal_all();
    let hit = cluster.net.counts().map_or(0, |counts| hit_so_far(counts, harm)) - before;
    (if hit > 0 { Took::Installed } else { Took::Skipped }, format!("{hit} packets"))
}
