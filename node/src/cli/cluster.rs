//! `domicile cluster|node|region|partition|token`: each becomes one admin API request.

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::resources::{AdminRequest, SurviveFlag, placement, segment};
use super::table::Column;

/// Actions on the cluster itself.
#[derive(Debug, Subcommand)]
pub enum ClusterAction {
    /// Show the cluster's settings; `status` shows how it is
    Show,
    /// Change the cluster's settings; what is not named stays
    Set(ClusterSettings),
}

/// Settings of the cluster; at least one.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct ClusterSettings {
    /// Shown to operators
    #[arg(long)]
    name: Option<String>,
    /// After so long a silence a node's replicas are made again elsewhere, in s
    #[arg(long, value_name = "SECONDS")]
    dead_after: Option<u64>,
    /// A region where tenants go that ask for nothing; may be given more than once, or `any`
    #[arg(long = "default-region", value_name = "REGION")]
    default_regions: Vec<String>,
    /// What the data of tenants that ask for nothing survives the loss of [default: zone]
    #[arg(long, value_enum, requires = "default_regions")]
    default_survive: Option<SurviveFlag>,
}

/// Actions on nodes.
#[derive(Debug, Subcommand)]
pub enum NodeAction {
    /// List nodes
    List,
    /// Have a node lead nothing and give its replicas away
    Drain {
        /// Its id
        id: u64,
        /// Take the drain back
        #[arg(long)]
        undo: bool,
    },
    /// Remove a node for good; its id is never used again
    Decommission {
        /// Its id
        id: u64,
    },
}

/// Actions on regions.
#[derive(Debug, Subcommand)]
pub enum RegionAction {
    /// List regions
    List,
    /// Say whose law holds in a region
    SetJurisdiction {
        /// Its name
        region: String,
        /// Such as `eu`
        jurisdiction: String,
    },
}

/// Actions on partitions.
#[derive(Debug, Subcommand)]
pub enum PartitionAction {
    /// List partitions
    List,
    /// Show a partition with its replicas
    Show {
        /// Its id; 0 is the directory
        id: u64,
    },
    /// Have another voter lead
    TransferLeader {
        /// Its id; 0 is the directory
        id: u64,
        /// The voter's node id; the best one if absent
        #[arg(long, value_name = "NODE")]
        to: Option<u64>,
    },
    /// Show the digest of the replica of the node that is asked; replicas at one index have the same
    Digest {
        /// Its id; 0 is the directory
        id: u64,
    },
    /// Have the node that is asked make its replica a snapshot and cut its log to it
    Snapshot {
        /// Its id; 0 is the directory
        id: u64,
    },
    /// Change what is wanted of a partition within its regions; what is not named stays
    SetPlacement {
        /// Its id; 0 is the directory
        id: u64,
        /// What is wanted
        #[command(flatten)]
        wanted: PlacementFlags,
    },
}

/// What is wanted of a partition; at least one.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct PlacementFlags {
    /// What its data survives the loss of; no less than any tenant inside was promised
    #[arg(long, value_enum)]
    survive: Option<SurviveFlag>,
    /// Where its leader should be; may be given more than once, the most wanted first
    #[arg(long = "prefer", value_name = "REGION", conflicts_with = "prefer_none")]
    preferred: Vec<String>,
    /// Its leader may be in any of its regions
    #[arg(long)]
    prefer_none: bool,
    /// Whether regions without a voter get a replica to read from
    #[arg(long, value_name = "BOOL")]
    read_replicas: Option<bool>,
}

/// Actions on join tokens.
#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Create a token with which one host may join; shown once
    Create {
        /// The region of that host; one without nodes becomes a region of the cluster
        #[arg(long)]
        region: String,
        /// How long it may be used, in s
        #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
        lifetime: u64,
    },
}

/// What `cockroach node status` shows, and where a node is.
pub(super) const NODE_COLUMNS: &[Column] = &[
    ("ID", "id"),
    ("REGION", "region"),
    ("ZONE", "zone"),
    ("STATE", "state"),
    ("ALIVE", "alive"),
    ("VERSION", "version"),
    ("UPTIME", "uptime"),
    ("REPLICAS", "replicas"),
    ("LEADS", "leads"),
    ("DATA", "data"),
    ("RTT", "round_trip"),
    ("PEERS", "peer_address"),
    ("PUBLIC", "public_url"),
    ("ERRORS", "errors"),
];

/// What `etcdctl endpoint status` shows, and what a partition survives.
pub(super) const PARTITION_COLUMNS: &[Column] = &[
    ("PARTITION", "id"),
    ("PLACEMENT", "regions"),
    ("SURVIVE", "survive"),
    ("TOLERANCE", "tolerance"),
    ("AVAILABLE", "available"),
    ("LEADER", "leader"),
    ("TERM", "term"),
    ("VOTERS", "voters"),
    ("LEARNERS", "learners"),
    ("COMMITTED", "committed"),
    ("LAG", "lag"),
    ("HEALTH", "state"),
];

/// Columns of a partition's replicas.
pub(super) const REPLICA_COLUMNS: &[Column] = &[
    ("NODE", "node"),
    ("ROLE", "role"),
    ("TERM", "term"),
    ("COMMITTED", "committed"),
    ("APPLIED", "applied"),
    ("LAG", "lag"),
    ("HEALTH", "state"),
];

const REGION_COLUMNS: &[Column] = &[
    ("REGION", "name"),
    ("JURISDICTION", "jurisdiction"),
    ("ZONES", "zones"),
    ("NODES", "nodes"),
    ("ALIVE", "alive"),
    ("REPLICAS", "replicas"),
    ("LEADS", "leads"),
];

impl NodeAction {
    pub(super) fn request(&self) -> AdminRequest {
        let post = |id: &u64, action: &str| {
            AdminRequest::one(Method::POST, format!("/v1/nodes/{id}/{action}"), Some(json!({})))
        };
        match self {
            Self::List => AdminRequest::list("/v1/nodes".to_owned(), NODE_COLUMNS),
            Self::Drain { id, undo: false } => post(id, "drain"),
            Self::Drain { id, undo: true } => post(id, "activate"),
            Self::Decommission { id } => post(id, "decommission"),
        }
    }
}

impl NodeAction {
    /// The node that is meant and the state that it is to have, if one is wanted.
    pub(super) fn wanted(&self) -> Option<(u64, &'static str)> {
        match self {
            Self::List => None,
            Self::Drain { id, undo: false } => Some((*id, "draining")),
            Self::Drain { id, undo: true } => Some((*id, "active")),
            Self::Decommission { id } => Some((*id, "decommissioned")),
        }
    }
}

impl ClusterAction {
    pub(super) fn request(&self) -> AdminRequest {
        let path = "/v1/cluster/settings".to_owned();
        match self {
            Self::Show => AdminRequest::one(Method::GET, path, None),
            Self::Set(settings) => AdminRequest::one(Method::PATCH, path, Some(settings.body())),
        }
    }
}

impl ClusterSettings {
    fn body(&self) -> Value {
        let default_placement = placement(&self.default_regions, self.default_survive);
        let dead_after_ms = self.dead_after.map(|seconds| seconds.saturating_mul(1_000));
        named([
            ("name", self.name.as_deref().map(Value::from)),
            ("dead_after_ms", dead_after_ms.map(Value::from)),
            ("default_placement", default_placement),
        ])
    }
}

impl PlacementFlags {
    fn body(&self) -> Value {
        let preferred = (self.prefer_none || !self.preferred.is_empty()).then(|| json!(self.preferred));
        named([
            ("survive", self.survive.map(|survive| Value::from(survive.name()))),
            ("preferred_leader_regions", preferred),
            ("read_replicas", self.read_replicas.map(Value::from)),
        ])
    }
}

/// An object of the members that were given.
fn named<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<String, Value>>())
}

impl RegionAction {
    pub(super) fn request(&self) -> AdminRequest {
        match self {
            Self::List => AdminRequest::list("/v1/regions".to_owned(), REGION_COLUMNS),
            Self::SetJurisdiction { region, jurisdiction } => {
                let path = format!("/v1/regions/{}", segment(region));
                AdminRequest::one(Method::PATCH, path, Some(json!({ "jurisdiction": jurisdiction })))
            }
        }
    }
}

impl PartitionAction {
    pub(super) fn request(&self) -> AdminRequest {
        match self {
            Self::List => AdminRequest::list("/v1/partitions".to_owned(), PARTITION_COLUMNS),
            Self::Show { id } => AdminRequest::one(Method::GET, format!("/v1/partitions/{id}"), None),
            Self::Digest { id } => {
                AdminRequest::one(Method::GET, format!("/v1/partitions/{id}/digest"), None)
            }
            Self::TransferLeader { id, to } => {
                let body = to.map_or_else(|| json!({}), |to| json!({ "to": to }));
                let path = format!("/v1/partitions/{id}/transfer-leader");
                AdminRequest::one(Method::POST, path, Some(body))
            }
            Self::Snapshot { id } => {
                AdminRequest::one(Method::POST, format!("/v1/partitions/{id}/snapshot"), Some(json!({})))
            }
            Self::SetPlacement { id, wanted } => {
                let path = format!("/v1/partitions/{id}/placement");
                AdminRequest::one(Method::PATCH, path, Some(wanted.body()))
            }
        }
    }
}

impl TokenAction {
    pub(super) fn request(&self) -> AdminRequest {
        match self {
            Self::Create { region, lifetime } => {
                let body = json!({ "region": region, "lifetime_s": lifetime });
                AdminRequest::one(Method::POST, "/v1/join-tokens".to_owned(), Some(body))
            }
        }
    }
}
