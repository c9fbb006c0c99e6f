//! What operators see of a cluster.

use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use domicile_raft::{Health, NodeId, PartitionId, PartitionStatus};
use serde::Serialize;
use utoipa::ToSchema;

/// The cluster as the node that was asked sees it.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ClusterDocument {
    /// Its id; absent on a single development node.
    pub cluster_id: Option<String>,
    /// The node that answers.
    #[schema(value_type = Option<u64>)]
    pub answered_by: Option<NodeId>,
    /// Its nodes, by id.
    pub nodes: Vec<NodeDocument>,
    /// Its partitions, by id.
    pub partitions: Vec<PartitionDocument>,
}

/// A node. What only it can say is absent while it does not answer.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct NodeDocument {
    /// Its id; never reused.
    pub id: u64,
    /// Where people and clients reach it.
    pub public_url: String,
    /// Version of its program.
    pub version: String,
    /// Where it runs, such as `eu-central`.
    pub region: String,
    /// Where in the region, such as `a`.
    pub zone: String,
    /// `host:port` for other nodes.
    pub peer_address: Option<String>,
    /// Base of its admin API, without `/v1`.
    pub admin_url: Option<String>,
    /// Base of `/livez`, `/readyz` and `/metrics`.
    pub management_url: Option<String>,
    /// `active`, `draining` or `decommissioned`.
    pub state: String,
    /// Whether it answers the node that was asked.
    pub alive: bool,
    /// How long its process has run, in s.
    pub uptime_s: Option<u64>,
    /// Replicas that it holds.
    pub replicas: Option<u64>,
    /// Partitions that it leads.
    pub leads: Option<u64>,
    /// Bytes of its data directory.
    pub data_bytes: Option<u64>,
    /// Round trip of the question, in ms.
    pub round_trip_ms: Option<u64>,
    /// What keeps it from being ready, or why it does not answer.
    pub errors: Vec<String>,
}

/// A partition: one Raft group. Of several replicas' words the newest term's count.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartitionDocument {
    /// 0 is the directory.
    #[schema(value_type = u64)]
    pub id: PartitionId,
    /// The leader's node id, where one is known and heard of.
    #[schema(value_type = Option<u64>)]
    pub leader: Option<NodeId>,
    /// The current term.
    pub term: u64,
    /// Node ids with a vote.
    #[schema(value_type = Vec<u64>)]
    pub voters: Vec<NodeId>,
    /// Node ids without a vote.
    #[schema(value_type = Vec<u64>)]
    pub learners: Vec<NodeId>,
    /// Last log index applied, here if this node has a replica.
    pub applied: u64,
    /// Last log index known committed.
    pub committed: u64,
    /// `state` is `running`, or `failed` or `quarantined` with a `reason`.
    #[schema(value_type = Object)]
    pub health: Health,
    /// Where its replicas may be; absent on a single development node.
    pub placement: Option<PlacementDocument>,
    /// What can be lost now, with the voters that answer: `none`, `1 node`, `1 zone`, `1 region`. If it would be more
    /// with all of them that were not decommissioned, that follows: `none (whole: 1 zone)`.
    pub tolerance: Option<String>,
    /// Whether a quorum of its voters answers and one leads.
    pub available: bool,
    /// What each replica says of itself.
    pub replicas: Vec<ReplicaDocument>,
}

/// A placement.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlacementDocument {
    /// `["any"]`, or the only regions that may hold a replica.
    pub regions: Vec<String>,
    /// `zone` or `region`.
    pub survive: String,
    /// Where the leader should be, most wanted first.
    pub preferred_leader_regions: Vec<String>,
    /// Whether regions without a voter get a read replica.
    pub read_replicas: bool,
    /// Raised with each change.
    pub generation: u64,
}

impl PlacementDocument {
    /// Of this generation.
    #[must_use]
    pub fn of(placement: &Placement, generation: u64) -> Self {
        let Placement { regions, survive, preferred_leader_regions, read_replicas } = placement;
        Self {
            regions: match regions {
                Regions::Any => vec!["any".to_owned()],
                Regions::Only(regions) => regions.iter().cloned().collect(),
            },
            survive: match survive {
                SurvivalGoal::Zone => "zone".to_owned(),
                SurvivalGoal::Region => "region".to_owned(),
            },
            preferred_leader_regions: preferred_leader_regions.clone(),
            read_replicas: *read_replicas,
            generation,
        }
    }
}

/// A replica of a partition.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReplicaDocument {
    /// Where.
    #[schema(value_type = u64)]
    pub node: NodeId,
    /// `leader` by its own word, `voter` or `learner`; `leaving` if the members do not name it.
    pub role: String,
    /// The term that it is in.
    pub term: u64,
    /// Last log index applied there.
    pub applied: u64,
    /// Last log index known committed there.
    pub committed: u64,
    /// How far its applied index is behind the newest commit that any replica told.
    pub lag: u64,
    /// Whether it works.
    #[schema(value_type = Object)]
    pub health: Health,
}

/// What the log of a replica was cut to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogCutDocument {
    /// The node whose replica it is.
    #[schema(value_type = u64)]
    pub node: NodeId,
    /// Its snapshot holds everything up to this log index.
    pub snapshot: u64,
    /// Its log holds nothing up to this index. Lower than `snapshot` while entries are on their way to another
    /// replica; they go by themselves afterwards.
    pub purged: u64,
}

/// What the state of a replica comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplicaDigestDocument {
    /// The node whose replica it is.
    #[schema(value_type = u64)]
    pub node: NodeId,
    /// The partition.
    #[schema(value_type = u64)]
    pub partition: PartitionId,
    /// Which life of the partition.
    pub incarnation: u64,
    /// The last log index whose effects it has.
    pub applied_index: u64,
    /// The term of that entry.
    pub applied_term: u64,
    /// SHA-256 of exactly that state, hexadecimal: the same at every replica of the incarnation with this index.
    pub digest: String,
}

/// A region with what it holds.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct RegionDocument {
    /// Such as `eu-central`.
    pub name: String,
    /// Whose law holds there, as its first node said, or an operator since.
    pub jurisdiction: Option<String>,
    /// Its zones with nodes.
    pub zones: Vec<String>,
    /// Nodes that were not decommissioned.
    pub nodes: u64,
    /// Of those, the ones that answer.
    pub alive: u64,
    /// Replicas there.
    pub replicas: u64,
    /// Partitions led from there.
    pub leads: u64,
}

/// A token with which one host may join.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JoinTokenDocument {
    /// To be handed to `domicile join`. Shown once.
    pub token: String,
    /// The region that it is for.
    pub region: String,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

impl From<PartitionStatus> for PartitionDocument {
    fn from(status: PartitionStatus) -> Self {
        let leader = status.leader_heard();
        let PartitionStatus { id, term, voters, learners, applied, committed, health, .. } = status;
        Self {
            available: leader.is_some() && health == Health::Running,
            id,
            leader,
            term,
            voters,
            learners,
            applied,
            committed,
            health,
            placement: None,
            tolerance: None,
            replicas: Vec::new(),
        }
    }
}
