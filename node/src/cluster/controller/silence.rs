//! Who has not answered for how long, while this node leads the directory. A new leader begins anew: it
//! is better to wait once more than to replace who is only slow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domicile_raft::{Health, NodeId, PartitionId};

use crate::cluster::messages::NodeReport;
use crate::cluster::overview::{Asked, Survey};

#[derive(Clone)]
pub(super) struct Silence {
    dead_after: Duration,
    /// On the monotonic clock.
    since: BTreeMap<NodeId, Duration>,
    dead: BTreeSet<NodeId>,
    /// Replicas that a fault stopped for good on nodes that answer, and since when.
    stopped: BTreeMap<(PartitionId, NodeId), Duration>,
    broken: BTreeSet<(PartitionId, NodeId)>,
}

impl Silence {
    pub(super) fn new(dead_after: Duration) -> Self {
        Self {
            dead_after,
            since: BTreeMap::new(),
            dead: BTreeSet::new(),
            stopped: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }

    /// Who is dead stays dead, also where more patience is wanted from now on.
    pub(super) fn wait_for(&mut self, dead_after: Duration) {
        self.dead_after = dead_after;
    }

    pub(super) fn hear(&mut self, survey: &Survey, now: Duration) {
        for (node, asked) in survey {
            match asked {
                Asked::Told { report, .. } => {
                    self.since.remove(node);
                    self.dead.remove(node);
                    self.hear_replicas(*node, report, now);
                }
                Asked::Silent(_) => {
                    let since = *self.since.entry(*node).or_insert(now);
                    if now.saturating_sub(since) >= self.dead_after {
                        self.dead.insert(*node);
                    }
                }
            }
        }
    }

    fn hear_replicas(&mut self, node: NodeId, report: &NodeReport, now: Duration) {
        let stopped: BTreeSet<PartitionId> = report
            .partitions
            .iter()
            .filter(|status| matches!(status.health, Health::Quarantined(_)))
            .map(|status| status.id)
            .collect();
        self.stopped.retain(|(id, of), _| *of != node || stopped.contains(id));
        self.broken.retain(|(id, of)| *of != node || stopped.contains(id));
        for id in stopped {
            let since = *self.stopped.entry((id, node)).or_insert(now);
            if now.saturating_sub(since) >= self.dead_after {
                self.broken.insert((id, node));
            }
        }
    }

    /// Nodes that answer, and whose replica of `partition` was stopped by a fault for as long as the
    /// settings give a dead node: it does not come back by itself.
    pub(super) fn broken(&self, partition: PartitionId) -> BTreeSet<NodeId> {
        self.broken.iter().filter(|(id, _)| *id == partition).map(|(_, node)| *node).collect()
    }

    /// Silent for as long as the settings say.
    pub(super) fn dead(&self) -> &BTreeSet<NodeId> {
        &self.dead
    }
}

#[cfg(test)]
mod tests {
    use domicile_raft::PartitionStatus;

    use super::*;

    #[test]
    fn who_answers_once_is_not_dead() {
        let mut silence = Silence::new(Duration::from_secs(10));
        let silent = || Asked::Silent(String::new());
        let told = || Asked::Told { report: NodeReport::default(), round_trip: Duration::ZERO };
        let at = Duration::from_secs;
        silence.hear(&[(NodeId(1), told()), (NodeId(2), silent())].into(), at(100));
        silence.hear(&[(NodeId(1), silent()), (NodeId(2), silent())].into(), at(109));
        assert!(silence.dead().is_empty());
        silence.hear(&[(NodeId(1), silent()), (NodeId(2), silent())].into(), at(110));
        assert_eq!(*silence.dead(), BTreeSet::from([NodeId(2)]));
        silence.hear(&[(NodeId(1), silent()), (NodeId(2), told())].into(), at(111));
        assert!(silence.dead().is_empty());
    }

    #[test]
    fn the_clusters_patience_counts_from_when_it_is_known() {
        let mut silence = Silence::new(Duration::from_mins(5));
        let silent = || Survey::from([(NodeId(2), Asked::Silent(String::new()))]);
        let at = Duration::from_secs;
        silence.hear(&silent(), at(100));
        silence.hear(&silent(), at(130));
        assert!(silence.dead().is_empty());
        silence.wait_for(at(30));
        silence.hear(&silent(), at(131));
        assert_eq!(*silence.dead(), BTreeSet::from([NodeId(2)]));
    }

    #[test]
    fn a_replica_that_stays_stopped_on_a_node_that_answers_is_broken() {
        let mut silence = Silence::new(Duration::from_secs(10));
        let told = |health| {
            let status = PartitionStatus { health, ..PartitionStatus::new(PartitionId(3)) };
            let report = NodeReport { partitions: vec![status], ..NodeReport::default() };
            Survey::from([(NodeId(2), Asked::Told { report, round_trip: Duration::ZERO })])
        };
        let stopped = || told(Health::Quarantined("its log is gone".to_owned()));
        let at = Duration::from_secs;
        silence.hear(&stopped(), at(100));
        assert_eq!(silence.broken(PartitionId(3)), BTreeSet::new());
        silence.hear(&stopped(), at(110));
        assert_eq!(silence.broken(PartitionId(3)), BTreeSet::from([NodeId(2)]));
        assert_eq!(silence.broken(PartitionId(4)), BTreeSet::new());
        silence.hear(&told(Health::Running), at(111));
        assert_eq!(silence.broken(PartitionId(3)), BTreeSet::new());
    }
}
