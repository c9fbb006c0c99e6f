//! The directory, as the cluster's own parts use it: read as it is here, written through its leader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domicile_iam::commands::{
    ChooseFounder, ClusterRefusal, CreateJoinToken, InitCluster, ReadyPartition, RecordMembers,
    RedeemJoinToken, RequestPartition, SetNodeState, UpdateNode,
};
use domicile_iam::execute::{Actor, ExecuteError, RequestContext};
use domicile_iam::ids::{Id as _, RequestId, TenantId};
use domicile_iam::model::{MemberHints, NodeAddresses, NodeState, NodeView, PartitionState, PartitionView};
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::query::Consistency;
use domicile_iam::service::{Iam, Step};
use domicile_raft::placement::{Duty, Placement};
use domicile_raft::{Clock, NodeId, PartitionId, RaftNode, Timestamp};

use super::catalog::{Catalog, CatalogNode, CatalogPartition};

const DEADLINE: Duration = Duration::from_secs(4);

/// The directory did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// It will not: the reason.
    #[error("{0}")]
    Refused(String),
    /// Not now, or nobody knows.
    #[error("{0}")]
    Unavailable(String),
}

/// The directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory {
    iam: Iam,
    raft: Arc<RaftNode>,
    clock: Arc<dyn Clock>,
    /// As last read, for those who cannot wait.
    latest: Arc<ArcSwap<Catalog>>,
}

impl Directory {
    pub(crate) fn new(
        iam: Iam,
        raft: Arc<RaftNode>,
        clock: Arc<dyn Clock>,
        latest: Arc<ArcSwap<Catalog>>,
    ) -> Self {
        Self { iam, raft, clock, latest }
    }

    /// Whether this node leads it.
    pub(crate) fn leads(&self) -> bool {
        let directory = self.raft.partition(PartitionId::DIRECTORY);
        directory.is_some_and(|directory| directory.leadership().borrow().leads)
    }

    /// What it says, as it is here.
    pub(crate) async fn catalog(&self) -> Result<Catalog, String> {
        self.catalog_at(&Consistency::Local).await
    }

    /// What it says, after a barrier: on a leader that was deposed without knowing it, this fails.
    pub(crate) async fn confirmed_catalog(&self) -> Result<Catalog, String> {
        self.catalog_at(&Consistency::Linearizable).await
    }

    async fn catalog_at(&self, wanted: &Consistency) -> Result<Catalog, String> {
        let failed = |error: domicile_iam::query::QueryError| error.to_string();
        let regions = self.iam.regions(wanted).await.map_err(failed)?;
        let nodes = self.iam.nodes(&Consistency::Local).await.map_err(failed)?;
        let partitions = self.iam.partitions(&Consistency::Local).await.map_err(failed)?;
        let catalog = Catalog {
            nodes: nodes.into_iter().map(|node| (node.id, catalog_node(node))).collect(),
            regions: regions.into_iter().map(|region| (region.name, region.certificates)).collect(),
            partitions: partitions
                .into_iter()
                .map(|partition| (partition.id, catalog_partition(partition)))
                .collect(),
        };
        self.latest.store(Arc::new(catalog.clone()));
        Ok(catalog)
    }

    /// Makes the directory know the cluster, its first node, and the first home of tenants.
    pub(crate) async fn init(
        &self,
        command: InitCluster,
        placement: Placement,
    ) -> Result<(), DirectoryError> {
        self.run(&command).await?;
        let request = RequestPartition { placement, must_be_possible: false };
        let home = self.run(&request).await?;
        let members = MemberHints { voters: [NodeId(1)].into(), learners: BTreeSet::new() };
        self.run(&ReadyPartition { partition: home.partition, generation: 1, members }).await
    }

    /// Tells of this node's start.
    pub(crate) async fn announce(
        &self,
        node: NodeId,
        boot_counter: u64,
        addresses: NodeAddresses,
    ) -> Result<(), DirectoryError> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.run(&UpdateNode { node, addresses, version, boot_counter }).await
    }

    pub(crate) async fn redeem(&self, command: RedeemJoinToken) -> Result<NodeId, DirectoryError> {
        self.run(&command).await
    }

    pub(crate) async fn create_token(
        &self,
        secret_sha256: [u8; 32],
        region: &str,
        new_region: bool,
        lifetime: Duration,
    ) -> Result<Timestamp, DirectoryError> {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let region = region.to_owned();
        self.run(&CreateJoinToken { secret_sha256, region, new_region, lifetime_ms }).await
    }

    pub(crate) async fn set_state(&self, node: NodeId, state: NodeState) -> Result<(), DirectoryError> {
        self.run(&SetNodeState { node, state }).await
    }

    /// The node that founds a partition: `node`, unless another was chosen before.
    pub(crate) async fn choose_founder(
        &self,
        partition: PartitionId,
        generation: u64,
        node: NodeId,
    ) -> Result<NodeId, String> {
        let chosen = self.run(&ChooseFounder { partition, generation, node }).await;
        chosen.map_err(|error| error.to_string())
    }

    /// Records the members of a partition: hints for others.
    pub(crate) async fn note_members(
        &self,
        partition: PartitionId,
        generation: u64,
        voters: BTreeSet<NodeId>,
        learners: BTreeSet<NodeId>,
    ) -> Result<(), String> {
        let members = MemberHints { voters, learners };
        let noted = self.run(&RecordMembers { partition, generation, members }).await;
        noted.map_err(|error| error.to_string())
    }

    /// The partition was made: it takes tenants.
    pub(crate) async fn note_ready(
        &self,
        partition: PartitionId,
        generation: u64,
        voters: BTreeSet<NodeId>,
        learners: BTreeSet<NodeId>,
    ) -> Result<(), String> {
        let members = MemberHints { voters, learners };
        let noted = self.run(&ReadyPartition { partition, generation, members }).await;
        noted.map_err(|error| error.to_string())
    }

    async fn run<C: Step<Refusal = ClusterRefusal>>(&self, command: &C) -> Result<C::Reply, DirectoryError> {
        match self.iam.directory(&self.context(), command).await {
            Ok(written) => {
                // What was written is looked for at once: wait until it is here.
                let seen = Consistency::AtLeast(written.consistency);
                let _ = self.catalog_at(&seen).await;
                Ok(written.reply)
            }
            Err(ExecuteError::Refused(refusal)) => Err(DirectoryError::Refused(refusal.to_string())),
            Err(error) => Err(DirectoryError::Unavailable(error.to_string())),
        }
    }

    fn context(&self) -> RequestContext {
        system_context(self.clock.as_ref(), TenantId::from_bytes([0; 16]), DEADLINE)
    }
}

/// A context for what the node does on its own.
pub(crate) fn system_context(clock: &dyn Clock, tenant: TenantId, deadline: Duration) -> RequestContext {
    let mut random = [0_u8; 10];
    clock.fill_random(&mut random);
    RequestContext {
        tenant,
        actor: Actor { who: ActorRef { kind: ActorKind::System, id: String::new() }, key: None, name: None },
        request_id: RequestId::new(clock.now(), random),
        idempotency: None,
        deadline,
        address: None,
        agent: None,
    }
}

/// Unless the settings say otherwise, what a region's name begins with: `eu` of `eu-central`.
pub(crate) fn jurisdiction_of(region: &str) -> String {
    region.split('-').next().unwrap_or(region).to_owned()
}

fn catalog_node(node: NodeView) -> CatalogNode {
    let NodeAddresses { peer, public, admin, management } = node.addresses;
    CatalogNode {
        region: node.region,
        zone: node.zone,
        peer_address: peer.into_iter().next().unwrap_or_default(),
        public_url: public.unwrap_or_default(),
        admin_url: admin,
        management_url: management,
        duty: match node.state {
            NodeState::Active => Duty::Active,
            NodeState::Draining => Duty::Draining,
            NodeState::Decommissioned => Duty::Decommissioned,
        },
    }
}

fn catalog_partition(partition: PartitionView) -> CatalogPartition {
    let MemberHints { voters, learners } = partition.members;
    CatalogPartition {
        placement: partition.placement,
        generation: partition.generation,
        ready: partition.state == PartitionState::Ready,
        founder: partition.founder,
        voters,
        learners,
    }
}
