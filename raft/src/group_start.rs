//! How one group comes up: state, log, Raft, and what watches it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domicile_storage::ViewedEngine;
use openraft::errors::{Fatal, InitializeError, RaftError};
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::barrier::{Applied, CurrentState, StateBarrier};
use crate::config::{GroupConfig, NodeConfig, Start};
use crate::data_dir::{DataDir, DataDirError, NodeIdentity};
use crate::disk_space::DiskSpace;
use crate::envelope::Envelopes;
use crate::faults::{Faults, Lifecycle, chain};
use crate::group::{Group, IN_FLIGHT_BYTES_MAX};
use crate::join_gate::JoinGate;
use crate::log_store::{LogStore, LogStoreError};
use crate::open_error::OpenError;
use crate::peer::link::PeerLink;
use crate::peer::wire::GroupKey;
use crate::peer::{Acknowledged, AppendSessions, Intake, NoPeers, PeerNetworks};
use crate::placement::GroupSettings;
use crate::probes::Probes;
use crate::proposals::Proposals;
use crate::quarantined::Quarantined;
use crate::read_rounds::ReadRounds;
use crate::read_source::{ReadSource, Replica};
use crate::snapshot::{Place, SnapshotLimits, SnapshotReceiver};
use crate::state_adapter::{Members, StateAdapter};
use crate::state_meta;
use crate::supervisor::Supervisor;
use crate::type_config::{Command, Raft, RaftVote, TypeConfig};
use crate::{Leadership, Partition, PartitionId, TimerProfile};

/// How long opening waits for a group of one to lead.
const LEAD_WAIT: Duration = Duration::from_secs(10);
/// An append may wait this long for the sync of another replica, whatever the timers.
const APPEND_WAIT_MIN: Duration = Duration::from_secs(1);
/// Panics within ten minutes after which a group stays stopped.
const PANICS_MAX: usize = 3;

/// Starts groups of one node.
#[derive(Clone)]
pub(crate) struct GroupStarter {
    pub(crate) node: Arc<NodeConfig>,
    pub(crate) identity: NodeIdentity,
    /// `None` on a node that is alone.
    pub(crate) link: Option<Arc<PeerLink>>,
    pub(crate) limits: Arc<SnapshotLimits>,
    /// `None` in memory.
    pub(crate) disk: Option<Arc<DiskSpace>>,
    /// Whether replicas here stand for election.
    pub(crate) electable: Arc<AtomicBool>,
}

/// What stays while a group is started again.
pub(crate) struct Under {
    /// Its open state; `None` opens it.
    pub(crate) engine: Option<Arc<ViewedEngine>>,
    pub(crate) leadership: watch::Sender<Leadership>,
}

impl Under {
    /// For a first start.
    pub(crate) fn nothing() -> Self {
        Self { engine: None, leadership: watch::Sender::new(Leadership { term: 0, leads: false }) }
    }
}

/// What one group is joined from.
struct Parts {
    raft: Raft,
    log: LogStore,
    engine: Arc<CurrentState>,
    snapshots: Arc<SnapshotReceiver>,
    faults: Arc<Faults>,
    applied: watch::Receiver<Applied>,
    settings: watch::Receiver<Option<Arc<GroupSettings>>>,
    timers: TimerProfile,
    gate: Arc<JoinGate>,
    closed: mpsc::Receiver<()>,
    leadership: watch::Sender<Leadership>,
}

/// What became of a start.
pub(crate) enum Opened {
    Running(Arc<Group>),
    Quarantined(Quarantined),
}

impl GroupStarter {
    pub(crate) async fn start(&self, config: &GroupConfig, under: Under) -> Result<Opened, OpenError> {
        let state_dir = match &self.node.directory {
            Some(directory) => {
                if under.engine.is_none() {
                    directory.remove_unused_states(config.partition)?;
                }
                directory.current_state(config.partition)?
            }
            None => PathBuf::new(),
        };
        let faults = self.faults(config.partition);
        if let Some(reason) = self.quarantine_reason(&faults)? {
            return Ok(Opened::Quarantined(quarantined(config, state_dir, reason)));
        }
        match self.start_healthy(config, &state_dir, &faults, under).await {
            Ok(group) => Ok(Opened::Running(group)),
            Err(cause) if cause.is_damage() => {
                let reason = chain(&cause);
                faults.quarantine(&reason);
                Ok(Opened::Quarantined(quarantined(config, state_dir, reason)))
            }
            Err(cause) => Err(cause),
        }
    }

    async fn start_healthy(
        &self,
        config: &GroupConfig,
        state_dir: &Path,
        faults: &Arc<Faults>,
        under: Under,
    ) -> Result<Arc<Group>, OpenError> {
        let partition = config.partition.0;
        let Under { engine, leadership } = under;
        let place = self.place(config);
        let opened = match engine {
            Some(engine) => Ok(engine),
            None => {
                (self.node.open_state)(config.partition, state_dir).and_then(|engine| place.viewed(engine))
            }
        };
        let engine = opened.map_err(|source| OpenError::State { partition, source })?;
        let applied =
            state_meta::load(&*engine).map_err(|source| OpenError::StateMeta { partition, source })?;
        let timers = applied.settings.as_ref().map_or(config.settings.timers, |settings| settings.timers);
        let (applied_tx, applied_rx) = watch::channel(Applied::default());
        let (open, closed) = mpsc::channel(1);
        let engine = CurrentState::new(engine);
        let barrier = StateBarrier::new(Arc::clone(&engine), applied, applied_tx, open);
        let envelopes = Envelopes {
            partition: config.partition,
            incarnation: config.incarnation,
            cipher: Arc::clone(&config.cipher),
        };
        let (log, keep_bytes) = (Arc::clone(&self.node.log), config.retention.keep_bytes);
        let log = LogStore::open(log, envelopes, Some(Arc::clone(&barrier)), keep_bytes)
            .map_err(|source| self.log_refused(partition, source))?;
        let settings = barrier.settings();
        let acknowledged = Arc::<Acknowledged>::default();
        let members = self.link.as_ref().map(|link| Members {
            link: Arc::clone(link),
            group: key_of(config),
            acknowledged: Arc::clone(&acknowledged),
        });
        let adapter = StateAdapter {
            partition: config.partition,
            state_machine: Arc::clone(&config.state_machine),
            barrier,
            faults: Arc::clone(faults),
            place: Arc::clone(&place),
            members,
            snapshots: Arc::default(),
        };
        let gate = joined(config, log.clone())
            .await
            .map_err(|cause| OpenError::Replay { partition, reason: cause.to_string() })?;
        let raft =
            self.start_raft(config, timers, log.clone(), adapter, faults, (acknowledged, &gate)).await?;
        let (faults, applied) = (Arc::clone(faults), applied_rx);
        let snapshots = Arc::new(SnapshotReceiver { place, applied: applied.clone() });
        let parts = Parts {
            raft,
            log,
            engine,
            snapshots,
            faults,
            applied,
            settings,
            timers,
            gate,
            closed,
            leadership,
        };
        let group = self.supervise(config, parts);
        if let Err(cause) = self.lead_alone(config, &group).await {
            // The supervisor knows why; the group says so in its status.
            tracing::warn!(partition, cause, "the group stopped while it started");
        }
        Ok(group)
    }

    fn place(&self, config: &GroupConfig) -> Arc<Place> {
        Arc::new(Place {
            partition: config.partition,
            incarnation: config.incarnation,
            directory: self.node.directory.clone(),
            open_state: Arc::clone(&self.node.open_state),
            clock: Arc::clone(&self.node.clock),
            limits: Arc::clone(&self.limits),
            receiving: tokio::sync::Mutex::default(),
            retired: Mutex::default(),
            #[cfg(test)]
            on_step: None,
        })
    }

    fn log_refused(&self, partition: u64, source: LogStoreError) -> OpenError {
        if matches!(source, LogStoreError::BehindState { .. }) {
            let directory = self.node.directory.as_ref().map(DataDir::log).unwrap_or_default();
            return OpenError::LogLost { partition, directory, source };
        }
        OpenError::Log { partition, source }
    }

    fn faults(&self, partition: PartitionId) -> Arc<Faults> {
        Arc::new(Faults {
            partition,
            directory: self.node.directory.clone().map(Arc::new),
            clock: Arc::clone(&self.node.clock),
            on_panic: Arc::clone(&self.node.on_panic),
            lifecycle: watch::Sender::new(Lifecycle::Running),
            panicked: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
        })
    }

    /// Why the group must not start: a marker, or too many panics, which leave one.
    fn quarantine_reason(&self, faults: &Faults) -> Result<Option<String>, DataDirError> {
        let Some(directory) = &self.node.directory else { return Ok(None) };
        if let Some(reason) = directory.quarantined(faults.partition)? {
            return Ok(Some(reason));
        }
        let panics = directory.recent_panics(faults.partition, self.node.clock.now())?;
        if panics < PANICS_MAX {
            return Ok(None);
        }
        let reason = format!("{panics} panics in ten minutes");
        faults.quarantine(&reason);
        Ok(Some(reason))
    }

    async fn start_raft(
        &self,
        config: &GroupConfig,
        timers: TimerProfile,
        log: LogStore,
        adapter: StateAdapter,
        faults: &Faults,
        (acknowledged, gate): (Arc<Acknowledged>, &JoinGate),
    ) -> Result<Raft, OpenError> {
        let partition = config.partition.0;
        let mut settings = timers
            .config(format!("partition-{partition}"), config.retention, self.link.is_some())
            .map_err(|cause| OpenError::Config { partition, reason: cause.to_string() })?;
        settings.enable_elect = gate.is_open();
        let (id, settings) = (self.identity.id.0, Arc::new(settings));
        let started = match &self.link {
            None => Raft::new(id, settings, NoPeers, log, adapter).await,
            Some(link) => {
                let networks = PeerNetworks {
                    link: Arc::clone(link),
                    group: key_of(config),
                    append_deadline: timers.election_max().max(APPEND_WAIT_MIN),
                    acknowledged,
                };
                Raft::new(id, settings, networks, log, adapter).await
            }
        };
        if let Ok(raft) = &started {
            raft.runtime_config().elect(gate.lets(self.electable.load(Ordering::Acquire)));
        }
        started.map_err(|fatal| match fatal {
            Fatal::StorageError(cause) if !faults.has_panicked() => {
                OpenError::Replay { partition, reason: cause.to_string() }
            }
            Fatal::StorageError(_) | Fatal::Panicked | Fatal::Stopped => {
                OpenError::Stopped { partition, reason: fatal.to_string() }
            }
        })
    }

    fn supervise(&self, config: &GroupConfig, parts: Parts) -> Arc<Group> {
        let Parts {
            raft,
            log,
            engine,
            snapshots,
            faults,
            applied,
            settings,
            timers,
            gate,
            closed,
            leadership,
        } = parts;
        let leading = leadership.subscribe();
        let supervisor = Supervisor {
            node: self.identity.id,
            election_max: timers.election_max(),
            raft: raft.clone(),
            log: log.clone(),
            syncing: None,
            faults: Arc::clone(&faults),
            applied: applied.clone(),
            leadership,
        };
        tokio::spawn(supervisor.run());
        if !gate.is_open() {
            tokio::spawn(Arc::clone(&gate).follow(raft.clone(), Arc::clone(&self.electable)));
        }
        let start_rounds = |source| ReadRounds::start(source, Arc::clone(&self.node.clock), applied.clone());
        let rounds = start_rounds(self.read_source(config, &raft, timers));
        let (has_peers, intake) = (self.link.is_some(), Intake::default());
        Arc::new(Group {
            node: self.identity.id,
            id: config.partition,
            incarnation: config.incarnation,
            initial: config.settings.clone(),
            settings,
            timers,
            gate,
            link: self.link.clone(),
            appends: AppendSessions::new(intake.clone()),
            intake,
            proposals: Proposals::start(raft.clone()),
            lead_rounds: has_peers.then(|| start_rounds(ReadSource::Leader(raft.clone()))),
            probes: has_peers.then(|| Probes::start(&rounds, Arc::clone(&self.node.clock))),
            rounds,
            raft,
            log: Mutex::new(Some(log)),
            engine,
            snapshots,
            disk: self.disk.clone(),
            clock: Arc::clone(&self.node.clock),
            faults,
            applied,
            leadership: leading,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX)),
            ordering: tokio::sync::Mutex::default(),
            closed: tokio::sync::Mutex::new(closed),
        })
    }

    fn read_source(&self, config: &GroupConfig, raft: &Raft, timers: TimerProfile) -> ReadSource {
        let raft = raft.clone();
        match &self.link {
            None => ReadSource::Leader(raft),
            Some(link) => ReadSource::Replica(Replica {
                raft,
                node: self.identity.id,
                link: Arc::clone(link),
                group: key_of(config),
                patience: 2 * timers.election_max(),
            }),
        }
    }

    /// Makes a new group of one, or has the only voter lead at once instead of after a timeout.
    async fn lead_alone(&self, config: &GroupConfig, group: &Group) -> Result<(), String> {
        let initialized = group.raft.is_initialized().await.map_err(text)?;
        if !initialized {
            let Start::Bootstrap(info) = &config.start else { return Ok(()) };
            let members = BTreeMap::from([(self.identity.id.0, info.clone())]);
            let made: Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>> =
                group.raft.initialize(members).await;
            made.map_err(text)?;
        }
        if !group.gate.is_open() {
            return Ok(());
        }
        // Asked of the core itself: the metrics lag behind it.
        let voters = |state: &openraft::RaftState<TypeConfig>| {
            state.membership_state.effective().voter_ids().collect::<Vec<u64>>()
        };
        if group.raft.with_raft_state(voters).await.map_err(text)? != [self.identity.id.0] {
            return Ok(());
        }
        // Nobody else can win: waiting for an election timeout would only be slow. A new group elects by
        // itself, and a second election would make answers to the first come too late, with a warning.
        if initialized {
            group.raft.trigger().elect(false).await.map_err(text)?;
        }
        let mut leadership = group.leadership();
        if tokio::time::timeout(LEAD_WAIT, leadership.wait_for(|seen| seen.leads)).await.is_err() {
            tracing::warn!(partition = config.partition.0, "no leader yet");
            return Ok(());
        }
        self.write_settings(config, group).await;
        Ok(())
    }

    /// A group of one whose log says nothing of its settings yet gets those it was opened with.
    async fn write_settings(&self, config: &GroupConfig, group: &Group) {
        if group.settings.borrow().is_some() {
            return;
        }
        let written = group.write(Command::Settings(Arc::new(config.settings.clone()))).await;
        if !matches!(written, Some(Ok(_))) {
            tracing::warn!(partition = config.partition.0, "settings not written yet");
        }
    }
}

/// A replica without a vote of its own yet is in the term of the leader that has it opened. The gate until its log is
/// where that leader's was.
async fn joined(config: &GroupConfig, mut log: LogStore) -> std::io::Result<Arc<JoinGate>> {
    let point = config.start.join_point();
    if let Some(point) = point
        && log.read_vote().await?.is_none()
    {
        log.save_vote(&RaftVote::new(point.term, point.leader.0)).await?;
    }
    let last = log.get_log_state().await?.last_log_id.map(|last| last.index());
    Ok(JoinGate::new(point, last))
}

fn key_of(config: &GroupConfig) -> GroupKey {
    GroupKey { partition: config.partition, incarnation: config.incarnation }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn text(cause: impl Display) -> String {
    cause.to_string()
}

fn quarantined(config: &GroupConfig, directory: PathBuf, reason: String) -> Quarantined {
    let leadership = watch::Sender::new(Leadership { term: 0, leads: false });
    Quarantined { id: config.partition, incarnation: config.incarnation, reason, directory, leadership }
}
