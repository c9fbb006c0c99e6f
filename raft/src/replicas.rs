//! The groups that are open on this node, by partition.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::group::Group;
use crate::hosted::Hosted;
use crate::quarantined::Quarantined;
use crate::{Partition, PartitionId};

/// An open group.
#[derive(Clone)]
pub(crate) enum Replica {
    /// It takes part.
    Running(Arc<Hosted>),
    /// It is stopped by a marker.
    Quarantined(Arc<Quarantined>),
}

impl Replica {
    pub(crate) fn partition(&self) -> Arc<dyn Partition> {
        match self {
            Self::Running(hosted) => Arc::clone(hosted) as Arc<dyn Partition>,
            Self::Quarantined(group) => Arc::clone(group) as Arc<dyn Partition>,
        }
    }
}

/// Shared by the node and what answers its peers.
#[derive(Default)]
pub(crate) struct Replicas {
    open: Mutex<BTreeMap<PartitionId, Replica>>,
}

impl Replicas {
    pub(crate) fn get(&self, id: PartitionId) -> Option<Replica> {
        self.lock().get(&id).cloned()
    }

    /// The group, unless it is quarantined or not here.
    pub(crate) fn running(&self, id: PartitionId) -> Option<Arc<Group>> {
        match self.lock().get(&id) {
            Some(Replica::Running(hosted)) => Some(hosted.group()),
            Some(Replica::Quarantined(_)) | None => None,
        }
    }

    /// Every group that is not quarantined, in order of their ids.
    pub(crate) fn all_running(&self) -> Vec<Arc<Group>> {
        let open = self.lock();
        let running = open.values().filter_map(|replica| match replica {
            Replica::Running(hosted) => Some(hosted.group()),
            Replica::Quarantined(_) => None,
        });
        running.collect()
    }

    /// In order of their ids.
    pub(crate) fn all(&self) -> Vec<Replica> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn insert(&self, id: PartitionId, replica: Replica) {
        self.lock().insert(id, replica);
    }

    pub(crate) fn remove(&self, id: PartitionId) -> Option<Replica> {
        self.lock().remove(&id)
    }

    /// Takes all out.
    pub(crate) fn drain(&self) -> Vec<Replica> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Replica>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
