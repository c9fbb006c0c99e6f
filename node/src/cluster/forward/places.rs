//! Where a tenant's replicas are, as this node knows it: hints, which the nodes asked correct.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use domicile_iam::ids::{Id as _, TenantId};
use domicile_iam::model::Edge;
use domicile_iam::query::QueryError;
use domicile_iam::service::Iam;
use domicile_raft::placement::Placement;
use domicile_raft::{BoxFuture, Clock, Consistency, NodeId, Partition, PartitionId, RaftNode};

use super::super::catalog::Catalog;

/// How long a tenant that is not known here is looked for with the directory's leader.
const LOOK: Duration = Duration::from_millis(700);

/// Whose request it is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The tenant.
    pub(crate) tenant: TenantId,
    /// The partition it lives in.
    pub(crate) home: PartitionId,
    /// Raised when it moves.
    pub(crate) epoch: u64,
    /// What nodes outside the placement may do.
    pub(crate) edge: Edge,
    /// Where it may live, where it asked for something.
    pub(crate) placement: Option<Placement>,
    /// Origin of a node near its home.
    pub(crate) home_origin: Option<String>,
}

/// What forwarding needs to know of the cluster.
pub(crate) trait Places: Send + Sync + 'static {
    /// This node.
    fn own(&self) -> NodeId;

    /// The region of this node.
    fn own_region(&self) -> &str;

    /// The tenant with this name in paths, as the directory is here.
    fn target(&self, slug: &str) -> Result<Option<Target>, QueryError>;

    /// Brings the directory here up to date, if its leader answers in time.
    fn refresh(&self) -> BoxFuture<'_, bool>;

    /// The replica of a partition on this node.
    fn replica(&self, partition: PartitionId) -> Option<Arc<dyn Partition>>;

    /// Other nodes that may hold a replica, the nearest first.
    fn holders(&self, partition: PartitionId) -> Vec<NodeId>;

    /// Where a partition may be held.
    fn placement(&self, partition: PartitionId) -> Option<Placement>;

    /// How stale answers about the tenant's tokens may be, in ms, or about tokens and `profiles`; 0 asks the leader
    /// each time. Known where there is a replica.
    fn bound_ms(&self, tenant: TenantId, profiles: bool) -> BoxFuture<'_, u64>;
}

impl Target {
    /// The directory, which every node may handle.
    pub(crate) fn directory() -> Self {
        Self {
            tenant: TenantId::from_bytes([0; 16]),
            home: PartitionId::DIRECTORY,
            epoch: 0,
            edge: Edge::Any,
            placement: None,
            home_origin: None,
        }
    }

    /// Whether nodes of `region` may handle what persons send to the tenant.
    pub(crate) fn may_be_handled_in(&self, region: &str, places: &dyn Places) -> bool {
        match self.edge {
            Edge::Any => true,
            Edge::Placement => {
                let placement = self.placement.clone().or_else(|| places.placement(self.home));
                // Where nothing is known, nothing is allowed.
                placement.is_some_and(|placement| placement.allows(region))
            }
        }
    }
}

/// [`Places`] of a node of a cluster.
pub(crate) struct ClusterPlaces {
    pub(crate) iam: Iam,
    pub(crate) raft: Arc<RaftNode>,
    /// The directory's word, as last read.
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
    pub(crate) region: String,
    pub(crate) zone: String,
}

impl Places for ClusterPlaces {
    fn own(&self) -> NodeId {
        self.raft.identity().id
    }

    fn own_region(&self) -> &str {
        &self.region
    }

    fn target(&self, slug: &str) -> Result<Option<Target>, QueryError> {
        let route = self.iam.route(slug)?;
        Ok(route.map(|route| Target {
            tenant: route.tenant,
            home: route.home,
            epoch: route.epoch,
            edge: route.edge,
            placement: route.entry.placement.clone(),
            home_origin: route.entry.home_origin.clone(),
        }))
    }

    fn refresh(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let Some(directory) = self.raft.partition(PartitionId::DIRECTORY) else { return false };
            directory.read(Consistency::Linearizable, LOOK).await.is_ok()
        })
    }

    /// None while this node's clock is wrong: what has expired is for others to say. Nor one whose files are damaged.
    fn replica(&self, partition: PartitionId) -> Option<Arc<dyn Partition>> {
        self.raft.whole(partition).filter(|_| self.raft.is_electable())
    }

    fn holders(&self, partition: PartitionId) -> Vec<NodeId> {
        let catalog = self.catalog.load();
        let here = self.raft.partition(partition).map(|replica| replica.status());
        let mut members: BTreeSet<NodeId> = BTreeSet::new();
        if let Some(status) = here {
            members.extend(status.voters);
            members.extend(status.learners);
        }
        if let Some(wanted) = catalog.partitions.get(&partition) {
            members.extend(&wanted.voters);
            members.extend(&wanted.learners);
            if members.is_empty() {
                let allowed = catalog.members().filter(|(_, node)| wanted.placement.allows(&node.region));
                members.extend(allowed.map(|(id, _)| id));
            }
        }
        members.remove(&self.own());
        let distance = |id: &NodeId| match catalog.nodes.get(id) {
            Some(node) if node.region == self.region => u8::from(node.zone != self.zone),
            Some(_) | None => 2,
        };
        let mut nearest: Vec<NodeId> = members.into_iter().collect();
        nearest.sort_by_key(distance);
        nearest
    }

    fn placement(&self, partition: PartitionId) -> Option<Placement> {
        self.catalog.load().partitions.get(&partition).map(|partition| partition.placement.clone())
    }

    fn bound_ms(&self, tenant: TenantId, profiles: bool) -> BoxFuture<'_, u64> {
        Box::pin(async move {
            let Some(context) = self.iam.tenant(tenant).await.ok().flatten() else { return 0 };
            let settings = &context.settings;
            if profiles {
                settings.token_staleness_ms.min(settings.profile_staleness_ms)
            } else {
                settings.token_staleness_ms
            }
        })
    }
}

/// After so long a silence a node is asked like the others again.
const AVOID: Duration = Duration::from_secs(1);

/// What requests learnt about nodes on their way.
pub(crate) struct Learnt {
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    leaders: BTreeMap<PartitionId, NodeId>,
    /// When a node was silent, on the monotonic clock.
    silent: BTreeMap<NodeId, Duration>,
}

impl Learnt {
    /// Nothing yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who led last.
    pub(crate) fn leader(&self, partition: PartitionId) -> Option<NodeId> {
        self.with(|known| known.leaders.get(&partition).copied())
    }

    /// `node` leads.
    pub(crate) fn leads(&self, partition: PartitionId, node: NodeId) {
        self.with(|known| {
            known.leaders.insert(partition, node);
            known.silent.remove(&node);
        });
    }

    /// `node` does not lead.
    pub(crate) fn leads_not(&self, partition: PartitionId, node: NodeId) {
        self.with(|known| {
            if known.leaders.get(&partition) == Some(&node) {
                known.leaders.remove(&partition);
            }
        });
    }

    /// `node` did not answer.
    pub(crate) fn silent(&self, node: NodeId) {
        let now = self.clock.monotonic();
        self.with(|known| known.silent.insert(node, now));
    }

    /// Puts those that were silent a moment ago behind the others.
    pub(crate) fn silent_last(&self, nodes: &mut [NodeId]) {
        let now = self.clock.monotonic();
        self.with(|known| {
            known.silent.retain(|_, since| now.saturating_sub(*since) < AVOID);
            nodes.sort_by_key(|node| known.silent.contains_key(node));
        });
    }
}
