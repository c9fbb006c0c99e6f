//! `domicile node|region|partition|token`: each becomes one admin API request.

use axum::http::Method;
use clap::Subcommand;
use serde_json::json;

use super::resources::AdminRequest;
use super::table::Column;

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

impl RegionAction {
    pub(super) fn request(&self) -> AdminRequest {
        match self {
            Self::List => AdminRequest::list("/v1/regions".to_owned(), REGION_COLUMNS),
        }
    }
}

impl PartitionAction {
    pub(super) fn request(&self) -> AdminRequest {
        match self {
            Self::List => AdminRequest::list("/v1/partitions".to_owned(), PARTITION_COLUMNS),
            Self::Show { id } => AdminRequest::one(Method::GET, format!("/v1/partitions/{id}"), None),
            Self::TransferLeader { id, to } => {
                let body = to.map_or_else(|| json!({}), |to| json!({ "to": to }));
                let path = format!("/v1/partitions/{id}/transfer-leader");
                AdminRequest::one(Method::POST, path, Some(body))
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
