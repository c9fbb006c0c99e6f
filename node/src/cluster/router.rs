//! The way to the leader of a partition: who is asked next, from what was last heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use domicile_iam::service::{RemoteError, RemotePartitions};
use domicile_raft::{BoxFuture, Clock, NodeId, PartitionId};

use super::catalog::Catalog;
use super::links::{AskError, Links};
use super::messages::{Ask, Reply, deadline_ms};

/// A node that did not answer is not asked again for so long, unless nobody else is left.
const AVOID: Duration = Duration::from_secs(1);
/// One try: a leader that is there answers sooner, one that is not must not take the whole deadline.
const TRY_MAX: Duration = Duration::from_millis(1_500);

/// Nodes asked in one try: who does not lead says who does.
const HOPS_MAX: u32 = 4;

/// Asks leaders.
pub(crate) struct Router {
    links: Arc<Links>,
    clock: Arc<dyn Clock>,
    /// As last read from the directory; empty until then.
    catalog: Arc<ArcSwap<Catalog>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Who answered last for a partition.
    leaders: BTreeMap<PartitionId, NodeId>,
    /// When a node did not answer, on the monotonic clock.
    silent: BTreeMap<NodeId, Duration>,
    /// Who said that it does not lead, since somebody last did.
    asked: BTreeMap<PartitionId, BTreeSet<NodeId>>,
}

impl Router {
    pub(crate) fn new(links: Arc<Links>, clock: Arc<dyn Clock>, catalog: Arc<ArcSwap<Catalog>>) -> Self {
        Self { links, clock, catalog, known: Mutex::default() }
    }

    fn known<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whom to ask: the hints first, then members, then all nodes that may hold it; those that were just
    /// silent last.
    fn next(&self, partition: PartitionId, hint: Option<NodeId>) -> Option<NodeId> {
        let own = self.links.raft.identity().id;
        let here = self.links.raft.partition(partition).map(|replica| replica.status());
        let catalog = self.catalog.load();
        let mut order: Vec<NodeId> = Vec::new();
        order.extend(hint);
        order.extend(here.as_ref().and_then(|status| status.leader));
        order.extend(self.known(|known| known.leaders.get(&partition).copied()));
        if let Some(status) = &here {
            order.extend(&status.voters);
        }
        if let Some(wanted) = catalog.partitions.get(&partition) {
            order.extend(&wanted.voters);
            let may_hold = catalog.members().filter(|(_, node)| wanted.placement.allows(&node.region));
            order.extend(may_hold.map(|(id, _)| id));
        }
        order.retain(|id| *id != own);
        let now = self.clock.monotonic();
        self.known(|known| {
            known.silent.retain(|_, since| now.saturating_sub(*since) < AVOID);
            let asked = known.asked.entry(partition).or_default();
            if order.iter().all(|id| asked.contains(id)) {
                asked.clear();
            }
            let fresh =
                |id: &&NodeId| !known.silent.contains_key(id) && (Some(**id) == hint || !asked.contains(id));
            order.iter().find(fresh).or_else(|| order.first()).copied()
        })
    }

    async fn ask(
        &self,
        partition: PartitionId,
        leader: Option<NodeId>,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, RemoteError> {
        let (began, mut hint) = (self.clock.monotonic(), leader);
        for _ in 0..HOPS_MAX {
            let left = deadline.saturating_sub(self.clock.monotonic().saturating_sub(began));
            let within = left.min(TRY_MAX);
            let node = self.next(partition, hint).ok_or(RemoteError::NoRoute)?;
            let ask = Ask::Domain { partition, deadline_ms: deadline_ms(within), body: body.clone() };
            match self.links.ask(node, ask, within).await {
                Ok(Reply::Domain(answer)) => {
                    self.known(|known| {
                        known.silent.remove(&node);
                        known.asked.remove(&partition);
                        known.leaders.insert(partition, node);
                    });
                    return Ok(answer);
                }
                // Not done there, and it says who could: followed at once.
                Err(AskError::NotLeader(leader)) => {
                    self.known(|known| known.disown(partition, node, leader));
                    if leader == Some(self.links.raft.identity().id) {
                        return Err(RemoteError::NotSent);
                    }
                    hint = leader;
                }
                Ok(
                    Reply::Report(_)
                    | Reply::Done
                    | Reply::PartitionKey(_)
                    | Reply::NotLeader(_)
                    | Reply::Refused(_)
                    | Reply::Time { .. },
                )
                | Err(AskError::Refused(_)) => {
                    self.known(|known| known.disown(partition, node, None));
                    return Err(RemoteError::NotSent);
                }
                Err(AskError::Silent { may_have_happened, reason }) => {
                    tracing::debug!(partition = partition.0, node = node.0, reason, "no answer");
                    let now = self.clock.monotonic();
                    self.known(|known| known.silent.insert(node, now));
                    return Err(if may_have_happened { RemoteError::Lost } else { RemoteError::NotSent });
                }
            }
        }
        Err(RemoteError::NotSent)
    }
}

impl Known {
    /// `node` does not lead `partition`; `leader` may.
    fn disown(&mut self, partition: PartitionId, node: NodeId, leader: Option<NodeId>) {
        self.asked.entry(partition).or_default().insert(node);
        match leader {
            Some(leader) => self.leaders.insert(partition, leader),
            None => self.leaders.remove(&partition),
        };
    }
}

impl RemotePartitions for Router {
    fn call(
        &self,
        partition: PartitionId,
        leader: Option<NodeId>,
        request: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, RemoteError>> {
        Box::pin(self.ask(partition, leader, request, deadline))
    }
}
