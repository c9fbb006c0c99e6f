//! Who has not answered for how long, as this node saw it. All who may come to lead the directory look, so
//! that a new leader counts on from what it saw itself: leaders that change sooner than patience ends would
//! never replace anybody otherwise. What others saw counts for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domicile_raft::{Health, NodeId, PartitionId};

use crate::cluster::messages::NodeReport;
use crate::cluster::overview::{Asked, Survey};

/// Looks further apart than this tell nothing of what was between them: who looks was away itself.
const GAP: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct Silence {
    dead_after: Duration,
    /// When this node looked last. All times are on the monotonic clock.
    looked: Option<Duration>,
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
            looked: None,
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

    /// When this node looked last.
    pub(super) fn looked(&self) -> Option<Duration> {
        self.looked
    }

    /// What a node that does not lead sees. Where half of the nodes or more are silent, it may be this one
    /// that is cut off, and it forgets what it saw; a leader knows by its quorum that it is not.
    pub(super) fn overhear(&mut self, survey: &Survey, now: Duration) {
        let told = survey.values().filter(|asked| matches!(asked, Asked::Told { .. })).count();
        if told * 2 > survey.len() {
            self.hear(survey, now);
        } else {
            *self = Self { looked: Some(now), ..Self::new(self.dead_after) };
        }
    }

    pub(super) fn hear(&mut self, survey: &Survey, now: Duration) {
        if self.looked.is_some_and(|looked| now.saturating_sub(looked) > GAP) {
            *self = Self::new(self.dead_after);
        }
        self.looked = Some(now);
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
    fn who_comes_to_lead_counts_on_from_what_it_saw_itself() {
        let mut silence = Silence::new(Duration::from_secs(10));
        let told = || Asked::Told { report: NodeReport::default(), round_trip: Duration::ZERO };
        let silent = || Asked::Silent(String::new());
        let survey = || Survey::from([(NodeId(1), told()), (NodeId(2), told()), (NodeId(3), silent())]);
        let at = Duration::from_secs;
        silence.overhear(&survey(), at(100));
        silence.overhear(&survey(), at(105));
        assert!(silence.dead().is_empty());
        silence.hear(&survey(), at(110));
        assert_eq!(*silence.dead(), BTreeSet::from([NodeId(3)]));
    }

    #[test]
    fn who_was_cut_off_or_away_itself_begins_anew() {
        let told = || Asked::Told { report: NodeReport::default(), round_trip: Duration::ZERO };
        let silent = || Asked::Silent(String::new());
        let one_gone = || Survey::from([(NodeId(1), told()), (NodeId(2), told()), (NodeId(3), silent())]);
        let cut_off = || Survey::from([(NodeId(1), told()), (NodeId(2), silent()), (NodeId(3), silent())]);
        let at = Duration::from_secs;
        let mut silence = Silence::new(Duration::from_secs(10));
        silence.overhear(&one_gone(), at(100));
        silence.overhear(&cut_off(), at(105));
        silence.overhear(&one_gone(), at(110));
        assert!(silence.dead().is_empty(), "since when node 3 is silent is not known");
        silence.overhear(&one_gone(), at(120));
        assert_eq!(*silence.dead(), BTreeSet::from([NodeId(3)]));
        // A process that was stopped in between has seen nothing of the time.
        silence.hear(&one_gone(), at(151));
        assert!(silence.dead().is_empty());
        silence.hear(&one_gone(), at(161));
        assert_eq!(*silence.dead(), BTreeSet::from([NodeId(3)]));
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
