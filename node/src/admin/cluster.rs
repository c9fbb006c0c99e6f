//! `/v1/cluster`, `/v1/nodes`, `/v1/regions`, `/v1/partitions`, `/v1/join-tokens`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::State;
use domicile_raft::{NodeId, PartitionId};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::cluster_control::{ControlError, NewJoinToken, WantedDuty};
use super::cluster_documents::{
    ClusterDocument, JoinTokenDocument, NodeDocument, PartitionDocument, RegionDocument,
};
use super::request::{Segments, Write};
use super::state::AdminState;
use crate::problem::Problem;

/// How long a join token lasts unless asked otherwise, and at most.
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
const TOKEN_LIFETIME_MAX_S: u64 = 7 * 24 * 3_600;
/// After a change of leader or a lost quorum.
const RETRY_SOON_S: u64 = 1;

/// A list that fits into one answer.
#[derive(Serialize, ToSchema)]
pub(super) struct All<T> {
    items: Vec<T>,
}

/// A new leader.
#[derive(Serialize, ToSchema)]
pub(super) struct LeaderDocument {
    /// The node that leads now, or is about to.
    leader: u64,
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound => Self::not_found(),
            ControlError::Conflict(reason) => Self::conflict(reason),
            ControlError::Invalid(reason) => Self::unprocessable(reason),
            ControlError::Unavailable(reason) => Self::unavailable(RETRY_SOON_S).detail(reason),
        }
    }
}

fn number(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

/// Shows the cluster
#[utoipa::path(get, path = "/cluster", tag = "cluster", responses((status = 200, body = ClusterDocument)))]
pub(super) async fn get_cluster(State(state): State<AdminState>) -> Answer<ClusterDocument> {
    Answer::ok(state.cluster.overview().await)
}

/// Lists nodes
#[utoipa::path(get, path = "/nodes", tag = "cluster", responses((status = 200, body = All<NodeDocument>)))]
pub(super) async fn list_nodes(State(state): State<AdminState>) -> Answer<All<NodeDocument>> {
    Answer::ok(All { items: state.cluster.overview().await.nodes })
}

/// Lists regions
#[utoipa::path(get, path = "/regions", tag = "cluster", responses((status = 200, body = All<RegionDocument>)))]
pub(super) async fn list_regions(State(state): State<AdminState>) -> Answer<All<RegionDocument>> {
    Answer::ok(All { items: regions(&state.cluster.overview().await) })
}

/// Lists partitions
#[utoipa::path(
    get, path = "/partitions", tag = "cluster", responses((status = 200, body = All<PartitionDocument>))
)]
pub(super) async fn list_partitions(State(state): State<AdminState>) -> Answer<All<PartitionDocument>> {
    Answer::ok(All { items: state.cluster.overview().await.partitions })
}

/// Shows a partition
#[utoipa::path(
    get, path = "/partitions/{id}", tag = "cluster", responses((status = 200, body = PartitionDocument))
)]
pub(super) async fn get_partition(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
) -> Result<Answer<PartitionDocument>, Problem> {
    let id = PartitionId(number(&id)?);
    let partitions = state.cluster.overview().await.partitions;
    let found = partitions.into_iter().find(|partition| partition.id == id);
    found.map(Answer::ok).ok_or_else(Problem::not_found)
}

/// Transfers leadership
///
/// To the voter named by `to`, or to the best one. Only a voter that has caught up can lead.
#[utoipa::path(
    post, path = "/partitions/{id}/transfer-leader", tag = "cluster",
    request_body(content = ref("#/components/schemas/LeaderTransfer"), content_type = "application/json"),
    responses((status = 200, body = LeaderDocument))
)]
pub(super) async fn transfer_leader(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
    write: Write,
) -> Result<Answer<LeaderDocument>, Problem> {
    let partition = PartitionId(number(&id)?);
    let mut members = write.members()?;
    let to: Option<u64> = members.take("to", "a node id")?;
    members.finish(["to"])?;
    let leader = state.cluster.transfer_leader(partition, to.map(NodeId)).await?;
    Ok(Answer::ok(LeaderDocument { leader: leader.0 }))
}

/// Drains a node
///
/// It leads nothing from here on and gives its replicas away; `activate` takes that back.
#[utoipa::path(post, path = "/nodes/{id}/drain", tag = "cluster", responses((status = 202)))]
pub(super) async fn drain_node(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
) -> Result<Answer<()>, Problem> {
    set_duty(&state, &id, WantedDuty::Draining).await
}

/// Takes a drain back
#[utoipa::path(post, path = "/nodes/{id}/activate", tag = "cluster", responses((status = 202)))]
pub(super) async fn activate_node(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
) -> Result<Answer<()>, Problem> {
    set_duty(&state, &id, WantedDuty::Active).await
}

/// Decommissions a node
///
/// For good: its replicas are made again elsewhere, and its id is never used again.
#[utoipa::path(post, path = "/nodes/{id}/decommission", tag = "cluster", responses((status = 202)))]
pub(super) async fn decommission_node(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
) -> Result<Answer<()>, Problem> {
    set_duty(&state, &id, WantedDuty::Decommissioned).await
}

async fn set_duty(state: &AdminState, id: &str, duty: WantedDuty) -> Result<Answer<()>, Problem> {
    state.cluster.set_duty(NodeId(number(id)?), duty).await?;
    Ok(Answer::accepted())
}

/// Creates a join token
///
/// One host of that region may join with it, once, until it expires.
#[utoipa::path(
    post, path = "/join-tokens", tag = "cluster",
    request_body(content = ref("#/components/schemas/NewJoinToken"), content_type = "application/json"),
    responses((status = 201, body = JoinTokenDocument))
)]
pub(super) async fn create_join_token(
    State(state): State<AdminState>,
    write: Write,
) -> Result<Answer<JoinTokenDocument>, Problem> {
    let mut members = write.members()?;
    let region: String = members.required("region", "a string")?;
    let lifetime_s: Option<u64> = members.take("lifetime_s", "a number of seconds")?;
    members.finish(["region", "lifetime_s"])?;
    let lifetime_s = lifetime_s.unwrap_or(TOKEN_LIFETIME.as_secs());
    if !(1..=TOKEN_LIFETIME_MAX_S).contains(&lifetime_s) {
        let rule = format!("`lifetime_s` is not between 1 and {TOKEN_LIFETIME_MAX_S}");
        return Err(Problem::unprocessable(rule).with("member", "lifetime_s"));
    }
    let new = NewJoinToken { region, lifetime: Duration::from_secs(lifetime_s) };
    Ok(Answer::created(state.cluster.create_join_token(new).await?, None))
}

/// The regions that `cluster` has nodes in, by name.
fn regions(cluster: &ClusterDocument) -> Vec<RegionDocument> {
    let mut found: BTreeMap<&str, (RegionDocument, BTreeSet<&str>)> = BTreeMap::new();
    for node in cluster.nodes.iter().filter(|node| node.state != "decommissioned") {
        let (region, zones) = found.entry(node.region.as_str()).or_default();
        region.nodes += 1;
        region.alive += u64::from(node.alive);
        region.replicas += node.replicas.unwrap_or(0);
        region.leads += node.leads.unwrap_or(0);
        zones.insert(&node.zone);
    }
    let named = found.into_iter().map(|(name, (region, zones))| RegionDocument {
        name: name.to_owned(),
        zones: zones.into_iter().map(str::to_owned).collect(),
        ..region
    });
    named.collect()
}
