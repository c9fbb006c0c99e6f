//! What the directory says of nodes, regions and partitions, as this node's replica has it. A hint:
//! groups and certificates decide.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domicile_raft::placement::{Duty, Liveness, Placement, PlanNode};
use domicile_raft::{NodeId, NodeInfo, PartitionId};

/// The catalogue at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    /// By id; decommissioned ones too.
    pub(crate) nodes: BTreeMap<NodeId, CatalogNode>,
    /// Certificates of each region's authorities, DER.
    pub(crate) regions: BTreeMap<String, Vec<Vec<u8>>>,
    /// How long a node is silent until it counts as dead; unknown before the cluster's settings are read.
    pub(crate) dead_after: Option<Duration>,
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
    /// The one node that may found it, once it is chosen.
    pub(crate) founder: Option<NodeId>,
    /// Members as the controller last saw them.
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
    /// Nodes that may be asked something. One that is gone for good counts as long as it is known as a
    /// member somewhere: its vote may be needed to replace it.
    pub(crate) fn members(&self) -> impl Iterator<Item = (NodeId, &CatalogNode)> {
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|(id, node)| node.duty != Duty::Decommissioned || self.names(**id));
        nodes.map(|(id, node)| (*id, node))
    }

    /// Whether a partition is known to have this node as a member.
    fn names(&self, node: NodeId) -> bool {
        self.partitions.values().any(|known| known.voters.contains(&node) || known.learners.contains(&node))
    }

    /// Whether a node that the directory knows in this region asks, and is not gone for good.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn admits(&self, node: NodeId, region: &str) -> Result<&CatalogNode, String> {
        match self.nodes.get(&node) {
            None => Err(format!("node {} is not known here yet", node.0)),
            Some(known) if known.region != region => {
                Err(format!("node {} is not one of region {region}", node.0))
            }
            Some(known) if known.duty == Duty::Decommissioned => {
                Err(format!("node {} was decommissioned", node.0))
            }
            Some(known) => Ok(known),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use domicile_raft::TimerProfile;
    use domicile_raft::placement::GroupSettings;

    use super::*;

    pub(crate) fn node(region: &str, zone: &str) -> CatalogNode {
        CatalogNode {
            region: region.to_owned(),
            zone: zone.to_owned(),
            peer_address: "h:1".to_owned(),
            public_url: "https://p".to_owned(),
            admin_url: None,
            management_url: None,
            duty: Duty::Active,
        }
    }

    #[test]
    fn who_is_decommissioned_is_reached_while_a_partition_names_it_and_has_no_rights() {
        let gone = CatalogNode { duty: Duty::Decommissioned, ..node("eu", "b") };
        let partition = CatalogPartition {
            placement: GroupSettings::anywhere(TimerProfile::Zone).placement,
            generation: 1,
            ready: true,
            founder: None,
            voters: [NodeId(1), NodeId(2)].into(),
            learners: BTreeSet::new(),
        };
        let mut catalog = Catalog {
            nodes: [(NodeId(1), node("eu", "a")), (NodeId(2), gone)].into(),
            partitions: [(PartitionId(1), partition)].into(),
            ..Catalog::default()
        };
        let ids = |catalog: &Catalog| catalog.members().map(|(id, _)| id.0).collect::<Vec<_>>();
        assert_eq!(ids(&catalog), [1, 2]);
        assert!(catalog.admits(NodeId(1), "eu").is_ok());
        assert!(catalog.admits(NodeId(1), "us").unwrap_err().contains("not one of region us"));
        assert!(catalog.admits(NodeId(2), "eu").unwrap_err().contains("decommissioned"));
        assert!(catalog.admits(NodeId(3), "eu").unwrap_err().contains("not known"));
        for known in catalog.partitions.values_mut() {
            known.voters.remove(&NodeId(2));
        }
        assert_eq!(ids(&catalog), [1]);
    }
}
