//! What a group says of itself.

use std::sync::PoisonError;
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::metrics::RaftMetrics;

use crate::group::Group;
use crate::log_store::LogStore;
use crate::peer::wire::GroupKey;
use crate::type_config::{RaftVote, TypeConfig, term_of};
use crate::{LogPosition, MemberStatus, NodeId, Partition as _, PartitionStatus, quorum};

impl Group {
    pub(crate) fn key(&self) -> GroupKey {
        GroupKey { partition: self.id, incarnation: self.incarnation }
    }

    pub(crate) fn describe(&self) -> PartitionStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let stored = &metrics.membership_config;
        let membership = stored.membership();
        let at = stored.log_id().as_ref();
        let leader = self.leader_known(&metrics);
        let silent = leader.and_then(|leader| self.silence_of(leader, metrics.current_term));
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        PartitionStatus {
            id: self.id,
            incarnation: self.incarnation,
            leader,
            leader_silent_ms: silent.map(millis),
            term: metrics.current_term,
            membership: at.map(|id| LogPosition { term: term_of(id), index: id.index() }),
            joint: membership.get_joint_config().len() > 1,
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            members: self.members(&metrics),
            settings: self.settings.borrow().as_deref().cloned(),
            timers: Some(self.timers),
            last: metrics.last_log_index.unwrap_or(0),
            applied: self.applied(),
            committed: self.committed().max(self.applied()),
            log_bytes: log.as_ref().map_or(0, LogStore::bytes),
            staleness_ms: self.staleness_ms(),
            health: self.faults.lifecycle.borrow().health(),
        }
    }

    /// The leader, unless it would be this replica and no quorum follows it.
    fn leader_known(&self, metrics: &RaftMetrics<TypeConfig>) -> Option<NodeId> {
        let leader = NodeId(metrics.current_leader?);
        let (membership, acknowledged) = (&metrics.membership_config, metrics.last_quorum_acked);
        let left = || quorum::time_left(self.node, membership, acknowledged, self.timers.election_max());
        (leader != self.node || left().is_some()).then_some(leader)
    }

    /// A message came from the leader that this vote made.
    pub(crate) fn hear(&self, vote: &RaftVote) {
        self.intake.leader().heard(vote.leader_id.term, self.clock.monotonic());
    }

    /// How long nothing was heard of another node that leads, once that is longer than its lease and an election
    /// timeout: Raft goes on naming it while nobody else can be elected.
    fn silence_of(&self, leader: NodeId, term: u64) -> Option<Duration> {
        if leader == self.node {
            return None;
        }
        // The lease is as long as the longest election timeout.
        let patience = 2 * self.timers.election_max();
        let silence = self.intake.leader().silence(term, self.clock.monotonic());
        (silence > patience).then_some(silence)
    }

    fn members(&self, metrics: &RaftMetrics<TypeConfig>) -> Vec<MemberStatus> {
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let leads = metrics.replication.is_some();
        let describe = |(id, info): (&u64, &crate::NodeInfo)| {
            let own = leads && *id == self.node.0;
            let replicated = metrics.replication.as_ref().and_then(|all| all.get(id)).copied().flatten();
            let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(id)).and_then(Option::as_ref);
            let heard = heard.map(|at| millis(at.elapsed()));
            MemberStatus {
                node: NodeId(*id),
                info: info.clone(),
                voter: voters.contains(id),
                matched: if own { metrics.last_log_index } else { replicated.map(|id| id.index()) },
                contact_ms: if own { Some(0) } else { heard },
                went_back: self.link.as_ref().is_some_and(|link| link.went_back(self.key(), NodeId(*id))),
            }
        };
        membership.nodes().map(describe).collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
