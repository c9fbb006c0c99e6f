//! The cluster itself: settings, regions and nodes, on the directory.

use domicile_raft::placement::Placement;
use domicile_raft::{Incarnation, NodeId, PartitionId};
use serde::{Deserialize, Serialize};

use super::ClusterRefusal;
use super::partition::feasible;
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads, Versioned};
use crate::ids::Id;
use crate::model::{MemberHints, NodeAddresses, NodeState};
use crate::projections::{Projection, id_of_row, tenant_prefix};
use crate::proposal::{RangeKey, RangeKind};
use crate::query::{QueryError, cluster as views};
use crate::streams::Aggregate;
use crate::streams::cluster::{
    Cluster, ClusterEvent, ClusterInitialised, ClusterNode, ClusterNodeEvent, ClusterPartition,
    ClusterPartitionEvent, NodeJoined, PartitionReadied, PartitionRequested, Region, RegionAdded,
    RegionEvent, SettingsPatch, check_addresses, check_certificate, check_cluster_id, check_name,
    cluster_stream, decide_certificate_add, decide_certificate_remove, decide_duty, decide_node_update,
    decide_settings, node_stream, normal_placement, number_of, partition_stream, region_stream,
};
use domicile_storage::codec::CodecError;
use domicile_storage::{KeyRange, Order};

pub(super) type Decided<R> = Result<Decision<R>, DecideError<ClusterRefusal>>;

pub(super) const REGIONS: RangeKey = RangeKey { kind: RangeKind::Regions, id: [0; 16] };
pub(super) const NODES: RangeKey = RangeKey { kind: RangeKind::Nodes, id: [0; 16] };
pub(super) const PARTITIONS: RangeKey = RangeKey { kind: RangeKind::Partitions, id: [0; 16] };

/// The tenants that come to live in a partition.
pub(super) fn tenants_of(home: PartitionId) -> RangeKey {
    RangeKey { kind: RangeKind::Partitions, id: partition_stream(home).bytes() }
}

pub(super) fn refuse<T>(refusal: ClusterRefusal) -> Result<T, DecideError<ClusterRefusal>> {
    Err(DecideError::Refused(refusal))
}

/// A stored row that cannot be shown.
pub(super) fn unreadable(error: &QueryError) -> ReadFault {
    ReadFault::from(CodecError::Malformed(error.to_string()))
}

fn not_found(what: &str) -> DecideError<ClusterRefusal> {
    DecideError::Refused(ClusterRefusal::NotFound(what.to_owned()))
}

/// A stream that must be there.
pub(super) fn existing<A: Aggregate>(
    reads: &mut Reads<'_>,
    id: A::Id,
    what: &str,
) -> Result<Versioned<A>, DecideError<ClusterRefusal>> {
    reads.stream::<A>(id)?.ok_or_else(|| not_found(what))
}

/// The append of an event, or nothing.
pub(super) fn written<A: Aggregate>(
    id: A::Id,
    version: u64,
    event: Option<A::Event>,
    touched: Option<RangeKey>,
) -> Decision<()> {
    let Some(event) = event else { return Decision::Answer(()) };
    let mut draft = Draft::new();
    draft.append::<A>(id, version, event);
    if let Some(range) = touched {
        draft.touch_range(range);
    }
    Decision::Propose(draft, ())
}

/// The number after the highest that was ever given. Rows are never removed, so none comes twice.
pub(super) fn next_number<I: Id>(
    reads: &mut Reads<'_>,
    range: RangeKey,
    projection: Projection,
) -> Result<u64, ReadFault> {
    reads.range(range)?;
    let rows = KeyRange::prefix(&tenant_prefix(projection, reads.tenant()));
    let last = reads.engine().scan(&rows, Order::Descending, 1)?;
    let last = last.first().and_then(|(key, _)| id_of_row::<I>(key));
    Ok(last.map_or(1, |id| number_of(id).saturating_add(1)))
}

/// Makes the cluster of this first node: settings, its region, node 1, the directory's partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InitCluster {
    /// The trust domain of its certificates (SPIFFE-ID §2.1).
    pub cluster_id: String,
    /// Shown to operators.
    pub name: String,
    /// Origin of issuers that are given none.
    pub public_origin: String,
    /// Where tenants go that ask for nothing.
    pub default_placement: Placement,
    /// What the directory itself must survive.
    pub directory_placement: Placement,
    /// Milliseconds of silence after which a node counts as dead.
    pub dead_after_ms: u64,
    /// Where the node runs.
    pub region: String,
    /// In which jurisdiction.
    pub jurisdiction: String,
    /// Where in the region.
    pub zone: String,
    /// Certificate of the region's authority, DER.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
    /// Where the node is reached.
    pub addresses: NodeAddresses,
    /// Version of its program.
    pub version: String,
}

impl InitCluster {
    fn check(&self) -> Result<(), ClusterRefusal> {
        check_cluster_id(&self.cluster_id)?;
        check_name("region", &self.region)?;
        check_name("zone", &self.zone)?;
        check_name("jurisdiction", &self.jurisdiction)?;
        check_certificate(&self.certificate)?;
        check_addresses(&self.addresses)
    }
}

impl Command for InitCluster {
    type Reply = NodeId;
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "cluster.init";
    const CREATES_TENANT: bool = true;

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<NodeId> {
        self.check().map_err(DecideError::Refused)?;
        let default_placement = normal_placement(&self.default_placement).map_err(DecideError::Refused)?;
        if let Some(cluster) = reads.stream::<Cluster>(cluster_stream())? {
            // Run again after a crash: what was made stands.
            return if cluster.state.cluster_id == self.cluster_id {
                Ok(Decision::Answer(NodeId(1)))
            } else {
                refuse(ClusterRefusal::AlreadyInitialised)
            };
        }
        let first = NodeId(1);
        let mut draft = Draft::new();
        let made = ClusterInitialised {
            cluster_id: self.cluster_id.clone(),
            name: self.name.clone(),
            public_origin: self.public_origin.clone(),
            default_placement,
            dead_after_ms: self.dead_after_ms,
        };
        draft.append::<Cluster>(cluster_stream(), 0, ClusterEvent::Initialised(made));
        add_region(&mut draft, &self.region, &self.jurisdiction, &self.certificate);
        let joined = NodeJoined {
            region: self.region.clone(),
            zone: self.zone.clone(),
            addresses: self.addresses.clone(),
            version: self.version.clone(),
        };
        add_node(&mut draft, first, joined);
        let directory = partition_stream(PartitionId::DIRECTORY);
        let requested = PartitionRequested {
            incarnation: Incarnation(1),
            placement: self.directory_placement.clone(),
            generation: 1,
        };
        draft.append::<ClusterPartition>(directory, 0, ClusterPartitionEvent::Requested(requested));
        let members = MemberHints { voters: [first].into(), ..MemberHints::default() };
        let readied = ClusterPartitionEvent::Readied(PartitionReadied { members });
        draft.append::<ClusterPartition>(directory, 0, readied);
        draft.touch_range(PARTITIONS);
        Ok(Decision::Propose(draft, first))
    }
}

pub(super) fn add_region(draft: &mut Draft, name: &str, jurisdiction: &str, certificate: &[u8]) {
    let added = RegionAdded {
        name: name.to_owned(),
        jurisdiction: jurisdiction.to_owned(),
        certificate: certificate.to_vec(),
    };
    draft.append::<Region>(region_stream(name), 0, RegionEvent::Added(added));
    draft.touch_range(REGIONS);
}

pub(super) fn add_node(draft: &mut Draft, id: NodeId, joined: NodeJoined) {
    draft.append::<ClusterNode>(node_stream(id), 0, ClusterNodeEvent::Joined(joined));
    draft.touch_range(NODES);
}

/// Other settings. A default placement that the nodes there are cannot give is refused with the reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpdateCluster {
    /// What.
    pub patch: SettingsPatch,
    /// Only if the settings are at this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
}

impl Command for UpdateCluster {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "cluster.update";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let Some(cluster) = reads.stream::<Cluster>(cluster_stream())? else {
            return refuse(ClusterRefusal::NotInitialised);
        };
        if self.if_revision.is_some_and(|wanted| wanted != cluster.version) {
            return refuse(ClusterRefusal::Stale { current: cluster.version });
        }
        let mut patch = self.patch.clone();
        let placement = patch.default_placement.as_ref().map(normal_placement).transpose();
        patch.default_placement = placement.map_err(DecideError::Refused)?;
        // What the cluster has by default since its first node is not asked for again.
        let wanted = patch.default_placement.as_ref();
        if let Some(wanted) = wanted.filter(|wanted| **wanted != cluster.state.default_placement) {
            feasible(reads, wanted)?;
        }
        let event = decide_settings(&cluster.state, &patch).map_err(DecideError::Refused)?;
        Ok(written::<Cluster>(cluster_stream(), cluster.version, event, None))
    }
}

/// Trusts another certificate of a region's authority, beside those there are. Here it is bytes within
/// bounds; a node believes it only if it is a certificate and names this region.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddRegionCertificate {
    /// Which.
    pub region: String,
    /// DER.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
}

impl Command for AddRegionCertificate {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "region.certificate.add";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = region_stream(&self.region);
        let region = existing::<Region>(reads, id, "region")?;
        let event = decide_certificate_add(&region.state, &self.certificate).map_err(DecideError::Refused)?;
        Ok(written::<Region>(id, region.version, event, Some(REGIONS)))
    }
}

/// Trusts a certificate no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemoveRegionCertificate {
    /// Which.
    pub region: String,
    /// SHA-256 of the DER.
    #[serde(with = "serde_bytes")]
    pub sha256: [u8; 32],
}

impl Command for RemoveRegionCertificate {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "region.certificate.remove";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = region_stream(&self.region);
        let region = existing::<Region>(reads, id, "region")?;
        let event = decide_certificate_remove(&region.state, self.sha256).map_err(DecideError::Refused)?;
        Ok(written::<Region>(id, region.version, event, Some(REGIONS)))
    }
}

/// What a node says of itself at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpdateNode {
    /// Which.
    pub node: NodeId,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Version of its program.
    pub version: String,
    /// How often it was started.
    pub boot_counter: u64,
}

impl Command for UpdateNode {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "node.update";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = node_stream(self.node);
        let node = existing::<ClusterNode>(reads, id, "node")?;
        let event = decide_node_update(&node.state, &self.addresses, &self.version, self.boot_counter)
            .map_err(DecideError::Refused)?;
        Ok(written::<ClusterNode>(id, node.version, event, Some(NODES)))
    }
}

/// Drains, takes back or decommissions a node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SetNodeState {
    /// Which.
    pub node: NodeId,
    /// What is wanted of it.
    pub state: NodeState,
}

impl Command for SetNodeState {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "node.set_state";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = node_stream(self.node);
        let node = existing::<ClusterNode>(reads, id, "node")?;
        let event = decide_duty(&node.state, self.state).map_err(DecideError::Refused)?;
        reads.range(NODES)?;
        let nodes = views::nodes(reads.engine()).map_err(|error| unreadable(&error))?;
        let others = nodes.iter().any(|other| other.id != self.node && other.state == NodeState::Active);
        if event.is_some() && self.state != NodeState::Active && !others {
            return refuse(ClusterRefusal::LastNode);
        }
        if event.is_some() && self.state == NodeState::Decommissioned {
            let left = |id: &NodeId| {
                *id != self.node
                    && nodes.iter().any(|other| other.id == *id && other.state != NodeState::Decommissioned)
            };
            reads.range(PARTITIONS)?;
            let partitions = views::partitions(reads.engine()).map_err(|error| unreadable(&error))?;
            let lost = partitions.iter().find(|partition| {
                let voters = &partition.members.voters;
                voters.contains(&self.node) && voters.iter().filter(|id| left(id)).count() <= voters.len() / 2
            });
            if let Some(partition) = lost {
                return refuse(ClusterRefusal::QuorumNeedsIt { partition: partition.id.0 });
            }
        }
        Ok(written::<ClusterNode>(id, node.version, event, Some(NODES)))
    }
}
