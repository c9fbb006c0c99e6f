//! What the admin API asks of the cluster, and the answer of a node that has none.

use std::sync::Arc;
use std::time::Duration;

use domicile_iam::execute::{RequestContext, Written};
use domicile_iam::service::Iam;
use domicile_raft::{BoxFuture, NodeId, PartitionId};

use super::cluster_documents::{
    ClusterDocument, JoinTokenDocument, LogCutDocument, NodeDocument, PartitionDocument,
    ReplicaDigestDocument,
};

/// What operators want of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedDuty {
    /// It may hold replicas.
    Active,
    /// It gives its replicas away.
    Draining,
    /// It is gone for good.
    Decommissioned,
}

/// A join token that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJoinToken {
    /// For a node of this region.
    pub region: String,
    /// How long it may be used.
    pub lifetime: Duration,
}

/// Why the cluster did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no such node or partition.
    #[error("there is nothing here")]
    NotFound,
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// A value breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// No quorum or no answer; nothing was done.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been done.
    #[error("the outcome is not known")]
    Unknown,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyUsed,
}

/// The cluster, as the admin API needs it.
pub trait ClusterControl: Send + Sync + 'static {
    /// Nodes and partitions; asks the nodes, within a second.
    fn overview(&self) -> BoxFuture<'_, ClusterDocument>;

    /// Records what operators want of a node; the placement controller acts on it. Refused where a
    /// partition would survive less.
    fn set_duty(
        &self,
        ctx: RequestContext,
        node: NodeId,
        duty: WantedDuty,
    ) -> BoxFuture<'_, Result<Written<()>, ControlError>>;

    /// Has another voter lead; the best one if none is named. Writes nothing: done twice it is done once.
    fn transfer_leader(
        &self,
        partition: PartitionId,
        to: Option<NodeId>,
    ) -> BoxFuture<'_, Result<NodeId, ControlError>>;

    /// Has this node's replica make what is applied its snapshot and cut its log to it. Writes nothing that
    /// others see: done twice it is done once.
    fn cut_log(&self, partition: PartitionId) -> BoxFuture<'_, Result<LogCutDocument, ControlError>>;

    /// The digest of what this node's replica has applied; one at a time. Reads everything; ends with the future.
    fn digest(&self, partition: PartitionId) -> BoxFuture<'_, Result<ReplicaDigestDocument, ControlError>>;

    /// Makes a one-use join token. A repeat with the same idempotency key is told the same token by the nodes of
    /// the region of the one that made it, until it is used; at others it is a conflict.
    fn create_join_token(
        &self,
        ctx: RequestContext,
        new: NewJoinToken,
    ) -> BoxFuture<'_, Result<Written<JoinTokenDocument>, ControlError>>;
}

/// A node without a cluster.
pub struct SingleNode {
    /// The domain.
    pub iam: Iam,
    /// The node.
    pub node: NodeDocument,
}

impl SingleNode {
    /// As what the admin API stands on.
    pub fn control(iam: Iam, id: NodeId, public_url: &str) -> Arc<dyn ClusterControl> {
        let node = NodeDocument {
            id: id.0,
            public_url: public_url.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: "active".to_owned(),
            alive: true,
            ..NodeDocument::default()
        };
        Arc::new(Self { iam, node })
    }
}

fn alone<T: Send + 'static>() -> BoxFuture<'static, Result<T, ControlError>> {
    Box::pin(std::future::ready(Err(ControlError::Conflict("this node is not part of a cluster".to_owned()))))
}

impl ClusterControl for SingleNode {
    fn overview(&self) -> BoxFuture<'_, ClusterDocument> {
        let partitions = self.iam.cluster_status().into_iter().map(PartitionDocument::from).collect();
        let nodes = vec![self.node.clone()];
        let answered_by = Some(NodeId(self.node.id));
        let document = ClusterDocument { cluster_id: None, answered_by, nodes, partitions };
        Box::pin(std::future::ready(document))
    }

    fn set_duty(
        &self,
        _: RequestContext,
        _: NodeId,
        _: WantedDuty,
    ) -> BoxFuture<'_, Result<Written<()>, ControlError>> {
        alone()
    }

    fn transfer_leader(
        &self,
        _: PartitionId,
        _: Option<NodeId>,
    ) -> BoxFuture<'_, Result<NodeId, ControlError>> {
        alone()
    }

    fn cut_log(&self, _: PartitionId) -> BoxFuture<'_, Result<LogCutDocument, ControlError>> {
        alone()
    }

    fn digest(&self, _: PartitionId) -> BoxFuture<'_, Result<ReplicaDigestDocument, ControlError>> {
        alone()
    }

    fn create_join_token(
        &self,
        _: RequestContext,
        _: NewJoinToken,
    ) -> BoxFuture<'_, Result<Written<JoinTokenDocument>, ControlError>> {
        alone()
    }
}
