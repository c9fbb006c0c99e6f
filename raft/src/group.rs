//! A partition over openraft.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_storage::Engine;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResponse;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::barrier::Applied;
use crate::faults::{Faults, Lifecycle};
use crate::log_store::LogStore;
use crate::proposals::{Proposals, Written};
use crate::read_rounds::{ReadIndex, ReadRounds};
use crate::type_config::{Raft, Reply};
use crate::{
    BoxFuture, Clock, Consistency, Incarnation, Leadership, NodeId, Outcome, Partition, PartitionId,
    PartitionStatus, ReadError, UnknownReason,
};

/// Longest proposal, in bytes.
pub const PROPOSAL_BYTES_MAX: usize = 1 << 20;
/// Proposal bytes in flight in one group.
pub const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Entries that may be committed here but not applied before proposals are refused.
pub const APPLY_LAG_ENTRIES_MAX: u64 = 50_000;
/// How long a stop waits for proposals in flight, and for the state to close.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// One running group.
pub(crate) struct Group {
    pub(crate) id: PartitionId,
    pub(crate) incarnation: Incarnation,
    pub(crate) raft: Raft,
    /// Taken at the stop: it holds the state.
    pub(crate) log: Mutex<Option<LogStore>>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) applied: watch::Receiver<Applied>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) proposals: Proposals,
    pub(crate) rounds: ReadRounds,
    /// Ends when everything inside Raft that holds the state is gone.
    pub(crate) closed: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Group {
    async fn propose_within(&self, body: Vec<u8>, deadline: Duration) -> Outcome {
        if !matches!(*self.faults.lifecycle.borrow(), Lifecycle::Running) {
            return Outcome::Unknown(UnknownReason::Fatal);
        }
        if body.len() > PROPOSAL_BYTES_MAX {
            return Outcome::Overloaded("proposal over 1 MiB");
        }
        if self.committed().saturating_sub(self.applied()) > APPLY_LAG_ENTRIES_MAX {
            return Outcome::Overloaded("apply lag");
        }
        let bytes = u32::try_from(body.len().max(1)).unwrap_or(u32::MAX);
        let Ok(in_flight) = Arc::clone(&self.in_flight).try_acquire_many_owned(bytes) else {
            return Outcome::Overloaded("bytes in flight");
        };
        match timeout(deadline, self.proposals.propose(body, in_flight)).await {
            Ok(Some(written)) => outcome(written),
            // Raft never drops an entry without an answer unless it ends.
            Ok(None) => Outcome::Unknown(UnknownReason::Fatal),
            Err(_) => Outcome::Unknown(UnknownReason::Timeout),
        }
    }

    async fn read_within(&self, consistency: Consistency) -> Result<u64, ReadError> {
        match consistency {
            Consistency::Local => Ok(self.applied()),
            Consistency::AtLeast(index) => self.wait_applied(index).await,
            Consistency::Linearizable => {
                let ReadIndex { index, .. } = self.rounds.next().await?;
                self.wait_applied(index).await
            }
            Consistency::BoundedMs(ms) => self.read_bounded(Duration::from_millis(ms)).await,
        }
    }

    /// Staleness is the age of the newest confirmed round whose index is applied (design §6).
    async fn read_bounded(&self, bound: Duration) -> Result<u64, ReadError> {
        let age = |round: ReadIndex| self.clock.monotonic().saturating_sub(round.began);
        if let Some(round) = self.rounds.last()
            && self.applied() >= round.index
            && age(round) <= bound
        {
            return Ok(self.applied());
        }
        let round = self.rounds.next().await?;
        let applied = self.wait_applied(round.index).await?;
        if age(round) <= bound { Ok(applied) } else { Err(ReadError::Timeout) }
    }

    async fn wait_applied(&self, index: u64) -> Result<u64, ReadError> {
        let (mut applied, mut lifecycle) = (self.applied.clone(), self.faults.lifecycle.subscribe());
        tokio::select! {
            biased;
            reached = applied.wait_for(|applied| applied.index >= index) => {
                reached.map(|applied| applied.index).map_err(|_| ReadError::Stopped)
            }
            _ = lifecycle.wait_for(|lifecycle| !matches!(lifecycle, Lifecycle::Running)) => Err(ReadError::Stopped),
        }
    }

    fn committed(&self) -> u64 {
        self.raft.data_metrics().borrow_watched().local_committed.as_ref().map_or(0, openraft::LogId::index)
    }

    /// Lets proposals in flight finish, then stops Raft, syncs the state and waits until it is closed.
    pub(crate) async fn stop(&self) {
        let everything = u32::try_from(IN_FLIGHT_BYTES_MAX).unwrap_or(u32::MAX);
        // Held to the end: who comes now is refused before the log.
        let all = timeout(STOP_WAIT, self.in_flight.acquire_many(everything)).await;
        if all.is_err() {
            tracing::warn!(partition = self.id.0, "stopping with proposals in flight");
        }
        self.faults.stop();
        if let Err(cause) = self.raft.shutdown().await {
            tracing::warn!(partition = self.id.0, %cause, "raft did not stop in order");
        }
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(log) = log
            && let Err(cause) = log.persist_committed().await
        {
            tracing::warn!(partition = self.id.0, %cause, "committed index not stored");
        }
        let engine = Arc::clone(&self.engine);
        match tokio::task::spawn_blocking(move || engine.sync()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::warn!(partition = self.id.0, %cause, "state not synced"),
            Err(cause) => tracing::warn!(partition = self.id.0, %cause, "state not synced"),
        }
    }

    /// Waits until nothing in Raft holds the state.
    pub(crate) async fn wait_closed(&self) {
        if timeout(STOP_WAIT, self.closed.lock().await.recv()).await.is_err() {
            tracing::warn!(partition = self.id.0, "state still in use after the stop");
        }
    }
}

fn outcome(written: Written) -> Outcome {
    match written {
        Ok(ClientWriteResponse { log_id, data, .. }) => match data {
            Reply::Applied(reply) => Outcome::Applied { index: log_id.index(), reply },
            Reply::Conflict(detail) => Outcome::Conflict { index: log_id.index(), detail },
            Reply::None => Outcome::Applied { index: log_id.index(), reply: Vec::new() },
        },
        // The only refusal that proves the entry was never appended.
        Err(ClientWriteError::ForwardToLeader(forward)) => {
            Outcome::NotLeader { leader: forward.leader_id.map(NodeId) }
        }
        Err(
            ClientWriteError::LogEntryDiscarded(_)
            | ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_),
        ) => Outcome::Unknown(UnknownReason::ReplyLost),
    }
}

impl Partition for Group {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn propose(&self, body: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Outcome> {
        Box::pin(self.propose_within(body, deadline))
    }

    fn read(&self, consistency: Consistency, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(async move {
            if !matches!(*self.faults.lifecycle.borrow(), Lifecycle::Running) {
                return Err(ReadError::Stopped);
            }
            timeout(deadline, self.read_within(consistency)).await.unwrap_or(Err(ReadError::Timeout))
        })
    }

    fn state(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    fn applied(&self) -> u64 {
        self.applied.borrow().index
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn status(&self) -> PartitionStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        PartitionStatus {
            id: self.id,
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            applied: self.applied(),
            committed: self.committed().max(self.applied()),
            health: self.faults.lifecycle.borrow().health(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]
mod tests {
    use domicile_storage::{MemoryEngine, MemoryLog, Transaction};

    use super::*;
    use crate::config::{GroupConfig, NodeConfig, OpenState, Start};
    use crate::data_dir::NodeIdentity;
    use crate::group_start::{GroupStarter, Opened};
    use crate::testing::ToyCipher;
    use crate::{
        ApplyFault, Committed, Health, NodeInfo, Retention, StateMachine, SystemClock, TimerProfile, Verdict,
    };

    struct Accepting;

    impl StateMachine for Accepting {
        fn apply(&self, _: &mut Transaction<'_>, _: Committed<'_>) -> Result<Verdict, ApplyFault> {
            Ok(Verdict::Applied(Vec::new()))
        }
    }

    async fn started() -> Arc<Group> {
        let open: OpenState = Arc::new(|_, _| Ok(Arc::new(MemoryEngine::new())));
        let node = NodeConfig::new(None, Arc::new(MemoryLog::new()), open, Arc::new(SystemClock::new()));
        let starter = GroupStarter { node: &node, identity: NodeIdentity { id: NodeId(1), boots: 1 } };
        let config = GroupConfig {
            partition: PartitionId(1),
            incarnation: Incarnation(1),
            cipher: Arc::new(ToyCipher::new(1)),
            state_machine: Arc::new(Accepting),
            timers: TimerProfile::Zone,
            retention: Retention::default(),
            start: Start::Bootstrap(NodeInfo::default()),
        };
        match starter.start(config).await.unwrap() {
            Opened::Running(group) => group,
            Opened::Quarantined(group) => panic!("quarantined: {}", group.reason),
        }
    }

    async fn ended(group: &Group) -> Health {
        let mut lifecycle = group.faults.lifecycle.subscribe();
        let ended = lifecycle.wait_for(|lifecycle| !matches!(lifecycle, Lifecycle::Running));
        timeout(STOP_WAIT, ended).await.unwrap().unwrap();
        group.status().health
    }

    #[tokio::test]
    async fn a_core_that_stops_without_an_order_is_reported_as_failed() {
        let group = started().await;
        group.raft.shutdown().await.unwrap();
        assert_eq!(ended(&group).await, Health::Failed("raft stopped without an order".to_owned()));
        assert_eq!(
            group.propose(vec![1], STOP_WAIT).await,
            Outcome::Unknown(UnknownReason::Fatal),
            "it takes nothing more"
        );
    }

    #[tokio::test]
    async fn an_ordered_stop_is_no_failure() {
        let group = started().await;
        group.stop().await;
        assert_eq!(ended(&group).await, Health::Running);
    }
}
