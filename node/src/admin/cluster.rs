//! `/v1/cluster`: the nodes and partitions as this node sees them.

use axum::extract::State;
use domicile_raft::{Health, NodeId, PartitionId, PartitionStatus};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::state::{AdminState, NodeDescription};

/// The cluster.
#[derive(Serialize, ToSchema)]
pub(super) struct ClusterDocument {
    /// Its nodes.
    nodes: Vec<NodeDescription>,
    /// Its partitions, by id.
    partitions: Vec<PartitionDocument>,
}

/// A partition: one Raft group.
#[derive(Serialize, ToSchema)]
pub(super) struct PartitionDocument {
    /// 0 is the directory.
    #[schema(value_type = u64)]
    id: PartitionId,
    /// The leader's node id, where known.
    #[schema(value_type = Option<u64>)]
    leader: Option<NodeId>,
    /// The current term.
    term: u64,
    /// Node ids with a vote.
    #[schema(value_type = Vec<u64>)]
    voters: Vec<NodeId>,
    /// Node ids without a vote.
    #[schema(value_type = Vec<u64>)]
    learners: Vec<NodeId>,
    /// Last log index applied here.
    applied: u64,
    /// Last log index known committed here.
    committed: u64,
    /// `state` is `running`, or `failed` or `quarantined` with a `reason`.
    #[schema(value_type = Object)]
    health: Health,
}

impl From<PartitionStatus> for PartitionDocument {
    fn from(status: PartitionStatus) -> Self {
        let PartitionStatus { id, leader, term, voters, learners, applied, committed, health } = status;
        Self { id, leader, term, voters, learners, applied, committed, health }
    }
}

/// Shows the cluster
#[utoipa::path(get, path = "/cluster", tag = "cluster", responses((status = 200, body = ClusterDocument)))]
pub(super) async fn get_cluster(State(state): State<AdminState>) -> Answer<ClusterDocument> {
    let partitions = state.iam.cluster_status().into_iter().map(PartitionDocument::from).collect();
    Answer::ok(ClusterDocument { nodes: state.nodes.to_vec(), partitions })
}
