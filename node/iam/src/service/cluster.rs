//! The cluster: what the directory knows, and where a new tenant goes.

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::placement::Placement;
use domicile_raft::{NodeId, PartitionId};

use super::Iam;
use super::deadline::Deadline;
use crate::commands::{ClusterRefusal, PartitionChoice, RequestPartition, TenantRefusal};
use crate::execute::{ExecuteError, Executor, RequestContext};
use crate::model::{ClusterView, NodeView, PartitionState, PartitionView, RegionView};
use crate::query::{Consistency, JoinTokenView, QueryError, cluster};
use crate::streams::cluster::normal_placement;
use crate::tables::directory_tenant;

/// Between two looks at whether the controller has made a partition.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Where this node is, for what it signs and refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// Its region; `None` for a node alone.
    pub region: Option<String>,
    /// The public origin that clients in its region can use: a hint in directory entries.
    pub origin: Option<String>,
}

/// Where a placement's tenants go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HomeChoice {
    /// Here.
    Ready(PartitionId),
    /// Here, once the controller has made it: ask again.
    Wait(PartitionId),
}

impl Iam {
    /// The executor of a partition that has a replica here from now on.
    pub fn add_home(&self, home: Arc<Executor>) {
        let mut homes = self.inner.homes.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        homes.insert(home.partition().id(), home);
    }

    /// The partition has no replica here from now on: its tenants' keys, clients and what their tokens said leave
    /// the memory with it. Calls under way end as they would.
    pub fn remove_home(&self, home: PartitionId) -> Option<Arc<Executor>> {
        let removed = {
            let mut homes = self.inner.homes.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            homes.remove(&home)
        };
        // Of all homes: this is rare, and what is still here is read again.
        self.inner.grounds.clear();
        self.inner.tenants.clear();
        self.inner.clients.clear();
        self.inner.client_ids.clear();
        self.inner.key_sets.clear();
        self.inner.signing_keys.clear();
        self.inner.known_tokens.clear();
        self.inner.routes.clear();
        removed
    }

    /// The partitions of tenants with a replica here, by id.
    pub fn homes(&self) -> Vec<Arc<Executor>> {
        let homes = self.inner.homes.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        homes.values().map(Arc::clone).collect()
    }

    async fn directory_at(
        &self,
        wanted: &Consistency,
    ) -> Result<Arc<dyn domicile_storage::Engine>, QueryError> {
        self.wait(&self.inner.directory, directory_tenant(), wanted).await?;
        Ok(self.inner.directory.engine())
    }

    /// The cluster's settings; `None` where none was initialised.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn cluster(&self, wanted: &Consistency) -> Result<Option<ClusterView>, QueryError> {
        cluster::cluster(&*self.directory_at(wanted).await?)
    }

    /// All regions by name, with the certificates to trust for each.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn regions(&self, wanted: &Consistency) -> Result<Vec<RegionView>, QueryError> {
        cluster::regions(&*self.directory_at(wanted).await?)
    }

    /// All nodes by id, also the decommissioned.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn nodes(&self, wanted: &Consistency) -> Result<Vec<NodeView>, QueryError> {
        cluster::nodes(&*self.directory_at(wanted).await?)
    }

    /// One node.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn node(&self, id: NodeId, wanted: &Consistency) -> Result<Option<NodeView>, QueryError> {
        Ok(self.nodes(wanted).await?.into_iter().find(|node| node.id == id))
    }

    /// All partitions by id; the directory is the first.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn partitions(&self, wanted: &Consistency) -> Result<Vec<PartitionView>, QueryError> {
        cluster::partitions(&*self.directory_at(wanted).await?)
    }

    /// Join tokens that were neither used nor revoked.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn join_tokens(&self, wanted: &Consistency) -> Result<Vec<JoinTokenView>, QueryError> {
        cluster::join_tokens(&*self.directory_at(wanted).await?)
    }

    /// The partition where tenants of `placement` go: the one there is, or one that the controller is
    /// asked to make. `by_default` says that nobody asked for the placement.
    ///
    /// # Errors
    /// [`TenantRefusal::Placement`] with the reason if the nodes there are cannot give it.
    pub async fn home_for(
        &self,
        ctx: &RequestContext,
        placement: &Placement,
        by_default: bool,
    ) -> Result<HomeChoice, ExecuteError<TenantRefusal>> {
        let request = RequestPartition { placement: placement.clone(), must_be_possible: true, by_default };
        let unkeyed = RequestContext { idempotency: None, ..ctx.clone() };
        let PartitionChoice { partition, state } =
            self.directory(&unkeyed, &request).await.map_err(placement_refused)?.reply;
        Ok(match state {
            PartitionState::Ready => HomeChoice::Ready(partition),
            PartitionState::Wanted => HomeChoice::Wait(partition),
        })
    }

    /// [`Iam::home_for`], waiting within the deadline for the controller. Without a placement: the
    /// cluster's default, or the first partition of a node alone. Gives the placement that it is for too.
    pub(super) async fn new_home(
        &self,
        call: &Deadline<'_>,
        placement: Option<&Placement>,
    ) -> Result<(PartitionId, Option<Placement>), ExecuteError<TenantRefusal>> {
        let settings = cluster::cluster(&*self.inner.directory.engine())
            .map_err(|error| ExecuteError::Fault(error.to_string()))?;
        let Some(wanted) = placement.cloned().or(settings.map(|cluster| cluster.default_placement)) else {
            let only = self.homes().first().map(|home| home.partition().id());
            let only = only.ok_or_else(|| ExecuteError::Fault("no partition holds tenants".to_owned()))?;
            return Ok((only, None));
        };
        let refused = |refusal| placement_refused(ExecuteError::Refused(refusal));
        let wanted = normal_placement(&wanted).map_err(refused)?;
        let looks = call.context().deadline.as_millis() / LOOK_AGAIN.as_millis();
        for _ in 0..looks.max(1) {
            if let HomeChoice::Ready(home) =
                self.home_for(&call.left()?, &wanted, placement.is_none()).await?
            {
                return Ok((home, Some(wanted)));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(ExecuteError::Unavailable { retry_after_s: 1, reason: "the partition is being made" })
    }
}

fn placement_refused(error: ExecuteError<ClusterRefusal>) -> ExecuteError<TenantRefusal> {
    match error {
        ExecuteError::Refused(refusal) => {
            ExecuteError::Refused(TenantRefusal::Placement(refusal.to_string()))
        }
        ExecuteError::IdempotencyMismatch => ExecuteError::IdempotencyMismatch,
        ExecuteError::Unavailable { retry_after_s, reason } => {
            ExecuteError::Unavailable { retry_after_s, reason }
        }
        ExecuteError::NotLeader { partition, leader } => ExecuteError::NotLeader { partition, leader },
        ExecuteError::Unknown => ExecuteError::Unknown,
        ExecuteError::Overloaded(what) => ExecuteError::Overloaded(what),
        ExecuteError::Fault(cause) => ExecuteError::Fault(cause),
        ExecuteError::TenantErased => ExecuteError::TenantErased,
        ExecuteError::KeyGone => ExecuteError::KeyGone,
    }
}
