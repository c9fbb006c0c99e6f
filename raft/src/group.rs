//! A partition over openraft.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_storage::{Bug, Engine, is_seeded};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResponse;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::barrier::{Applied, CurrentState};
use crate::disk_space::DiskSpace;
use crate::faults::{Faults, Lifecycle};
use crate::join_gate::JoinGate;
use crate::log_store::LogStore;
use crate::peer::link::PeerLink;
use crate::peer::{AppendSessions, Intake, PeerIdentity};
use crate::placement::GroupSettings;
use crate::probes::Probes;
use crate::proposals::{Proposals, Written};
use crate::read_rounds::{ReadIndex, ReadRounds};
use crate::snapshot::SnapshotReceiver;
use crate::type_config::{Command, Raft, Reply};
use crate::{
    BoxFuture, Clock, Consistency, Incarnation, Leadership, NodeId, Outcome, Partition, PartitionId,
    PartitionStatus, ReadError, TimerProfile, UnknownReason,
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
    pub(crate) node: NodeId,
    pub(crate) id: PartitionId,
    pub(crate) incarnation: Incarnation,
    /// In force until its log says otherwise.
    pub(crate) initial: GroupSettings,
    /// What its log says.
    pub(crate) settings: watch::Receiver<Option<Arc<GroupSettings>>>,
    /// What Raft runs with.
    pub(crate) timers: TimerProfile,
    /// Shut while the log is shorter than when the replica was opened anew.
    pub(crate) gate: Arc<JoinGate>,
    /// `None` on a node that is alone.
    pub(crate) link: Option<Arc<PeerLink>>,
    pub(crate) appends: AppendSessions,
    pub(crate) intake: Intake,
    pub(crate) raft: Raft,
    /// Taken at the stop: it holds the state.
    pub(crate) log: Mutex<Option<LogStore>>,
    pub(crate) engine: Arc<CurrentState>,
    pub(crate) snapshots: Arc<SnapshotReceiver>,
    pub(crate) disk: Option<Arc<DiskSpace>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) applied: watch::Receiver<Applied>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) in_flight: Arc<Semaphore>,
    /// One order at a time.
    pub(crate) ordering: tokio::sync::Mutex<()>,
    pub(crate) proposals: Proposals,
    /// Rounds for this replica's readers.
    pub(crate) rounds: Arc<ReadRounds>,
    /// Rounds for other replicas' readers, which this one gives only while it leads.
    pub(crate) lead_rounds: Option<Arc<ReadRounds>>,
    pub(crate) probes: Option<Probes>,
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
        if self.disk.as_ref().is_some_and(|disk| disk.is_full(body.len())) {
            return Outcome::Overloaded("disk full");
        }
        if self.committed().saturating_sub(self.applied()) > APPLY_LAG_ENTRIES_MAX {
            return Outcome::Overloaded("apply lag");
        }
        let bytes = u32::try_from(body.len().max(1)).unwrap_or(u32::MAX);
        let Ok(in_flight) = Arc::clone(&self.in_flight).try_acquire_many_owned(bytes) else {
            return Outcome::Overloaded("bytes in flight");
        };
        let command = Command::Proposal(Arc::from(body));
        match timeout(deadline, self.proposals.propose(command, in_flight)).await {
            Ok(Some(written)) => outcome(written),
            // Raft never drops an entry without an answer unless it ends.
            Ok(None) => Outcome::Unknown(UnknownReason::Fatal),
            Err(_) => Outcome::Unknown(UnknownReason::Timeout),
        }
    }

    /// Orders a command that is no proposal; `None` if the group is stopping.
    pub(crate) async fn write(&self, command: Command) -> Option<Written> {
        let bytes = u32::try_from(command.len().max(1)).unwrap_or(u32::MAX);
        let in_flight = Arc::clone(&self.in_flight).acquire_many_owned(bytes).await.ok()?;
        self.proposals.propose(command, in_flight).await
    }

    /// What the log says of the group, or what it was opened with.
    pub(crate) fn settings_in_force(&self) -> Arc<GroupSettings> {
        self.settings.borrow().clone().unwrap_or_else(|| Arc::new(self.initial.clone()))
    }

    /// Whether a node may take part: it is in a region that the placement allows, or a member from
    /// before the placement became narrower.
    pub(crate) fn admits(&self, from: &PeerIdentity) -> bool {
        let allowed = match self.settings.borrow().as_ref() {
            Some(settings) => settings.placement.allows(&from.region),
            None => self.initial.placement.allows(&from.region),
        };
        let member = || {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().get_node(&from.node.0).is_some()
        };
        allowed || member()
    }

    /// A read index for another replica, by a round that begins after this call.
    pub(crate) async fn lead_index(&self) -> Result<u64, ReadError> {
        let rounds = self.lead_rounds.as_ref().unwrap_or(&self.rounds);
        Ok(rounds.next().await?.index)
    }

    /// Whether Raft says that this replica leads, though it may not have applied everything.
    pub(crate) fn claims_leadership(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == openraft::ServerState::Leader
    }

    async fn read_within(&self, consistency: Consistency) -> Result<u64, ReadError> {
        match consistency {
            Consistency::Local => Ok(self.applied()),
            Consistency::Linearizable if is_seeded(Bug::StaleRead) => Ok(self.applied()),
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
        if let Some(probes) = &self.probes {
            probes.asked(bound);
        }
        if self.rounds.staleness().is_some_and(|age| age <= bound) {
            return Ok(self.applied());
        }
        let ReadIndex { index, began } = self.rounds.next().await?;
        let applied = self.wait_applied(index).await?;
        let age = self.clock.monotonic().saturating_sub(began);
        if age <= bound { Ok(applied) } else { Err(ReadError::Timeout) }
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

    pub(crate) fn committed(&self) -> u64 {
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
        // A log that waits for room on the disk would hold it for ever.
        if let Ok(Err(cause)) = timeout(STOP_WAIT, self.raft.shutdown()).await {
            tracing::warn!(partition = self.id.0, %cause, "raft did not stop in order");
        }
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(log) = log
            && let Ok(Err(cause)) = timeout(STOP_WAIT, log.persist_committed()).await
        {
            tracing::warn!(partition = self.id.0, %cause, "committed index not stored");
        }
        let engine = self.engine.get();
        match tokio::task::spawn_blocking(move || engine.sync()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::warn!(partition = self.id.0, %cause, "state not synced"),
            Err(cause) => tracing::warn!(partition = self.id.0, %cause, "state not synced"),
        }
    }

    /// Waits until nothing in Raft holds the state; false if it still does after a while.
    pub(crate) async fn wait_closed(&self) -> bool {
        let closed = timeout(STOP_WAIT, self.closed.lock().await.recv()).await.is_ok();
        if !closed {
            tracing::warn!(partition = self.id.0, "state still in use after the stop");
        }
        closed
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
        self.engine.get()
    }

    fn applied(&self) -> u64 {
        self.applied.borrow().index
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn status(&self) -> PartitionStatus {
        self.describe()
    }

    fn staleness_ms(&self) -> Option<u64> {
        self.rounds.staleness().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]
mod tests {
    use domicile_storage::{MemoryEngine, MemoryLog, Transaction};

    use super::*;
    use crate::config::{GroupConfig, NodeConfig, OpenState, Start};
    use crate::data_dir::NodeIdentity;
    use crate::group_start::{GroupStarter, Opened, Under};
    use crate::snapshot::{SnapshotLimits, SnapshotSettings};
    use crate::testing::ToyCipher;
    use crate::{ApplyFault, Committed, Health, NodeInfo, Retention, StateMachine, SystemClock, Verdict};

    struct Accepting;

    impl StateMachine for Accepting {
        fn apply(&self, _: &mut Transaction<'_>, _: Committed<'_>) -> Result<Verdict, ApplyFault> {
            Ok(Verdict::Applied(Vec::new()))
        }
    }

    async fn started() -> Arc<Group> {
        started_with(GroupSettings::anywhere(TimerProfile::Zone)).await
    }

    async fn started_with(settings: GroupSettings) -> Arc<Group> {
        let open: OpenState = Arc::new(|_, _| Ok(Arc::new(MemoryEngine::new())));
        let node = NodeConfig::new(None, Arc::new(MemoryLog::new()), open, Arc::new(SystemClock::new()));
        let starter = GroupStarter {
            node: Arc::new(node),
            identity: NodeIdentity { id: NodeId(1), boots: 1 },
            link: None,
            limits: SnapshotLimits::new(SnapshotSettings::default(), None),
            disk: None,
            electable: Arc::new(std::sync::atomic::AtomicBool::new(true)),
        };
        let config = GroupConfig {
            partition: PartitionId(1),
            incarnation: Incarnation(1),
            cipher: Arc::new(ToyCipher::new(1)),
            state_machine: Arc::new(Accepting),
            settings,
            retention: Retention::default(),
            start: Start::Bootstrap(NodeInfo::default()),
        };
        match starter.start(&config, Under::nothing()).await.unwrap() {
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

    /// Votes, entries, read indexes and snapshots all come through this.
    #[tokio::test]
    async fn nodes_of_regions_that_the_placement_names_are_heard_and_members_until_they_are_taken_out() {
        let mut settings = GroupSettings::anywhere(TimerProfile::Zone);
        settings.placement.regions = crate::placement::Regions::Only(["eu".to_owned()].into());
        let group = started_with(settings).await;
        let from = |node: u64, region: &str| PeerIdentity {
            node: NodeId(node),
            region: region.to_owned(),
            zone: "a".to_owned(),
        };
        assert!(group.admits(&from(2, "eu")));
        assert!(!group.admits(&from(2, "us")));
        assert!(group.admits(&from(1, "us")), "it is the member");
    }
}
