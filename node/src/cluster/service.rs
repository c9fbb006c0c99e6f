//! Answers what nodes ask each other above the groups. Every question is from a node whose certificate
//! names its region; what a region may not have is refused here, whoever asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use domicile_iam::seal::{FixedKek, Kek, WrappedPartitionKey};
use domicile_iam::service::Asker;
use domicile_raft::peer::{AppService, PeerIdentity, PeerRefusal};
use domicile_raft::placement::Duty;
use domicile_raft::{BoxFuture, Clock, Health, LogPosition, NodeId, PartitionId, PartitionStatus, Start};

use super::catalog::Catalog;
use super::links::Links;
use super::messages::{Ask, NodeReport, OpenReplica, Reply, TransferKey};
use super::replicas::Replicas;
use super::times::Times;

/// How long a member may take to hand a partition's key over.
const KEY_DEADLINE: Duration = Duration::from_secs(3);
/// The version of a key-encryption key that wraps one answer.
const TRANSFER_VERSION: u32 = 1;

/// Answers questions of the domain; the domain's own.
pub(crate) trait DomainService: Send + Sync + 'static {
    /// Runs `body` for `from` where this node leads `partition`.
    fn serve(
        &self,
        from: Asker,
        partition: PartitionId,
        body: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'static, Reply>;

    /// A replica was opened: the domain may use it.
    fn opened(&self, partition: PartitionId);

    /// A replica is being closed: the domain must not use it any more.
    fn closing(&self, partition: PartitionId);

    /// The node stops: every replica is being closed.
    fn stopping(&self);
}

/// This node, as others ask it.
pub(crate) struct LocalNode {
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) clock: Arc<dyn Clock>,
    /// On the monotonic clock.
    pub(crate) started: Duration,
    /// What the directory here says; empty until it was read.
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
    /// Bytes of the data directory, as last counted.
    pub(crate) data_bytes: AtomicU64,
    pub(crate) stopping: AtomicBool,
    /// How this node's clock stands to the others'.
    pub(crate) times: Arc<Times>,
    /// Set once the directory is open.
    pub(crate) domain: OnceLock<Arc<dyn DomainService>>,
    /// The way to other nodes; they hold this node too.
    pub(crate) links: OnceLock<Weak<Links>>,
}

impl LocalNode {
    pub(crate) fn new(
        replicas: Arc<Replicas>,
        clock: Arc<dyn Clock>,
        catalog: Arc<ArcSwap<Catalog>>,
    ) -> Self {
        let started = clock.monotonic();
        Self {
            replicas,
            clock,
            started,
            catalog,
            data_bytes: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            times: Arc::default(),
            domain: OnceLock::new(),
            links: OnceLock::new(),
        }
    }

    /// Answers this node itself.
    /// Boxed: opening a replica asks other nodes, through the same way that leads here.
    pub(crate) fn answer_own(self: &Arc<Self>, ask: Ask) -> BoxFuture<'static, Reply> {
        let local = Arc::clone(self);
        Box::pin(async move {
            let own =
                Asker { node: local.replicas.raft.identity().id, region: local.replicas.region.clone() };
            local.answer(own, ask).await
        })
    }

    /// Answers another node, as far as it may ask. Before the domain is there nothing is: what is opened
    /// until then would be missing from it, and who is not yet open would be reported as not here.
    async fn answer_peer(self: &Arc<Self>, from: Asker, ask: Ask) -> Reply {
        if matches!(ask, Ask::Time) {
            return Reply::Time { now: self.clock.now() };
        }
        if self.domain.get().is_none() {
            return refused("still starting");
        }
        if let Err(reason) = self.may_ask(&from, &ask) {
            tracing::warn!(node = from.node.0, region = from.region, reason, "a question was refused");
            return Reply::Refused(reason);
        }
        self.answer(from, ask).await
    }

    /// A node that is gone keeps its certificate for a while; the directory tells that it is gone. Orders
    /// are taken from who could write to the directory too: its voters.
    fn may_ask(&self, from: &Asker, ask: &Ask) -> Result<(), String> {
        let catalog = self.catalog.load();
        let known = catalog.admits(from.node, &from.region).map(|node| node.duty);
        let status = |id| self.replicas.raft.partition(id).map(|replica| replica.status());
        match ask {
            Ask::Report | Ask::Time => Ok(()),
            // Who asks for what is checked there; a node that is being joined may be known there first.
            Ask::Domain { .. } => match known {
                Err(reason) if catalog.nodes.contains_key(&from.node) => Err(reason),
                Ok(_) | Err(_) => Ok(()),
            },
            // Every node keeps it, and opened it by itself before it could know anybody.
            Ask::OpenReplica(open) if open.partition == PartitionId::DIRECTORY => Ok(()),
            Ask::OpenReplica(_) | Ask::CloseReplica { .. } | Ask::FoundPartition { .. } => {
                known?;
                let directory = status(PartitionId::DIRECTORY);
                orders_from(from.node, directory.as_ref())
            }
            Ask::PartitionKey { partition, .. } => keys_for(from.node, known?, status(*partition).as_ref()),
        }
    }

    async fn answer(self: &Arc<Self>, from: Asker, ask: Ask) -> Reply {
        match ask {
            Ask::Report => Reply::Report(Box::new(self.report())),
            Ask::Time => Reply::Time { now: self.clock.now() },
            Ask::Domain { partition, deadline_ms, body } => {
                let Some(domain) = self.domain.get() else { return refused("still starting") };
                if let Err(leader) = self.leads(partition) {
                    return Reply::NotLeader(leader);
                }
                domain.serve(from, partition, body, Duration::from_millis(deadline_ms)).await
            }
            order @ (Ask::OpenReplica(_) | Ask::CloseReplica { .. } | Ask::FoundPartition { .. }) => {
                let local = Arc::clone(self);
                let obeyed = tokio::spawn(async move { local.obey(order).await });
                obeyed.await.unwrap_or_else(|_| refused("the order was interrupted"))
            }
            Ask::PartitionKey { partition, transfer_key } => {
                self.hand_out_key(&from.region, partition, &transfer_key).unwrap_or_else(|why| refused(&why))
            }
        }
    }

    /// Carries out an order. To be run to its end, also where nobody waits for it any more (a controller that stops to
    /// lead): a group that was started and that the domain knows nothing of would lead and serve nobody.
    async fn obey(&self, order: Ask) -> Reply {
        match order {
            Ask::OpenReplica(open) => told(self.open(open).await),
            Ask::CloseReplica { partition, generation, membership } => {
                told(self.close(partition, generation, membership).await)
            }
            Ask::FoundPartition { partition, settings } => told(self.found(partition, settings).await),
            Ask::Report | Ask::Time | Ask::Domain { .. } | Ask::PartitionKey { .. } => refused("no order"),
        }
    }

    /// Fails with the leader, where known, if this node does not lead the partition.
    fn leads(&self, partition: PartitionId) -> Result<(), Option<NodeId>> {
        let replica = self.replicas.raft.partition(partition).ok_or(None)?;
        if replica.leadership().borrow().leads {
            return Ok(());
        }
        let own = self.replicas.raft.identity().id;
        Err(replica.status().leader.filter(|leader| *leader != own))
    }

    /// How this node is.
    pub(crate) fn report(&self) -> NodeReport {
        let raft = &self.replicas.raft;
        let partitions: Vec<_> = raft.partitions().iter().map(|partition| partition.status()).collect();
        let errors = partitions.iter().filter_map(|status| match &status.health {
            Health::Running => None,
            Health::Quarantined(why) => Some(format!("partition {} is quarantined: {why}", status.id.0)),
            Health::Failed(why) => Some(format!("partition {} failed: {why}", status.id.0)),
        });
        let unopened = self.replicas.unopened();
        let unopened = unopened.iter().map(|(id, why)| format!("partition {} is not open: {why}", id.0));
        NodeReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boots: raft.identity().boots,
            uptime_s: self.clock.monotonic().saturating_sub(self.started).as_secs(),
            data_bytes: self.data_bytes.load(Ordering::Relaxed),
            errors: errors
                .chain(unopened)
                .chain(self.times.complaint())
                .chain(raft.banished())
                .chain(raft.disk_is_full().then(|| "the disk is full: writes are refused".to_owned()))
                .collect(),
            leads_nothing: !raft.is_electable(),
            stopping: self.stopping.load(Ordering::Relaxed),
            partitions,
        }
    }

    /// Opens a replica without a vote: its key comes from a member first.
    async fn open(&self, open: OpenReplica) -> Result<(), String> {
        let OpenReplica { partition, incarnation, settings, members, point } = open;
        self.replicas.check_region(partition, &settings).map_err(chain)?;
        if self.replicas.key(partition).map_err(chain)?.is_none() {
            self.fetch_key(partition, &members).await?;
        }
        let start = point.map_or(Start::Join, Start::JoinAt);
        let opened = self.replicas.open(partition, incarnation, settings, start).await;
        opened.map_err(chain)?;
        self.tell_opened(partition);
        Ok(())
    }

    fn tell_opened(&self, partition: PartitionId) {
        if let Some(domain) = self.domain.get() {
            domain.opened(partition);
        }
    }

    /// Asks the members in turn.
    pub(crate) async fn fetch_key(&self, partition: PartitionId, members: &[NodeId]) -> Result<(), String> {
        let links = self.links.get().and_then(Weak::upgrade).ok_or("this node has no peers")?;
        let own = self.replicas.raft.identity().id;
        let mut last = "no other node is known that could give it".to_owned();
        for member in members.iter().filter(|member| **member != own) {
            let mut key = vec![0_u8; 32];
            self.clock.fill_random(&mut key);
            let kek = transfer_kek(&key)?;
            let ask = Ask::PartitionKey { partition, transfer_key: TransferKey(key) };
            match links.ask(*member, ask, KEY_DEADLINE).await {
                Ok(Reply::PartitionKey(wrapped)) => {
                    let wrapped = WrappedPartitionKey::from_bytes(&wrapped).map_err(chain)?;
                    if wrapped.partition != partition {
                        return Err(format!("node {} gave another partition's key", member.0));
                    }
                    let key = wrapped.unwrap_with(&kek).map_err(chain)?;
                    return self.replicas.keep_key(partition, &key).map_err(chain);
                }
                Ok(_) => last = format!("node {} answered something else", member.0),
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("the key of partition {} cannot be had: {last}", partition.0))
    }

    /// Gives the key to a node whose certificate is of a region inside the placement that the
    /// partition's own log holds.
    fn hand_out_key(
        &self,
        region: &str,
        partition: PartitionId,
        transfer: &TransferKey,
    ) -> Result<Reply, String> {
        let replica = self.replicas.raft.partition(partition).ok_or("no replica of the partition here")?;
        let settings = replica.status().settings.ok_or("the partition's placement is not known here yet")?;
        if !settings.placement.allows(region) {
            tracing::warn!(
                partition = partition.0,
                region,
                "a key was refused to a node outside the placement"
            );
            return Err(format!("partition {} may not be held in region {region}", partition.0));
        }
        let key = self.replicas.key(partition).map_err(chain)?.ok_or("its key is not here")?;
        let wrapped = key.wrap(&transfer_kek(&transfer.0)?, self.clock.as_ref()).map_err(chain)?;
        Ok(Reply::PartitionKey(wrapped.to_bytes().map_err(chain)?))
    }

    /// Closes and removes a replica that the members no longer name.
    async fn close(
        &self,
        partition: PartitionId,
        generation: u64,
        membership: Option<LogPosition>,
    ) -> Result<(), String> {
        let _one = self.replicas.alone().await;
        let Some(replica) = self.replicas.raft.partition(partition) else { return Ok(()) };
        let status = replica.status();
        if partition == PartitionId::DIRECTORY {
            return Err("every node keeps the directory".to_owned());
        }
        if status.settings.as_ref().is_some_and(|settings| settings.generation > generation) {
            return Err("the order is older than the partition's settings".to_owned());
        }
        let own = self.replicas.raft.identity().id;
        if named_since(own, &status, membership) {
            return Err("a membership that is not older than the order names this replica".to_owned());
        }
        if status.leader == Some(own) {
            return Err("this replica leads".to_owned());
        }
        drop(replica);
        if let Some(domain) = self.domain.get() {
            domain.closing(partition);
        }
        self.replicas.forget(partition);
        self.replicas.note_removed(partition).map_err(chain)?;
        self.replicas.raft.destroy_group(partition).await.map_err(chain)?;
        tracing::info!(partition = partition.0, "a replica that is no member any more was removed");
        Ok(())
    }

    /// Makes a partition with this node as its only voter; others are brought in later.
    async fn found(
        &self,
        partition: PartitionId,
        settings: domicile_raft::placement::GroupSettings,
    ) -> Result<(), String> {
        self.replicas.check_region(partition, &settings).map_err(chain)?;
        self.replicas.make_key(partition).map_err(chain)?;
        let links = self.links.get().and_then(Weak::upgrade).ok_or("this node has no peers")?;
        let start = Start::Bootstrap(links.own_info.load().as_ref().clone());
        let incarnation = domicile_raft::Incarnation(1);
        self.replicas.open(partition, incarnation, settings, start).await.map_err(chain)?;
        tracing::info!(partition = partition.0, "founded a partition");
        self.tell_opened(partition);
        Ok(())
    }
}

/// Whether `directory` has `node` as a voter; its controller runs on the leader.
fn orders_from(node: NodeId, directory: Option<&PartitionStatus>) -> Result<(), String> {
    let votes = directory.is_some_and(|status| status.voters.contains(&node) || status.leader == Some(node));
    if votes { Ok(()) } else { Err(format!("node {} has no vote in the directory", node.0)) }
}

/// Whether a node of this duty may have the partition's key: it is a member, or could become one.
fn keys_for(node: NodeId, duty: Duty, partition: Option<&PartitionStatus>) -> Result<(), String> {
    let partition = partition.ok_or("no replica of the partition here")?;
    let member = partition.voters.contains(&node) || partition.learners.contains(&node);
    if member || duty == Duty::Active || partition.id == PartitionId::DIRECTORY {
        return Ok(());
    }
    Err(format!("node {} is no member of partition {} and takes no replicas", node.0, partition.id.0))
}

/// Whether the replica knows itself as a member by a membership that is not older than `ordered`.
fn named_since(own: NodeId, status: &PartitionStatus, ordered: Option<LogPosition>) -> bool {
    let place = |at: LogPosition| (at.term, at.index);
    let named = status.voters.contains(&own) || status.learners.contains(&own);
    named && status.membership.map(place) >= ordered.map(place)
}

/// What other nodes reach.
pub(crate) struct PeerDoor(pub(crate) Arc<LocalNode>);

impl AppService for PeerDoor {
    fn serve(&self, from: &PeerIdentity, message: Bytes) -> BoxFuture<'static, Result<Bytes, PeerRefusal>> {
        let (local, from) = (Arc::clone(&self.0), Asker { node: from.node, region: from.region.clone() });
        Box::pin(async move {
            let ask = Ask::decode(&message).map_err(|cause| PeerRefusal::Malformed(cause.to_string()))?;
            let reply = local.answer_peer(from, ask).await;
            reply.encode().map(Bytes::from).map_err(|cause| PeerRefusal::Failed(cause.to_string()))
        })
    }
}

fn transfer_kek(bytes: &[u8]) -> Result<FixedKek, String> {
    if bytes.len() != 32 {
        return Err("the transfer key is not 32 bytes".to_owned());
    }
    Kek::from_bytes(TRANSFER_VERSION, bytes).map(|kek| FixedKek::new(kek, Vec::new())).map_err(chain)
}

fn refused(why: &str) -> Reply {
    Reply::Refused(why.to_owned())
}

fn told(outcome: Result<(), String>) -> Reply {
    match outcome {
        Ok(()) => Reply::Done,
        Err(why) => Reply::Refused(why),
    }
}

/// An error with its causes, on one line.
#[allow(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
pub(crate) fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests;
