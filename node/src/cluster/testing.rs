//! One node's replicas in memory, for tests of what stands on them.

use std::sync::Arc;

use domicile_iam::execute::Executor;
use domicile_iam::seal::{FixedKek, Kek};
use domicile_raft::placement::{GroupSettings, Placement, Regions};
use domicile_raft::{Clock, Incarnation, NodeInfo, PartitionId, RaftNode, Start, SystemClock, TimerProfile};
use tempfile::TempDir;

use super::replicas::{ReplicaError, Replicas};

/// Node 1 of a region; its keys are on a disk that goes with it.
pub(crate) struct Alone {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) replicas: Arc<Replicas>,
    _root: TempDir,
}

impl Alone {
    pub(crate) fn of(region: &str) -> Self {
        let (root, clock) = (tempfile::tempdir().unwrap(), Arc::new(SystemClock::new()));
        let raft = Arc::new(RaftNode::open_in_memory(clock.clone()).unwrap());
        let kek = FixedKek::new(Kek::from_bytes(1, &[7; 32]).unwrap(), Vec::new());
        let path = root.path().to_owned();
        let replicas = Replicas::new(raft, path, Arc::new(kek), clock.clone(), region.to_owned(), 10_000);
        Self { clock, replicas: Arc::new(replicas), _root: root }
    }

    /// Founds a partition, its key first.
    pub(crate) async fn found(
        &self,
        partition: PartitionId,
        settings: GroupSettings,
    ) -> Result<Arc<Executor>, ReplicaError> {
        self.replicas.make_key(partition)?;
        let info =
            NodeInfo { region: self.replicas.region.clone(), zone: "a".to_owned(), ..NodeInfo::default() };
        self.replicas.open(partition, Incarnation(1), settings, Start::Bootstrap(info)).await
    }
}

/// Nowhere but in this region.
pub(crate) fn only_in(region: &str) -> GroupSettings {
    let regions = Regions::Only([region.to_owned()].into());
    let settings = GroupSettings::anywhere(TimerProfile::Zone);
    GroupSettings {
        generation: 1,
        placement: Placement { regions, ..settings.placement.clone() },
        ..settings
    }
}
