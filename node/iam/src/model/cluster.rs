//! The cluster as the directory tells it: regions, nodes, partitions.

use std::collections::BTreeSet;

use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use domicile_raft::{Incarnation, NodeId, PartitionId, Timestamp};
use serde::{Deserialize, Serialize};

/// Addresses of a node, by audience.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// For other nodes: `host:port`, at most 8, the most wanted first.
    pub peer: Vec<String>,
    /// For people and applications: an origin such as `https://n1.example.org`.
    #[serde(default)]
    pub public: Option<String>,
    /// For operators: an origin.
    #[serde(default)]
    pub admin: Option<String>,
    /// For probes and metrics: an origin.
    #[serde(default)]
    pub management: Option<String>,
}

/// What operators want of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It may hold replicas.
    Active,
    /// It gives its replicas away.
    Draining,
    /// It is gone for good.
    Decommissioned,
}

/// How far a partition's making came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// Asked for; the controller makes it next.
    Wanted,
    /// It has a leader and takes tenants.
    Ready,
}

/// The members of a partition as the controller last saw them: hints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHints {
    /// Voters.
    pub voters: BTreeSet<NodeId>,
    /// Members without a vote.
    #[serde(default)]
    pub learners: BTreeSet<NodeId>,
}

/// The cluster's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Its id, the trust domain of its certificates.
    pub cluster_id: String,
    /// Shown to operators.
    pub name: String,
    /// Origin of issuers that are given none.
    pub public_origin: String,
    /// Where tenants go that ask for nothing.
    pub default_placement: Placement,
    /// After so long a silence a node's replicas are made again elsewhere, milliseconds.
    pub dead_after_ms: u64,
    /// Stream revision.
    pub revision: u64,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionView {
    /// Such as `eu-central`.
    pub name: String,
    /// Such as `eu`.
    pub jurisdiction: String,
    /// Certificates of its authority (DER), oldest first; a node's must chain to one of them.
    pub certificates: Vec<Vec<u8>>,
    /// Stream revision.
    pub revision: u64,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Where it runs.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// Version of its program.
    pub version: String,
    /// How often it was started, as it said last.
    pub boot_counter: u64,
    /// What operators want of it.
    pub state: NodeState,
    /// When it joined.
    pub joined_at: Timestamp,
    /// Stream revision.
    pub revision: u64,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionView {
    /// Its id.
    pub id: PartitionId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Where its replicas may be, what they survive.
    pub placement: Placement,
    /// Raised with each change of the placement.
    pub generation: u64,
    /// How far its making came.
    pub state: PartitionState,
    /// Its members as the controller last saw them.
    pub members: MemberHints,
    /// The one node that may found it, once chosen.
    #[serde(default)]
    pub founder: Option<NodeId>,
    /// Stream revision.
    pub revision: u64,
}

/// What a node that has no replica may do for a tenant's users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// Forward every request, keeping nothing.
    #[default]
    Any,
    /// Outside the placement: discovery and keys only, else 421 with the home's origin.
    Placement,
}

/// `"any"`, or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RegionsWanted {
    /// Only the word `any`.
    Word(AnyWord),
    /// These.
    List(BTreeSet<String>),
}

/// The word `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnyWord {
    /// `any`
    Any,
}

/// A placement as callers write it: `{"regions": ["eu-central"] | "any", "survive": "zone"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementDocument {
    /// Which regions.
    pub regions: RegionsWanted,
    /// What is survived.
    pub survive: SurvivalGoal,
    /// Where the leader should be, most wanted first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred_leader_regions: Vec<String>,
    /// Whether regions without a voter get a read replica. Default: yes for `any`, no for a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_replicas: Option<bool>,
}

impl From<PlacementDocument> for Placement {
    fn from(wanted: PlacementDocument) -> Self {
        let (regions, everywhere) = match wanted.regions {
            RegionsWanted::Word(AnyWord::Any) => (Regions::Any, true),
            RegionsWanted::List(regions) => (Regions::Only(regions), false),
        };
        Self {
            regions,
            survive: wanted.survive,
            preferred_leader_regions: wanted.preferred_leader_regions,
            read_replicas: wanted.read_replicas.unwrap_or(everywhere),
        }
    }
}

impl From<Placement> for PlacementDocument {
    fn from(placement: Placement) -> Self {
        let regions = match placement.regions {
            Regions::Any => RegionsWanted::Word(AnyWord::Any),
            Regions::Only(regions) => RegionsWanted::List(regions),
        };
        Self {
            regions,
            survive: placement.survive,
            preferred_leader_regions: placement.preferred_leader_regions,
            read_replicas: Some(placement.read_replicas),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[test]
    fn a_placement_is_any_or_a_list_and_survives_a_zone_or_a_region() {
        let placed = |text: &str| serde_json::from_str::<PlacementDocument>(text).map(Placement::from);
        let pinned = placed(r#"{"regions":["eu-central"],"survive":"zone"}"#).unwrap();
        assert!(pinned.allows("eu-central") && !pinned.allows("us-east") && !pinned.read_replicas);
        let global = placed(r#"{"regions":"any","survive":"region","preferred_leader_regions":["eu"]}"#);
        let global = global.unwrap();
        assert!(global.allows("anywhere") && global.read_replicas);
        for bad in [
            r#"{"regions":"all","survive":"zone"}"#,
            r#"{"regions":["eu"],"survive":"planet"}"#,
            r#"{"regions":["eu"]}"#,
            r#"{"regions":["eu"],"survive":"zone","more":1}"#,
        ] {
            assert!(placed(bad).is_err(), "{bad}");
        }
        let again = serde_json::to_string(&PlacementDocument::from(global.clone())).unwrap();
        assert_eq!(placed(&again).unwrap(), global);
    }
}
