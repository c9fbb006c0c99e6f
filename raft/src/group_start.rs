//! How one group comes up: state, log, Raft, and what watches it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domicile_storage::Engine;
use openraft::errors::{Fatal, InitializeError, RaftError};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::barrier::{Applied, StateBarrier};
use crate::config::{GroupConfig, NodeConfig, Start};
use crate::data_dir::{DataDir, DataDirError, NodeIdentity};
use crate::envelope::Envelopes;
use crate::faults::{Faults, Lifecycle, chain};
use crate::group::{Group, IN_FLIGHT_BYTES_MAX};
use crate::log_store::{LogStore, LogStoreError};
use crate::open_error::OpenError;
use crate::peer::NoPeers;
use crate::proposals::Proposals;
use crate::quarantined::Quarantined;
use crate::read_rounds::ReadRounds;
use crate::state_adapter::StateAdapter;
use crate::state_meta;
use crate::supervisor::Supervisor;
use crate::type_config::{Raft, TypeConfig};
use crate::{Leadership, Partition, PartitionId};

/// How long opening waits for a group of one to lead.
const LEAD_WAIT: Duration = Duration::from_secs(10);
/// Panics within ten minutes after which a group stays stopped.
const PANICS_MAX: usize = 3;

/// Starts groups of one node.
pub(crate) struct GroupStarter<'n> {
    pub(crate) node: &'n NodeConfig,
    pub(crate) identity: NodeIdentity,
}

/// What became of a start.
pub(crate) enum Opened {
    Running(Arc<Group>),
    Quarantined(Quarantined),
}

impl GroupStarter<'_> {
    pub(crate) async fn start(&self, config: GroupConfig) -> Result<Opened, OpenError> {
        let state_dir = match &self.node.directory {
            Some(directory) => directory.current_state(config.partition)?,
            None => PathBuf::new(),
        };
        let faults = self.faults(config.partition);
        if let Some(reason) = self.quarantine_reason(&faults)? {
            return Ok(Opened::Quarantined(quarantined(&config, state_dir, reason)));
        }
        match self.start_healthy(&config, &state_dir, &faults).await {
            Ok(group) => Ok(Opened::Running(group)),
            Err(cause) if cause.is_damage() => {
                let reason = chain(&cause);
                faults.quarantine(&reason);
                Ok(Opened::Quarantined(quarantined(&config, state_dir, reason)))
            }
            Err(cause) => Err(cause),
        }
    }

    async fn start_healthy(
        &self,
        config: &GroupConfig,
        state_dir: &Path,
        faults: &Arc<Faults>,
    ) -> Result<Arc<Group>, OpenError> {
        let partition = config.partition.0;
        let engine = (self.node.open_state)(config.partition, state_dir)
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
        let (log, keep_bytes) = (Arc::clone(&self.node.log), config.retention.keep_bytes);
        let log = LogStore::open(log, envelopes, Some(Arc::clone(&barrier)), keep_bytes)
            .map_err(|source| self.log_refused(partition, source))?;
        let adapter = StateAdapter {
            partition: config.partition,
            state_machine: Arc::clone(&config.state_machine),
            barrier,
            faults: Arc::clone(faults),
            snapshots: Arc::default(),
        };
        let raft = self.start_raft(config, log.clone(), adapter, faults).await?;
        let group = self.supervise(config, raft, log, engine, Arc::clone(faults), applied_rx, closed);
        if let Err(cause) = self.lead_alone(config, &group).await {
            // The supervisor knows why; the group says so in its status.
            tracing::warn!(partition, cause, "the group stopped while it started");
        }
        Ok(group)
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
        log: LogStore,
        adapter: StateAdapter,
        faults: &Faults,
    ) -> Result<Raft, OpenError> {
        let partition = config.partition.0;
        let settings = config
            .timers
            .config(format!("partition-{partition}"), config.retention)
            .map_err(|cause| OpenError::Config { partition, reason: cause.to_string() })?;
        let started = Raft::new(self.identity.id.0, Arc::new(settings), NoPeers, log, adapter).await;
        started.map_err(|fatal| match fatal {
            Fatal::StorageError(cause) if !faults.has_panicked() => {
                OpenError::Replay { partition, reason: cause.to_string() }
            }
            Fatal::StorageError(_) | Fatal::Panicked | Fatal::Stopped => {
                OpenError::Stopped { partition, reason: fatal.to_string() }
            }
        })
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
            log: log.clone(),
            syncing: None,
            faults: Arc::clone(&faults),
            applied: applied.clone(),
            leadership: leadership_tx,
        };
        tokio::spawn(supervisor.run());
        Arc::new(Group {
            id: config.partition,
            incarnation: config.incarnation,
            proposals: Proposals::start(raft.clone()),
            rounds: ReadRounds::start(raft.clone(), Arc::clone(&self.node.clock)),
            raft,
            log: Mutex::new(Some(log)),
            engine,
            clock: Arc::clone(&self.node.clock),
            faults,
            applied,
            leadership,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX)),
            closed: tokio::sync::Mutex::new(closed),
        })
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
        }
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn text(cause: impl Display) -> String {
    cause.to_string()
}

fn quarantined(config: &GroupConfig, directory: PathBuf, reason: String) -> Quarantined {
    let leadership = watch::Sender::new(Leadership { term: 0, leads: false });
    Quarantined { id: config.partition, incarnation: config.incarnation, reason, directory, leadership }
}
