//! The directory's streams about the cluster, as they are here.

use std::collections::BTreeMap;

use domicile_raft::placement::{Duty, Liveness, PlanNode};
use domicile_raft::{NodeId, PartitionId, Timestamp};
use domicile_storage::{Engine, KeyRange, Order};

use super::{QueryError, fault};
use crate::ids::{JoinTokenId, NodeStreamId, PartitionStreamId, RegionStreamId, TenantId};
use crate::model::{ClusterView, NodeState, NodeView, PartitionView, RegionView};
use crate::projections::{Projection, id_of_row, tenant_prefix};
use crate::streams::cluster::{
    Cluster, ClusterNode, ClusterPartition, JoinToken, Region, cluster_stream, node_stream, number_of,
    partition_stream,
};
use crate::streams::directory::DirectoryTenant;
use crate::streams::{Aggregate, StreamRef, decode_state};
use crate::tables::{self, directory_tenant};

/// More regions, nodes or partitions than a cluster may have.
pub(crate) const LISTED_MAX: usize = 16_384;
/// Tenants read at once.
const TENANTS_PAGE: usize = 1_024;

/// A token that can still be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenView {
    /// Its id; not the secret.
    pub id: JoinTokenId,
    /// Which region it is for.
    pub region: String,
    /// Whether that region is made by who joins.
    pub new_region: bool,
    /// When it ends.
    pub expires_at: Timestamp,
}

fn stream<A: Aggregate>(engine: &dyn Engine, id: A::Id) -> Result<Option<(u64, A)>, QueryError> {
    let row = tables::stream_row(engine, directory_tenant(), StreamRef::of::<A>(id)).map_err(fault)?;
    row.map(|row| Ok((row.version, decode_state(&row.state).map_err(fault)?))).transpose()
}

fn listed<A: Aggregate>(
    engine: &dyn Engine,
    projection: Projection,
) -> Result<Vec<(A::Id, u64, A)>, QueryError> {
    let range = KeyRange::prefix(&tenant_prefix(projection, directory_tenant()));
    let rows = engine.scan(&range, Order::Ascending, LISTED_MAX).map_err(fault)?;
    let mut all = Vec::with_capacity(rows.len());
    for id in rows.iter().filter_map(|(key, _)| id_of_row::<A::Id>(key)) {
        if let Some((revision, state)) = stream::<A>(engine, id)? {
            all.push((id, revision, state));
        }
    }
    Ok(all)
}

/// The settings; `None` where no cluster was initialised.
pub(crate) fn cluster(engine: &dyn Engine) -> Result<Option<ClusterView>, QueryError> {
    Ok(stream::<Cluster>(engine, cluster_stream())?.map(|(revision, cluster)| ClusterView {
        cluster_id: cluster.cluster_id,
        name: cluster.name,
        public_origin: cluster.public_origin,
        default_placement: cluster.default_placement,
        dead_after_ms: cluster.dead_after_ms,
        revision,
    }))
}

/// All regions, by name.
pub(crate) fn regions(engine: &dyn Engine) -> Result<Vec<RegionView>, QueryError> {
    let mut regions: Vec<RegionView> = listed::<Region>(engine, Projection::Regions)?
        .into_iter()
        .map(|(_, revision, region): (RegionStreamId, _, _)| RegionView {
            name: region.name,
            jurisdiction: region.jurisdiction,
            certificates: region.certificates.into_iter().map(serde_bytes::ByteBuf::into_vec).collect(),
            revision,
        })
        .collect();
    regions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(regions)
}

/// All nodes by id, also those that are gone.
pub(crate) fn nodes(engine: &dyn Engine) -> Result<Vec<NodeView>, QueryError> {
    Ok(listed::<ClusterNode>(engine, Projection::ClusterNodes)?.into_iter().map(node_view).collect())
}

/// One node.
pub(crate) fn node(engine: &dyn Engine, id: NodeId) -> Result<Option<NodeView>, QueryError> {
    let id = node_stream(id);
    Ok(stream::<ClusterNode>(engine, id)?.map(|(revision, node)| node_view((id, revision, node))))
}

fn node_view((id, revision, node): (NodeStreamId, u64, ClusterNode)) -> NodeView {
    NodeView {
        id: NodeId(number_of(id)),
        region: node.region,
        zone: node.zone,
        addresses: node.addresses,
        version: node.version,
        boot_counter: node.boot_counter,
        state: node.state,
        joined_at: node.joined_at,
        revision,
    }
}

/// All partitions by id; the directory is the first.
pub(crate) fn partitions(engine: &dyn Engine) -> Result<Vec<PartitionView>, QueryError> {
    let all = listed::<ClusterPartition>(engine, Projection::ClusterPartitions)?;
    Ok(all.into_iter().map(partition_view).collect())
}

/// One partition.
pub(crate) fn partition(engine: &dyn Engine, id: PartitionId) -> Result<Option<PartitionView>, QueryError> {
    let id = partition_stream(id);
    let found = stream::<ClusterPartition>(engine, id)?;
    Ok(found.map(|(revision, partition)| partition_view((id, revision, partition))))
}

fn partition_view((id, revision, partition): (PartitionStreamId, u64, ClusterPartition)) -> PartitionView {
    PartitionView {
        id: PartitionId(number_of(id)),
        incarnation: partition.incarnation,
        placement: partition.placement,
        generation: partition.generation,
        state: partition.state,
        members: partition.members,
        founder: partition.founder,
        revision,
    }
}

/// Every tenant with a name: routed, or being made.
pub(crate) fn tenants(engine: &dyn Engine) -> Result<Vec<DirectoryTenant>, QueryError> {
    let prefix = tenant_prefix(Projection::DirectoryTenants, directory_tenant());
    let (mut all, mut range) = (Vec::new(), KeyRange::prefix(&prefix));
    loop {
        let rows = engine.scan(&range, Order::Ascending, TENANTS_PAGE).map_err(fault)?;
        let Some((last, _)) = rows.last() else { return Ok(all) };
        range.start = std::ops::Bound::Excluded(last.clone());
        for id in rows.iter().filter_map(|(key, _)| id_of_row::<TenantId>(key)) {
            all.extend(stream::<DirectoryTenant>(engine, id)?.map(|(_, tenant)| tenant));
        }
    }
}

/// Tokens that were neither used nor revoked; some may have expired.
pub(crate) fn join_tokens(engine: &dyn Engine) -> Result<Vec<JoinTokenView>, QueryError> {
    let view = |(id, _, token): (JoinTokenId, u64, JoinToken)| JoinTokenView {
        id,
        region: token.region,
        new_region: token.new_region,
        expires_at: token.expires_at,
    };
    Ok(listed::<JoinToken>(engine, Projection::JoinTokens)?.into_iter().map(view).collect())
}

/// The nodes as the placement rules look at them. The directory does not know who answers: all do.
pub(crate) fn plan_nodes(nodes: &[NodeView]) -> BTreeMap<NodeId, PlanNode> {
    let plan = |node: &NodeView| PlanNode {
        region: node.region.clone(),
        zone: node.zone.clone(),
        liveness: Liveness::Alive,
        duty: match node.state {
            NodeState::Active => Duty::Active,
            NodeState::Draining => Duty::Draining,
            NodeState::Decommissioned => Duty::Decommissioned,
        },
        replicas: 0,
    };
    nodes.iter().map(|node| (node.id, plan(node))).collect()
}
