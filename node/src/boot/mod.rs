//! Opens a node in steps, each of which needs the one before: data directory, keys, groups, domain.
//! Closes it in the opposite order.

pub(crate) mod housekeeper;
mod kek;
mod key_driver;
pub(crate) mod partition_keys;
mod serving;
pub(crate) mod sweeper;

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domicile_iam::apply::Machine;
use domicile_iam::execute::{Executor, ExecutorConfig};
use domicile_iam::password::{HashingFault, HashingLimits};
use domicile_iam::projections::DomainStreams;
use domicile_iam::seal::{KekSource, Keyring, PartitionCipher, SealError};
use domicile_iam::service::{Iam, IamParts, LocalOnly, Locality};
use domicile_raft::placement::GroupSettings;
use domicile_raft::{
    Clock, DiskOptions, GroupConfig, Health, Incarnation, NodeError, NodeInfo, OpenError, PartitionId,
    RaftNode, Retention, Start, TimerProfile,
};

use crate::config::Storage;
use crate::serve::{Check, Readiness, ReadinessSource};
use crate::telemetry::PartitionSource;

pub use kek::{KekError, development_kek, load_kek, node_kek};
pub use partition_keys::PartitionKeyError;
pub use serving::{Around, Services, Serving, Sockets, egress};

/// The partition that holds tenants until there are more.
const HOME: PartitionId = PartitionId(1);
/// Groups of a node: the directory and [`HOME`]. The cache is shared among them.
const GROUPS: u64 = 2;

/// A node cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The data directory cannot be made.
    #[error("cannot make the data directory {}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The log or the directory's identity cannot be opened.
    #[error("cannot open the store")]
    Store(#[source] NodeError),
    /// A partition's key cannot be had.
    #[error("cannot open the key of partition {partition}")]
    Key {
        /// Which.
        partition: u64,
        /// Why.
        #[source]
        cause: PartitionKeyError,
    },
    /// A group cannot be opened.
    #[error("cannot open partition {partition}")]
    Group {
        /// Which.
        partition: u64,
        /// Why.
        #[source]
        cause: OpenError,
    },
    /// The password hashing pool cannot be made.
    #[error("cannot make the password hashing pool")]
    Hashing(#[source] HashingFault),
}

/// An open node: its groups, and the domain over them.
pub struct Node {
    raft: Arc<RaftNode>,
    executors: Vec<Arc<Executor>>,
    /// The domain.
    pub iam: Iam,
}

/// Makes the data directory, for its owner only. One that is there already and empty is closed to
/// others too; one with content is left as its owner set it, since secrets in it are files of mode 0600.
///
/// # Errors
/// [`BootError::DataDir`].
pub fn make_data_dir(root: &Path) -> Result<(), BootError> {
    let failed = |cause| BootError::DataDir { path: root.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
    if fs::read_dir(root).map_err(failed)?.next().is_none() {
        fs::set_permissions(root, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

impl Node {
    /// Opens or founds the node in `storage.data_dir`. Returns once each group leads and has applied
    /// its log.
    ///
    /// # Errors
    /// [`BootError`].
    pub async fn open(
        storage: &Storage,
        kek: &dyn KekSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BootError> {
        let root = storage.data_dir.as_path();
        make_data_dir(root)?;
        let mut options = DiskOptions::default();
        options.state.cache_bytes = storage.cache_bytes / GROUPS;
        let raft = RaftNode::open_on_disk(root, options, clock.clone()).map_err(BootError::Store)?;
        let raft = Arc::new(raft);
        let directory = open_group(&raft, root, PartitionId::DIRECTORY, kek, &clock).await?;
        let home = open_group(&raft, root, HOME, kek, &clock).await?;
        let executors = vec![directory.clone(), home.clone()];
        let parts = IamParts {
            directory,
            homes: vec![home],
            remote: Arc::new(LocalOnly),
            locality: Locality::default(),
            clock,
            hashing: HashingLimits::default(),
        };
        let iam = Iam::new(parts).map_err(BootError::Hashing)?;
        Ok(Self { raft, executors, iam })
    }

    /// For the metrics of the partitions.
    pub fn partition_source(&self) -> PartitionSource {
        let raft = Arc::clone(&self.raft);
        Arc::new(move || raft.partitions().iter().map(|partition| partition.status()).collect())
    }

    /// For `/readyz`: each partition has a leader and no fault. A disk without room is told.
    pub fn readiness_source(&self) -> ReadinessSource {
        let raft = Arc::clone(&self.raft);
        Arc::new(move || {
            let partitions = raft.partitions();
            let mut told: Readiness = partitions.iter().map(|partition| check(&partition.status())).collect();
            // What only reads is served without room.
            told.checks.extend(raft.disk_is_full().then(|| Check {
                name: "disk".to_owned(),
                ok: false,
                detail: "full: writes are refused until there is room".to_owned(),
            }));
            told
        })
    }

    /// This node's id.
    pub fn id(&self) -> domicile_raft::NodeId {
        self.raft.identity().id
    }

    /// One task a group: sweeps what has expired, where this node leads.
    pub fn sweepers(&self) -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static> {
        self.executors.clone().into_iter().map(sweeper::run)
    }

    /// Settles creations and deletions of tenants that were not finished, where this node leads.
    pub fn housekeeper(&self) -> impl Future<Output = ()> + Send + 'static {
        housekeeper::run(self.iam.clone())
    }

    /// Lets proposals finish, syncs and closes every group.
    pub async fn shutdown(self) {
        let Self { raft, executors, iam } = self;
        drop((executors, iam));
        raft.shutdown().await;
    }
}

fn check(status: &domicile_raft::PartitionStatus) -> Check {
    let (ok, detail) = match (&status.health, status.leader) {
        (Health::Quarantined(reason), _) => (false, format!("quarantined: {reason}")),
        (Health::Failed(reason), _) => (false, format!("failed: {reason}")),
        (Health::Running, None) => (false, format!("no leader known in term {}", status.term)),
        (Health::Running, Some(leader)) => {
            (true, format!("leader {}, term {}, applied {}", leader.0, status.term, status.applied))
        }
    };
    Check { name: format!("partition {}", status.id.0), ok, detail }
}

async fn open_group(
    raft: &RaftNode,
    root: &Path,
    partition: PartitionId,
    kek: &dyn KekSource,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Executor>, BootError> {
    let key = partition_keys::load_or_make(root, partition, kek, clock.as_ref())
        .map_err(|cause| BootError::Key { partition: partition.0, cause })?;
    let config = GroupConfig {
        partition,
        incarnation: Incarnation(1),
        cipher: Arc::new(PartitionCipher::new(key.clone(), Vec::new(), clock.clone())),
        state_machine: Arc::new(Machine::new(DomainStreams)),
        settings: GroupSettings::anywhere(TimerProfile::Zone),
        retention: Retention::default(),
        start: Start::Bootstrap(NodeInfo::default()),
    };
    let group =
        raft.open_group(config).await.map_err(|cause| BootError::Group { partition: partition.0, cause })?;
    Ok(Executor::new(group, Keyring::new(key), clock.clone(), ExecutorConfig::default()))
}

impl From<SealError> for PartitionKeyError {
    fn from(cause: SealError) -> Self {
        Self::Seal(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_for_its_owner_from_the_start() {
        let parent = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (fresh, empty) = (parent.path().join("a/fresh"), parent.path().join("empty"));
        make_data_dir(&fresh).unwrap();
        assert_eq!(mode(&fresh), 0o700);
        fs::create_dir(&empty).unwrap();
        fs::set_permissions(&empty, Permissions::from_mode(0o755)).unwrap();
        make_data_dir(&empty).unwrap();
        assert_eq!(mode(&empty), 0o700);
        fs::write(empty.join("file"), "x").unwrap();
        fs::set_permissions(&empty, Permissions::from_mode(0o750)).unwrap();
        make_data_dir(&empty).unwrap();
        assert_eq!(mode(&empty), 0o750, "its owner's choice stands");
    }
}
