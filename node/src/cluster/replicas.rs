//! This node's replicas: opened from the disk at the start, by order later, each with the executor that
//! the domain runs its commands on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domicile_iam::apply::Machine;
use domicile_iam::execute::{Executor, ExecutorConfig};
use domicile_iam::projections::DomainStreams;
use domicile_iam::seal::{KekSource, Keyring, PartitionCipher, PartitionKey};
use domicile_raft::placement::GroupSettings;
use domicile_raft::{
    Clock, GroupConfig, Incarnation, NodeId, OpenError, PartitionId, RaftNode, Retention, Start,
};
use tokio::task::AbortHandle;

use super::files::{FilesError, Held};
use crate::boot::{PartitionKeyError, partition_keys, sweeper};

/// A replica cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// Its key.
    #[error("cannot open the key of partition {partition}")]
    Key {
        /// Which partition.
        partition: u64,
        /// Why.
        #[source]
        cause: PartitionKeyError,
    },
    /// Its group.
    #[error("cannot open partition {partition}")]
    Group {
        /// Which partition.
        partition: u64,
        /// Why.
        #[source]
        cause: OpenError,
    },
    /// It was here and is gone: what it acknowledged may be lost with it.
    #[error(
        "partition {partition} was held here and its log or its state is gone: this disk must not come back as the \
         same node. On another node: `domicile node decommission {node}`; then empty {}, and join again \
         for a new id", root.display()
    )]
    Gone {
        /// Which partition.
        partition: u64,
        /// This node.
        node: u64,
        /// The data directory.
        root: PathBuf,
    },
    /// What this node holds cannot be noted.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The placement does not allow this node's region.
    #[error("partition {partition} may not be held in region {region}")]
    Foreign {
        /// Which partition.
        partition: u64,
        /// This node's region.
        region: String,
    },
}

/// Refuses a data directory whose log went missing as a whole: opened without it, every replica would begin
/// anew. To be called before anything makes the log.
pub(crate) fn check_log(root: &Path, node: NodeId) -> Result<(), ReplicaError> {
    let Some(partition) = Held::load(root)?.partitions.first().copied() else { return Ok(()) };
    let has_log = std::fs::read_dir(root.join("log")).is_ok_and(|mut files| files.next().is_some());
    if has_log {
        return Ok(());
    }
    Err(ReplicaError::Gone { partition, node: node.0, root: root.to_owned() })
}

/// What opening needs, and what is open.
pub(crate) struct Replicas {
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) root: PathBuf,
    pub(crate) kek: Arc<dyn KekSource>,
    pub(crate) clock: Arc<dyn Clock>,
    /// This node's.
    pub(crate) region: String,
    retention: Retention,
    open: Mutex<BTreeMap<PartitionId, Open>>,
    /// One is opened at a time: two orders for the same one are one.
    opening: tokio::sync::Mutex<()>,
    /// On the disk here, and why they could not be opened.
    unopened: Mutex<BTreeMap<PartitionId, String>>,
}

struct Open {
    executor: Arc<Executor>,
    sweeper: AbortHandle,
}

impl Replicas {
    pub(crate) fn new(
        raft: Arc<RaftNode>,
        root: PathBuf,
        kek: Arc<dyn KekSource>,
        clock: Arc<dyn Clock>,
        region: String,
        log_entries: u64,
    ) -> Self {
        let usual = Retention::default();
        let snapshot_every = usual.snapshot_every.min(log_entries);
        let retention = Retention { keep_entries: log_entries, snapshot_every, ..usual };
        Self {
            raft,
            root,
            kek,
            clock,
            region,
            retention,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            unopened: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replicas that lie here and could not be opened, with the reason.
    pub(crate) fn unopened(&self) -> BTreeMap<PartitionId, String> {
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers that a replica on the disk could not be opened.
    pub(crate) fn note_unopened(&self, partition: PartitionId, reason: String) {
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, reason);
    }

    /// The executor of an open replica.
    pub(crate) fn executor(&self, partition: PartitionId) -> Option<Arc<Executor>> {
        self.lock().get(&partition).map(|open| Arc::clone(&open.executor))
    }

    /// The open replicas' executors.
    pub(crate) fn executors(&self) -> Vec<Arc<Executor>> {
        self.lock().values().map(|open| Arc::clone(&open.executor)).collect()
    }

    /// The executor of a partition's replica that has its state: tenants are served from it. One that was damaged when
    /// it was opened has none, and others are asked.
    pub(crate) fn home(&self, partition: PartitionId) -> Option<Arc<Executor>> {
        let is_home = partition != PartitionId::DIRECTORY && self.raft.whole(partition).is_some();
        self.executor(partition).filter(|_| is_home)
    }

    /// The partition's key as it lies here, if it does.
    pub(crate) fn key(&self, partition: PartitionId) -> Result<Option<PartitionKey>, ReplicaError> {
        partition_keys::load(&self.root, partition, self.kek.as_ref())
            .map_err(|cause| ReplicaError::Key { partition: partition.0, cause })
    }

    /// Keeps a key that another replica gave, under this node's key-encryption key.
    pub(crate) fn keep_key(&self, partition: PartitionId, key: &PartitionKey) -> Result<(), ReplicaError> {
        partition_keys::store(&self.root, partition, key, self.kek.as_ref(), self.clock.as_ref())
            .map_err(|cause| ReplicaError::Key { partition: partition.0, cause })
    }

    /// Makes a key for a partition that has no data anywhere, or finds the one made before.
    pub(crate) fn make_key(&self, partition: PartitionId) -> Result<(), ReplicaError> {
        partition_keys::load_or_make(&self.root, partition, self.kek.as_ref(), self.clock.as_ref())
            .map(drop)
            .map_err(|cause| ReplicaError::Key { partition: partition.0, cause })
    }

    /// Nothing is opened or closed while this is held.
    pub(crate) async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.opening.lock().await
    }

    /// Opens a replica whose key lies here. Checks the region again, whoever ordered it.
    pub(crate) async fn open(
        &self,
        partition: PartitionId,
        incarnation: Incarnation,
        settings: GroupSettings,
        start: Start,
    ) -> Result<Arc<Executor>, ReplicaError> {
        let _one = self.alone().await;
        if let Some(executor) = self.executor(partition) {
            return Ok(executor);
        }
        self.check_region(partition, &settings)?;
        let id = partition.0;
        let lost = || PartitionKeyError::Lost { path: self.root.join("partitions").join(id.to_string()) };
        let key = self.key(partition)?.ok_or_else(|| ReplicaError::Key { partition: id, cause: lost() })?;
        let config = GroupConfig {
            partition,
            incarnation,
            cipher: Arc::new(PartitionCipher::new(key.clone(), Vec::new(), self.clock.clone())),
            state_machine: Arc::new(Machine::new(DomainStreams)),
            settings,
            retention: self.retention,
            start,
        };
        let group = self.raft.open_group(config).await;
        let group = group.map_err(|cause| {
            let lost = matches!(cause, OpenError::LogLost { .. });
            if lost { self.gone(id) } else { ReplicaError::Group { partition: id, cause } }
        })?;
        let executor = Executor::new(group, Keyring::new(key), self.clock.clone(), ExecutorConfig::default());
        let sweeper = tokio::spawn(sweeper::run(Arc::clone(&executor))).abort_handle();
        self.note_held(|held| held.insert(id))?;
        self.lock().insert(partition, Open { executor: Arc::clone(&executor), sweeper });
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        Ok(executor)
    }

    /// Refuses a partition whose placement does not name this node's region.
    pub(crate) fn check_region(
        &self,
        partition: PartitionId,
        settings: &GroupSettings,
    ) -> Result<(), ReplicaError> {
        if settings.placement.allows(&self.region) {
            Ok(())
        } else {
            Err(ReplicaError::Foreign { partition: partition.0, region: self.region.clone() })
        }
    }

    /// Refuses a disk that lost what it held: the first partition that is noted and not among `found`.
    /// Gives what is noted.
    pub(crate) fn check_held(&self, found: &BTreeSet<PartitionId>) -> Result<Held, ReplicaError> {
        let held = Held::load(&self.root)?;
        match held.partitions.iter().find(|id| !found.contains(&PartitionId(**id))) {
            None => Ok(held),
            Some(partition) => Err(self.gone(*partition)),
        }
    }

    fn gone(&self, partition: u64) -> ReplicaError {
        ReplicaError::Gone { partition, node: self.raft.identity().id.0, root: self.root.clone() }
    }

    /// To be called before the files of a replica are removed in order.
    pub(crate) fn note_removed(&self, partition: PartitionId) -> Result<(), ReplicaError> {
        self.note_held(|held| held.remove(&partition.0))
    }

    fn note_held(&self, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) -> Result<(), ReplicaError> {
        let mut held = Held::load(&self.root)?;
        if change(&mut held.partitions) {
            held.store(&self.root)?;
        }
        Ok(())
    }

    /// Forgets the executor; the caller closes the group.
    pub(crate) fn forget(&self, partition: PartitionId) -> bool {
        let Some(open) = self.lock().remove(&partition) else { return false };
        open.sweeper.abort();
        true
    }

    /// Ends the sweepers and forgets all executors.
    pub(crate) fn forget_all(&self) {
        for open in std::mem::take(&mut *self.lock()).into_values() {
            open.sweeper.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{Alone, only_in};

    #[tokio::test]
    async fn a_partition_that_may_not_be_in_this_region_is_not_opened_whoever_orders_it() {
        let (alone, id) = (Alone::of("us"), PartitionId(4));
        let refused = alone.found(id, only_in("eu")).await;
        assert!(
            matches!(&refused, Err(ReplicaError::Foreign { partition: 4, region }) if region == "us"),
            "{:?}",
            refused.err()
        );
        assert!(alone.replicas.raft.partition(id).is_none() && alone.replicas.executor(id).is_none());
        assert!(alone.found(id, only_in("us")).await.is_ok());
    }
}
