//! A node's groups over one log engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domicile_storage::{MemoryEngine, MemoryLog, RaftEngineLog, SledEngine};

use crate::config::{DiskOptions, GroupConfig, NodeConfig, OpenState};
use crate::data_dir::{DataDir, NodeIdentity};
use crate::group::Group;
use crate::group_start::{GroupStarter, Opened};
use crate::open_error::{NodeError, OpenError};
use crate::{Clock, NodeId, Partition, PartitionId};

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

    fn starter(&self) -> GroupStarter<'_> {
        GroupStarter { node: &self.config, identity: self.identity }
    }

    /// Opens a group, replays its log, and returns once it leads if this node is its only voter.
    ///
    /// A quarantined group opens as one that refuses everything; its status says why. So does one
    /// whose log or state turns out damaged now.
    ///
    /// # Errors
    /// [`OpenError`]: what an operator's mistake explains, such as another key. Nothing is quarantined.
    pub async fn open_group(&self, config: GroupConfig) -> Result<Arc<dyn Partition>, OpenError> {
        let id = config.partition;
        if lock(&self.groups).contains_key(&id) {
            return Err(OpenError::AlreadyOpen(id.0));
        }
        let partition: Arc<dyn Partition> = match self.starter().start(config).await? {
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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
