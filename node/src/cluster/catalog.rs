//! What the directory says of nodes, regions and partitions, as this node's replica has it. A hint:
//! groups and certificates decide.

use std::collections::{BTreeMap, BTreeSet};

use domicile_raft::placement::{Duty, Liveness, Placement, PlanNode};
use domicile_raft::{NodeId, NodeInfo, PartitionId};

/// The catalogue at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    /// By id; decommissioned ones too.
    pub(crate) nodes: BTreeMap<NodeId, CatalogNode>,
    /// Certificates of each region's authorities, DER.
    pub(crate) regions: BTreeMap<String, Vec<Vec<u8>>>,
    /// By id, with the directory.
    pub(crate) partitions: BTreeMap<PartitionId, CatalogPartition>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogNode {
    pub(crate) region: String,
    pub(crate) zone: String,
    /// `host:port` for other nodes.
    pub(crate) peer_address: String,
    pub(crate) public_url: String,
    pub(crate) admin_url: Option<String>,
    pub(crate) management_url: Option<String>,
    pub(crate) duty: Duty,
}

/// A partition that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogPartition {
    pub(crate) placement: Placement,
    pub(crate) generation: u64,
    /// It was made and takes tenants.
    pub(crate) ready: bool,
    /// Members as the controller last saw them; before it was made, the node that is to found it.
    pub(crate) voters: BTreeSet<NodeId>,
    pub(crate) learners: BTreeSet<NodeId>,
}

impl CatalogNode {
    /// As the membership entry tells it.
    pub(crate) fn info(&self) -> NodeInfo {
        let addresses = BTreeMap::from([("peer".to_owned(), self.peer_address.clone())]);
        NodeInfo { region: self.region.clone(), zone: self.zone.clone(), addresses }
    }

    /// As the planner sees it.
    pub(crate) fn plan(&self, liveness: Liveness, replicas: usize) -> PlanNode {
        let (region, zone) = (self.region.clone(), self.zone.clone());
        PlanNode { region, zone, liveness, duty: self.duty, replicas }
    }
}

impl Catalog {
    /// Nodes that may be asked something.
    pub(crate) fn members(&self) -> impl Iterator<Item = (NodeId, &CatalogNode)> {
        let nodes = self.nodes.iter().filter(|(_, node)| node.duty != Duty::Decommissioned);
        nodes.map(|(id, node)| (*id, node))
    }
}
