//! The directory, as the cluster's own parts use it: read as it is here, written through its leader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domicile_iam::commands::{
    ChooseFounder, ClusterRefusal, CreateJoinToken, InitCluster, ReadyPartition, RecordMembers,
    RedeemJoinToken, RequestPartition, SetNodeState, UpdateNode,
};
use domicile_iam::execute::{Actor, ConsistencyToken, ExecuteError, RequestContext, Written};
use domicile_iam::ids::{Id as _, RequestId, TenantId};
use domicile_iam::model::{MemberHints, NodeAddresses, NodeState, NodeView, PartitionState, PartitionView};
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::query::Consistency;
use domicile_iam::service::{Iam, Step};
use domicile_iam::streams::cluster::join_token_stream;
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

/// An order of an operator: done once for its `Idempotency-Key`, and in the audit log under their name.
pub(crate) type Ordered<R> = Result<Written<R>, ExecuteError<ClusterRefusal>>;

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

    /// Whether this node may come to lead it.
    pub(crate) fn votes(&self) -> bool {
        let directory = self.raft.partition(PartitionId::DIRECTORY);
        directory.is_some_and(|directory| directory.status().voters.contains(&self.raft.identity().id))
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
        let settings = self.iam.cluster(&Consistency::Local).await.map_err(failed)?;
        let catalog = Catalog {
            dead_after: settings.map(|cluster| Duration::from_millis(cluster.dead_after_ms)),
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
        let request = RequestPartition { placement, must_be_possible: false, by_default: false };
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
        ctx: &RequestContext,
        secret_sha256: [u8; 32],
        region: &str,
        new_region: bool,
        lifetime: Duration,
    ) -> Ordered<Timestamp> {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let region = region.to_owned();
        self.order(ctx, &CreateJoinToken { secret_sha256, region, new_region, lifetime_ms }).await
    }

    /// Whether a join token with this secret can be used, as of `seen`.
    pub(crate) async fn knows_token(
        &self,
        secret_sha256: &[u8; 32],
        seen: ConsistencyToken,
    ) -> Result<bool, String> {
        let tokens = self.iam.join_tokens(&Consistency::AtLeast(seen)).await;
        let id = join_token_stream(secret_sha256);
        Ok(tokens.map_err(|error| error.to_string())?.iter().any(|token| token.id == id))
    }

    pub(crate) async fn set_state(
        &self,
        ctx: &RequestContext,
        node: NodeId,
        state: NodeState,
    ) -> Ordered<()> {
        self.order(ctx, &SetNodeState { node, state }).await
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

    async fn order<C: Step<Refusal = ClusterRefusal>>(
        &self,
        ctx: &RequestContext,
        command: &C,
    ) -> Ordered<C::Reply> {
        let written = self.iam.directory(ctx, command).await?;
        // What was written is looked for at once: wait until it is here.
        let seen = Consistency::AtLeast(written.consistency);
        let _ = self.catalog_at(&seen).await;
        Ok(written)
    }

    /// What the node does on its own.
    async fn run<C: Step<Refusal = ClusterRefusal>>(&self, command: &C) -> Result<C::Reply, DirectoryError> {
        match self.order(&self.context(), command).await {
            Ok(written) => Ok(written.reply),
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

#[cfg(test)]
mod tests {
    use domicile_iam::event::StoredEvent;
    use domicile_raft::TimerProfile;
    use domicile_raft::placement::GroupSettings;
    use domicile_storage::{KeyRange, Order};

    use super::*;
    use crate::cluster::init::directory_placement;
    use crate::cluster::start;
    use crate::cluster::testing::Alone;

    /// The table of events.
    const EVENTS: [u8; 1] = [3];

    fn init() -> InitCluster {
        InitCluster {
            cluster_id: "c0ffee".to_owned(),
            name: "Example".to_owned(),
            public_origin: "https://id.example".to_owned(),
            default_placement: directory_placement(),
            directory_placement: directory_placement(),
            dead_after_ms: 70_000,
            region: "eu".to_owned(),
            jurisdiction: "eu".to_owned(),
            zone: "a".to_owned(),
            certificate: vec![1; 40],
            addresses: NodeAddresses { peer: vec!["[::1]:8445".to_owned()], ..NodeAddresses::default() },
            version: "0.1.0".to_owned(),
        }
    }

    #[tokio::test]
    async fn an_operators_order_is_in_the_log_under_their_id_and_request() {
        let alone = Alone::of("eu");
        let settings = GroupSettings { timers: TimerProfile::Zone, ..start::directory_settings() };
        let executor = alone.found(PartitionId::DIRECTORY, settings).await.unwrap();
        let iam = start::alone(&alone.replicas, &alone.clock).unwrap();
        let raft = Arc::clone(&alone.replicas.raft);
        let directory = Directory::new(iam, raft, Arc::clone(&alone.clock), Arc::default());
        directory.init(init(), directory_placement()).await.unwrap();
        assert_eq!(directory.catalog().await.unwrap().dead_after, Some(Duration::from_secs(70)));

        let mut ctx = directory.context();
        ctx.actor.who = ActorRef { kind: ActorKind::Operator, id: "usr_olive".to_owned() };
        let hour = Duration::from_hours(1);
        let made = directory.create_token(&ctx, [5; 32], "us", true, hour).await.unwrap();
        assert!(directory.knows_token(&[5; 32], made.consistency).await.unwrap());
        assert!(!directory.knows_token(&[6; 32], made.consistency).await.unwrap());

        let rows = executor.engine().scan(&KeyRange::prefix(&EVENTS), Order::Ascending, 1_000).unwrap();
        let events: Vec<StoredEvent> =
            rows.iter().map(|(_, row)| StoredEvent::decode(row).unwrap()).collect();
        let created = events.iter().find(|event| event.event_type == "join_token.created").unwrap();
        assert_eq!((&created.actor, created.request_id), (&ctx.actor.who, ctx.request_id));
        let joined = events.iter().find(|event| event.event_type == "node.joined").unwrap();
        assert_eq!(joined.actor.kind, ActorKind::System, "what the node does on its own");
    }
}
