//! `/v1/cluster`, `/v1/nodes`, `/v1/regions`, `/v1/partitions`, `/v1/join-tokens`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::State;
use domicile_iam::commands::TenantRefusal;
use domicile_iam::execute::ExecuteError;
use domicile_iam::query::Consistency;
use domicile_raft::{NodeId, PartitionId};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::cluster_control::{ControlError, NewJoinToken, WantedDuty};
use super::cluster_documents::{
    ClusterDocument, JoinTokenDocument, LogCutDocument, NodeDocument, PartitionDocument, RegionDocument,
    ReplicaDigestDocument,
};
use super::error::{refused, unread};
use super::page::{Items, PageQuery, Wanted};
use super::request::{Fresh, Segments, Write};
use super::state::AdminState;
use crate::problem::Problem;

/// How long a join token lasts unless asked otherwise, and at most.
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
const TOKEN_LIFETIME_MAX_S: u64 = 7 * 24 * 3_600;
/// After a change of leader or a lost quorum.
const RETRY_SOON_S: u64 = 1;

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
            // As all writes say it.
            ControlError::Unknown => refused(&ExecuteError::<TenantRefusal>::Unknown),
            ControlError::KeyUsed => refused(&ExecuteError::<TenantRefusal>::IdempotencyMismatch),
        }
    }
}

/// The number of a node or partition in a path.
pub(super) fn number(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

/// What the nodes tell, as soon as the directory here shows the write whose token `fresh` carries.
async fn overview(state: &AdminState, fresh: Fresh) -> Result<ClusterDocument, Problem> {
    if let Fresh(wanted @ Consistency::AtLeast(_)) = fresh {
        state.iam.regions(&wanted).await.map_err(|error| unread(&error))?;
    }
    Ok(state.cluster.overview().await)
}

/// Shows the cluster
#[utoipa::path(get, path = "/cluster", tag = "cluster", responses((status = 200, body = ClusterDocument)))]
pub(super) async fn get_cluster(
    State(state): State<AdminState>,
    fresh: Fresh,
) -> Result<Answer<ClusterDocument>, Problem> {
    Ok(Answer::ok(overview(&state, fresh).await?))
}

/// Lists nodes
#[utoipa::path(
    get, path = "/nodes", tag = "cluster", params(PageQuery),
    responses((status = 200, body = Items<NodeDocument>))
)]
pub(super) async fn list_nodes(
    State(state): State<AdminState>,
    wanted: Wanted,
    fresh: Fresh,
) -> Result<Answer<Items<NodeDocument>>, Problem> {
    let nodes = overview(&state, fresh).await?.nodes;
    Ok(Answer::ok(Items::among(nodes, &wanted, |node| node.id)?))
}

/// Lists regions
#[utoipa::path(
    get, path = "/regions", tag = "cluster", params(PageQuery),
    responses((status = 200, body = Items<RegionDocument>))
)]
pub(super) async fn list_regions(
    State(state): State<AdminState>,
    wanted: Wanted,
    fresh: Fresh,
) -> Result<Answer<Items<RegionDocument>>, Problem> {
    let mut regions = regions(&overview(&state, fresh).await?);
    // Absent while the directory is not here.
    let noted = state.iam.regions(&Consistency::Local).await.unwrap_or_default();
    for region in &mut regions {
        let noted = noted.iter().find(|noted| noted.name == region.name);
        region.jurisdiction = noted.map(|noted| noted.jurisdiction.clone());
    }
    Ok(Answer::ok(Items::among(regions, &wanted, |region| region.name.clone())?))
}

/// Lists partitions
#[utoipa::path(
    get, path = "/partitions", tag = "cluster", params(PageQuery),
    responses((status = 200, body = Items<PartitionDocument>))
)]
pub(super) async fn list_partitions(
    State(state): State<AdminState>,
    wanted: Wanted,
    fresh: Fresh,
) -> Result<Answer<Items<PartitionDocument>>, Problem> {
    let partitions = overview(&state, fresh).await?.partitions;
    Ok(Answer::ok(Items::among(partitions, &wanted, |partition| partition.id.0)?))
}

/// Shows a partition
#[utoipa::path(
    get, path = "/partitions/{id}", tag = "cluster", responses((status = 200, body = PartitionDocument))
)]
pub(super) async fn get_partition(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
    fresh: Fresh,
) -> Result<Answer<PartitionDocument>, Problem> {
    let id = PartitionId(number(&id)?);
    let partitions = overview(&state, fresh).await?.partitions;
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

/// Snapshots a replica
///
/// That of the node which is asked, and no other: what is applied there becomes its snapshot, and its log is cut to
/// it, whatever the settings keep. A replica that lacks what was cut gets the whole state. 404 where this node has no
/// running replica.
#[utoipa::path(
    post, path = "/partitions/{id}/snapshot", tag = "cluster",
    responses((status = 200, body = LogCutDocument))
)]
pub(super) async fn snapshot_partition(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
    write: Write,
) -> Result<Answer<LogCutDocument>, Problem> {
    let partition = PartitionId(number(&id)?);
    write.members_if_any()?.finish([])?;
    write.unconditional()?;
    Ok(Answer::ok(state.cluster.cut_log(partition).await?))
}

/// Digests a replica
///
/// That of the node which is asked, and no other, as it is there now: replicas of one incarnation at one index have one
/// digest. It reads everything while entries go on being applied; 503 while this node makes another one, or where it
/// takes longer than a request may. 404 where this node has no running replica.
#[utoipa::path(
    get, path = "/partitions/{id}/digest", tag = "cluster",
    responses((status = 200, body = ReplicaDigestDocument))
)]
pub(super) async fn digest_partition(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
) -> Result<Answer<ReplicaDigestDocument>, Problem> {
    let partition = PartitionId(number(&id)?);
    Ok(Answer::ok(state.cluster.digest(partition).await?))
}

/// Drains a node
///
/// It leads nothing from here on and gives its replicas away; `activate` takes that back. 409 with the reason
/// where no other node could take a vote of its: the partition would survive less.
#[utoipa::path(post, path = "/nodes/{id}/drain", tag = "cluster", responses((status = 202)))]
pub(super) async fn drain_node(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    set_duty(&state, &id, &write, WantedDuty::Draining).await
}

/// Takes a drain back
#[utoipa::path(post, path = "/nodes/{id}/activate", tag = "cluster", responses((status = 202)))]
pub(super) async fn activate_node(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    set_duty(&state, &id, &write, WantedDuty::Active).await
}

/// Decommissions a node
///
/// For good: its replicas are made again elsewhere, and its id is never used again. 409 with the reason where
/// a partition would lose its quorum, or survive less while the node answers.
#[utoipa::path(post, path = "/nodes/{id}/decommission", tag = "cluster", responses((status = 202)))]
pub(super) async fn decommission_node(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    set_duty(&state, &id, &write, WantedDuty::Decommissioned).await
}

async fn set_duty(
    state: &AdminState,
    id: &str,
    write: &Write,
    duty: WantedDuty,
) -> Result<Answer<()>, Problem> {
    let node = NodeId(number(id)?);
    write.unconditional()?;
    let written = state.cluster.set_duty(write.context_without_tenant(), node, duty).await?;
    Ok(Answer::accepted(&written))
}

/// Creates a join token
///
/// One host of that region may join with it, once, until it expires. A repeat with the same `Idempotency-Key`, of 16
/// bytes or more, for the region of the node that made the token is told the same one by every node of that region;
/// elsewhere, for another region, under a shorter key, and once it was used, it is 409.
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
    write.unconditional()?;
    let new = NewJoinToken { region, lifetime: Duration::from_secs(lifetime_s) };
    let written = state.cluster.create_join_token(write.context_without_tenant(), new).await?;
    Ok(Answer::created(written.reply.clone(), None).written(&written))
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
