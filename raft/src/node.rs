//! A node's groups over one log engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_storage::{Engine, MemoryEngine, MemoryLog, RaftEngineLog, SledEngine};
use openraft::errors::{Fatal, InitializeError, RaftError};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::barrier::{Applied, StateBarrier};
use crate::config::{DiskOptions, GroupConfig, NodeConfig, OpenState, Start};
use crate::data_dir::{DataDir, DataDirError, NodeIdentity};
use crate::envelope::Envelopes;
use crate::faults::{Faults, Lifecycle};
use crate::group::{Group, IN_FLIGHT_BYTES_MAX};
use crate::log_store::LogStore;
use crate::open_error::{NodeError, OpenError};
use crate::peer::NoPeers;
use crate::quarantined::Quarantined;
use crate::read_rounds::ReadRounds;
use crate::state_adapter::StateAdapter;
use crate::state_meta;
use crate::supervisor::Supervisor;
use crate::type_config::{Raft, TypeConfig};
use crate::{Clock, Leadership, NodeId, Partition, PartitionId};

/// How long opening waits for a group of one to lead.
const LEAD_WAIT: Duration = Duration::from_secs(10);
/// Panics within ten minutes after which a group stays stopped.
const PANICS_MAX: usize = 3;

/// This node's replicas.
pub struct RaftNode {
    config: NodeConfig,
    identity: NodeIdentity,
    groups: Mutex<BTreeMap<PartitionId, Arc<dyn Partition>>>,
    running: Mutex<Vec<Arc<Group>>>,
}

impl RaftNode {
    /// On `root`, with `log/` and `partitions/` in it.
    ///
    /// # Errors
    /// [`NodeError`]; [`domicile_storage::LogError::Locked`] when another process has it open.
    pub fn open_on_disk(root: &Path, options: DiskOptions, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let directory = DataDir::open(root)?;
        let log = RaftEngineLog::open(directory.log(), &options.log)?;
        let open_state: OpenState =
            Arc::new(move |_, path| Ok(Arc::new(SledEngine::open(path, &options.state)?)));
        Self::open(NodeConfig::new(Some(directory), Arc::new(log), open_state, clock))
    }

    /// Without a disk: nothing survives the process.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn open_in_memory(clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let open_state: OpenState = Arc::new(|_, _| Ok(Arc::new(MemoryEngine::new())));
        Self::open(NodeConfig::new(None, Arc::new(MemoryLog::new()), open_state, clock))
    }

    /// Reads who this node is and counts the start. Opens no group.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn open(config: NodeConfig) -> Result<Self, NodeError> {
        let identity = match &config.directory {
            Some(directory) => directory.count_boot()?,
            None => NodeIdentity { id: NodeId(1), boots: 1 },
        };
        Ok(Self { config, identity, groups: Mutex::default(), running: Mutex::default() })
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> NodeIdentity {
        self.identity
    }

    /// Opens a group, replays its log, and returns once it leads if this node is its only voter.
    ///
    /// A quarantined group opens as one that refuses everything; its status says why.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is quarantined then.
    pub async fn open_group(&self, config: GroupConfig) -> Result<Arc<dyn Partition>, OpenError> {
        let id = config.partition;
        if lock(&self.groups).contains_key(&id) {
            return Err(OpenError::AlreadyOpen(id.0));
        }
        let partition: Arc<dyn Partition> = match self.start_group(config).await? {
            Opened::Running(group) => {
                lock(&self.running).push(Arc::clone(&group));
                group
            }
            Opened::Quarantined(group) => Arc::new(group),
        };
        lock(&self.groups).insert(id, Arc::clone(&partition));
        Ok(partition)
    }

    /// The open groups, in order of their ids.
    #[must_use]
    pub fn partitions(&self) -> Vec<Arc<dyn Partition>> {
        lock(&self.groups).values().cloned().collect()
    }

    /// Syncs of the shared log since it was opened.
    #[must_use]
    pub fn log_syncs_total(&self) -> u64 {
        self.config.log.syncs_total()
    }

    /// Lets proposals finish, stops every group, syncs and closes. State files close with the last
    /// [`Partition`] that the caller drops.
    pub async fn shutdown(&self) {
        let running = std::mem::take(&mut *lock(&self.running));
        lock(&self.groups).clear();
        futures::future::join_all(running.iter().map(|group| group.stop())).await;
        for group in running {
            group.wait_closed().await;
        }
    }

    async fn start_group(&self, config: GroupConfig) -> Result<Opened, OpenError> {
        let partition = config.partition.0;
        let state_dir = match &self.config.directory {
            Some(directory) => directory.current_state(config.partition)?,
            None => PathBuf::new(),
        };
        let faults = self.faults(config.partition);
        if let Some(reason) = self.quarantine_reason(&faults)? {
            return Ok(Opened::Quarantined(quarantined(&config, state_dir, reason)));
        }
        let engine = (self.config.open_state)(config.partition, &state_dir)
            .map_err(|source| OpenError::State { partition, source })?;
        let applied =
            state_meta::load(&*engine).map_err(|source| OpenError::StateMeta { partition, source })?;
        let (applied_tx, applied_rx) = watch::channel(Applied::default());
        let (open, closed) = mpsc::channel(1);
        let barrier = StateBarrier::new(Arc::clone(&engine), applied, applied_tx, open);
        let envelopes = Envelopes {
            partition: config.partition,
            incarnation: config.incarnation,
            cipher: Arc::clone(&config.cipher),
        };
        let log = LogStore::open(Arc::clone(&self.config.log), envelopes, Some(Arc::clone(&barrier)))
            .map_err(|source| OpenError::Log { partition, source })?;
        let adapter = StateAdapter {
            partition: config.partition,
            state_machine: Arc::clone(&config.state_machine),
            barrier,
            faults: Arc::clone(&faults),
            snapshots: Arc::default(),
        };
        let raft = match self.start_raft(&config, log.clone(), adapter).await {
            Ok(raft) => raft,
            Err(StartError::Config(reason)) => return Err(OpenError::Config { partition, reason }),
            Err(StartError::Fatal(Fatal::StorageError(cause))) if !faults.has_panicked() => {
                let reason = cause.to_string();
                faults.quarantine(&reason);
                return Ok(Opened::Quarantined(quarantined(&config, state_dir, reason)));
            }
            Err(StartError::Fatal(cause)) => {
                return Err(OpenError::Stopped { partition, reason: cause.to_string() });
            }
        };
        let group = self.supervise(&config, raft, log, engine, faults, applied_rx, closed);
        self.lead_alone(&config, &group).await?;
        Ok(Opened::Running(group))
    }

    fn faults(&self, partition: PartitionId) -> Arc<Faults> {
        Arc::new(Faults {
            partition,
            directory: self.config.directory.clone().map(Arc::new),
            clock: Arc::clone(&self.config.clock),
            on_panic: Arc::clone(&self.config.on_panic),
            lifecycle: watch::Sender::new(Lifecycle::Running),
            panicked: AtomicBool::new(false),
        })
    }

    /// Why the group must not start: a marker, or too many panics, which leave one.
    fn quarantine_reason(&self, faults: &Faults) -> Result<Option<String>, DataDirError> {
        let Some(directory) = &self.config.directory else { return Ok(None) };
        if let Some(reason) = directory.quarantined(faults.partition)? {
            return Ok(Some(reason));
        }
        let panics = directory.recent_panics(faults.partition, self.config.clock.now())?;
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
        log: LogStore,
        adapter: StateAdapter,
    ) -> Result<Raft, StartError> {
        let name = format!("partition-{}", config.partition.0);
        let settings =
            config.timers.config(name, config.retention).map_err(|e| StartError::Config(e.to_string()))?;
        Raft::new(self.identity.id.0, Arc::new(settings), NoPeers, log, adapter)
            .await
            .map_err(StartError::Fatal)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one group, joined once")]
    fn supervise(
        &self,
        config: &GroupConfig,
        raft: Raft,
        log: LogStore,
        engine: Arc<dyn Engine>,
        faults: Arc<Faults>,
        applied: watch::Receiver<Applied>,
        closed: mpsc::Receiver<()>,
    ) -> Arc<Group> {
        let (leadership_tx, leadership) = watch::channel(Leadership { term: 0, leads: false });
        let supervisor = Supervisor {
            raft: raft.clone(),
            faults: Arc::clone(&faults),
            applied: applied.clone(),
            leadership: leadership_tx,
        };
        tokio::spawn(supervisor.run());
        Arc::new(Group {
            id: config.partition,
            incarnation: config.incarnation,
            rounds: ReadRounds::start(raft.clone(), Arc::clone(&self.config.clock)),
            raft,
            log: Mutex::new(Some(log)),
            engine,
            clock: Arc::clone(&self.config.clock),
            faults,
            applied,
            leadership,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX)),
            closed: tokio::sync::Mutex::new(closed),
        })
    }

    /// Makes a new group of one, or has the only voter lead at once instead of after a timeout.
    async fn lead_alone(&self, config: &GroupConfig, group: &Group) -> Result<(), OpenError> {
        let partition = config.partition.0;
        let stopped =
            |cause: &dyn std::fmt::Display| OpenError::Stopped { partition, reason: cause.to_string() };
        let initialized = group.raft.is_initialized().await.map_err(|e| stopped(&e))?;
        if !initialized {
            let Start::Bootstrap(info) = &config.start else { return Ok(()) };
            let members = BTreeMap::from([(self.identity.id.0, info.clone())]);
            let made: Result<(), RaftError<TypeConfig, InitializeError<TypeConfig>>> =
                group.raft.initialize(members).await;
            made.map_err(|e| stopped(&e))?;
        }
        // Asked of the core itself: the metrics lag behind it.
        let voters = |state: &openraft::RaftState<TypeConfig>| {
            state.membership_state.effective().voter_ids().collect::<Vec<u64>>()
        };
        let voters = group.raft.with_raft_state(voters).await.map_err(|e| stopped(&e))?;
        if voters != [self.identity.id.0] {
            return Ok(());
        }
        // Nobody else can win: waiting for an election timeout would only be slow.
        group.raft.trigger().elect(false).await.map_err(|e| stopped(&e))?;
        let mut leadership = group.leadership();
        if tokio::time::timeout(LEAD_WAIT, leadership.wait_for(|seen| seen.leads)).await.is_err() {
            tracing::warn!(partition, "no leader yet");
        }
        Ok(())
    }
}

enum Opened {
    Running(Arc<Group>),
    Quarantined(Quarantined),
}

enum StartError {
    Config(String),
    Fatal(Fatal<TypeConfig>),
}

fn quarantined(config: &GroupConfig, directory: PathBuf, reason: String) -> Quarantined {
    let leadership = watch::Sender::new(Leadership { term: 0, leads: false });
    Quarantined { id: config.partition, incarnation: config.incarnation, reason, directory, leadership }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
