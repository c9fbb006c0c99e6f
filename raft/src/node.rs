//! A node's groups over one log engine.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domicile_storage::{MemoryEngine, MemoryLog};
use tokio_util::sync::CancellationToken;

use crate::config::{DiskOptions, GroupConfig, NodeConfig, OpenState};
use crate::data_dir::{DataDir, DataDirError, NodeIdentity};
use crate::disk_space::DiskSpace;
use crate::group_start::{GroupStarter, Opened, Under};
use crate::hosted::{Hosted, follow_timers};
use crate::log_cut::{LogCut, LogCutError};
use crate::log_store;
use crate::open_error::{NodeError, OpenError};
use crate::orders::{self, Order, OrderError, OrderReply};
use crate::peer::link::PeerLink;
use crate::peer::message::Kind;
use crate::peer::{AppService, PeerError, PeerPolicy, PeerServer, PeerService, SeenBoots, start_number};
use crate::pulse::Pulse;
use crate::replica_file::ReplicaOnDisk;
use crate::replicas::{Replica, Replicas};
use crate::snapshot::{DigestError, SnapshotLimits, StateDigest};
use crate::vigil::Vigil;
use crate::{Clock, NodeId, Partition, PartitionId};

/// This node's replicas.
pub struct RaftNode {
    config: Arc<NodeConfig>,
    identity: NodeIdentity,
    replicas: Arc<Replicas>,
    /// `None` on a node that is alone.
    link: Option<Arc<PeerLink>>,
    server: Arc<PeerServer>,
    app: Arc<Mutex<Option<Arc<dyn AppService>>>>,
    /// Started with the first group: a node may be made outside the runtime.
    pulse: Mutex<Option<(Pulse, Option<Vigil>)>>,
    /// One change of the set of groups at a time.
    opening: tokio::sync::Mutex<()>,
    /// Nothing is started again any more.
    stopping: CancellationToken,
    limits: Arc<SnapshotLimits>,
    /// One digest at a time.
    digesting: Arc<tokio::sync::Mutex<()>>,
    /// `None` in memory.
    disk: Option<Arc<DiskSpace>>,
    /// Whether replicas here stand for election.
    electable: Arc<AtomicBool>,
}

impl RaftNode {
    /// On `root`, with `log/` and `partitions/` in it; alone.
    ///
    /// # Errors
    /// [`NodeError`]; [`domicile_storage::LogError::Locked`] when another process has it open.
    pub fn open_on_disk(root: &Path, options: DiskOptions, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        Self::open(NodeConfig::on_disk(root, options, clock)?)
    }

    /// Without a disk: nothing survives the process; alone.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn open_in_memory(clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let open_state: OpenState = Arc::new(|_, _| Ok(Arc::new(MemoryEngine::new())));
        Self::open(NodeConfig::new(None, Arc::new(MemoryLog::new()), open_state, clock))
    }

    /// Reads who this node is and counts the start. Opens no group.
    ///
    /// With peers, the data directory must belong to a node already ([`DataDir::adopt`]).
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn open(config: NodeConfig) -> Result<Self, NodeError> {
        let identity = identify(&config)?;
        let peers = config.peers.as_ref();
        let boots = Arc::new(SeenBoots::load(config.directory.as_ref())?);
        let told = NodeIdentity { boots: start_told(&config, identity), ..identity };
        let link = peers
            .map(|p| PeerLink::new(Arc::clone(&p.transport), p.cluster.clone(), told, Arc::clone(&boots)));
        let electable = Arc::new(AtomicBool::new(true));
        let (replicas, app) = (Arc::<Replicas>::default(), Arc::default());
        let server = Arc::new(PeerServer {
            link: link.clone(),
            replicas: Arc::clone(&replicas),
            boots,
            standings: Arc::default(),
            app: Arc::clone(&app),
            electable: Arc::clone(&electable),
        });
        let watch = |directory: &DataDir| directory.watch_space(config.disk);
        let disk = config.directory.as_ref().map(watch).transpose()?;
        let limits = SnapshotLimits::new(config.snapshots, disk.clone());
        let (pulse, opening, stopping) =
            (Mutex::default(), tokio::sync::Mutex::default(), CancellationToken::new());
        let config = Arc::new(config);
        Ok(Self {
            config,
            identity,
            replicas,
            link,
            server,
            app,
            pulse,
            opening,
            stopping,
            limits,
            digesting: Arc::default(),
            disk,
            electable,
        })
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> NodeIdentity {
        self.identity
    }

    /// What answers other nodes; give it to the transport.
    #[must_use]
    pub fn peer_service(&self) -> Arc<dyn PeerService> {
        Arc::clone(&self.server) as Arc<dyn PeerService>
    }

    /// Whether replicas here may come to lead: without it they do not stand for election, nor take a
    /// leadership over. A group of one leads all the same. What is led already is for
    /// [`RaftNode::hand_over`].
    pub fn set_electable(&self, electable: bool) {
        self.electable.store(electable, Ordering::Release);
        for group in self.replicas.all_running() {
            // The gate may open meanwhile, which sets it too.
            loop {
                let wanted = group.gate.lets(self.electable.load(Ordering::Acquire));
                group.raft.runtime_config().elect(wanted);
                if group.gate.lets(self.electable.load(Ordering::Acquire)) == wanted {
                    break;
                }
            }
        }
    }

    /// As [`RaftNode::set_electable`] left it; true at the start.
    #[must_use]
    pub fn is_electable(&self) -> bool {
        self.electable.load(Ordering::Acquire)
    }

    /// What another node said, if it said that this one is not to take part any more: its disk went back in
    /// time, or it was decommissioned.
    #[must_use]
    pub fn banished(&self) -> Option<String> {
        self.link.as_ref()?.banished().map(ToString::to_string)
    }

    /// Whether the disk has no room for further writes, so that they are refused until it has.
    #[must_use]
    pub fn disk_is_full(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.is_full(0))
    }

    /// Takes the messages that other nodes send with [`RaftNode::call`]. Until then they are refused.
    pub fn set_app_service(&self, service: Arc<dyn AppService>) {
        *self.app.lock().unwrap_or_else(PoisonError::into_inner) = Some(service);
    }

    /// Has `policy` say who the nodes that speak to this one are. Until then all are members.
    pub fn set_peer_policy(&self, policy: PeerPolicy) {
        self.server.standings.set(policy);
    }

    /// Sends a message that is opaque here, and gives the answer of the node's [`AppService`].
    ///
    /// # Errors
    /// [`PeerError`]; see [`PeerError::may_have_happened`].
    pub async fn call(&self, to: NodeId, message: Bytes, deadline: Duration) -> Result<Bytes, PeerError> {
        let alone = || PeerError::Unreachable { node: to, reason: "this node has no peers".to_owned() };
        let link = self.link.as_ref().ok_or_else(alone)?;
        link.call(to, Kind::Application, &message, deadline).await
    }

    /// Has the group's replica on node `to` carry `order` out, if it leads; `to` may be this node. Another
    /// node obeys only voters of the directory, but for [`crate::Change::Report`].
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn order(
        &self,
        to: NodeId,
        order: Order,
        deadline: Duration,
    ) -> Result<OrderReply, OrderError> {
        if to == self.identity.id {
            let group = self.replicas.running(order.partition).ok_or(OrderError::NoReplica)?;
            return orders::obey(&group, order, deadline).await;
        }
        let alone = || OrderError::Unreachable("this node has no peers".to_owned());
        let link = self.link.as_ref().ok_or_else(alone)?;
        let unknown = |cause: &dyn std::fmt::Display| OrderError::Unknown(cause.to_string());
        let body = orders::encode(&order, deadline).map_err(|cause| unknown(&cause))?;
        // The leader answers at the deadline; its answer may take a moment.
        let answer = link.call(to, Kind::Order, &body, deadline + Duration::from_millis(500)).await;
        let answer = answer.map_err(|cause| {
            let reason = cause.to_string();
            if cause.may_have_happened() {
                OrderError::Unknown(reason)
            } else {
                OrderError::Unreachable(reason)
            }
        })?;
        orders::decode_outcome(&answer).map_err(|cause| unknown(&cause))?
    }

    /// Has this node's replica of a partition make what is applied its snapshot and cut its log to it, whatever
    /// its retention. Done again it cuts what was applied since.
    ///
    /// # Errors
    /// [`LogCutError`].
    pub async fn cut_log(&self, id: PartitionId, deadline: Duration) -> Result<LogCut, LogCutError> {
        let group = self.replicas.running(id).ok_or(LogCutError::NoReplica)?;
        group.cut_log(deadline).await
    }

    /// The digest of what this node's replica of a partition has applied, from a view, so that entries go on being
    /// applied. It reads everything and takes accordingly; dropping the future ends it. One at a time.
    ///
    /// # Errors
    /// [`DigestError`].
    pub async fn digest(&self, id: PartitionId) -> Result<StateDigest, DigestError> {
        let group = self.replicas.running(id).ok_or(DigestError::NoReplica)?;
        let turn = Arc::clone(&self.digesting).try_lock_owned().map_err(|_| DigestError::Busy)?;
        group.digest(turn, self.stopping.child_token()).await
    }

    fn starter(&self) -> GroupStarter {
        let (node, link) = (Arc::clone(&self.config), self.link.clone());
        let (limits, disk) = (Arc::clone(&self.limits), self.disk.clone());
        let electable = Arc::clone(&self.electable);
        GroupStarter { node, identity: self.identity, link, limits, disk, electable }
    }

    /// Opens a group, replays its log, and returns once it leads if this node is its only voter.
    ///
    /// A quarantined group opens as one that refuses everything; its status says why. So does one
    /// whose log or state turns out damaged now.
    ///
    /// # Errors
    /// [`OpenError`]: what an operator's mistake explains, such as another key. Nothing is quarantined.
    pub async fn open_group(&self, config: GroupConfig) -> Result<Arc<dyn Partition>, OpenError> {
        let _one = self.opening.lock().await;
        let id = config.partition;
        if self.replicas.get(id).is_some() {
            return Err(OpenError::AlreadyOpen(id.0));
        }
        if let Some(directory) = &self.config.directory {
            directory.note_replica(&config)?;
        }
        self.start_pulse();
        let under = Under::nothing();
        let leadership = under.leadership.clone();
        let replica = match self.starter().start(&config, under).await? {
            Opened::Running(group) => {
                let hosted = Hosted::new(config, group, leadership.subscribe());
                let (watched, stopping) = (Arc::downgrade(&hosted), self.stopping.clone());
                tokio::spawn(follow_timers(watched, self.starter(), leadership, stopping));
                Replica::Running(hosted)
            }
            Opened::Quarantined(group) => Replica::Quarantined(Arc::new(group)),
        };
        let partition = replica.partition();
        self.replicas.insert(id, replica);
        // It may have changed while the group was started.
        self.set_electable(self.is_electable());
        Ok(partition)
    }

    fn start_pulse(&self) {
        let mut pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(link), None) = (&self.link, &*pulse) {
            let vigil = Vigil::start(&self.replicas, link, &self.electable);
            *pulse = Some((Pulse::start(&self.replicas, link), vigil));
        }
    }

    /// The open groups, in order of their ids.
    #[must_use]
    pub fn partitions(&self) -> Vec<Arc<dyn Partition>> {
        self.replicas.all().iter().map(Replica::partition).collect()
    }

    /// The open group of a partition.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<Arc<dyn Partition>> {
        self.replicas.get(id).map(|replica| replica.partition())
    }

    /// As [`RaftNode::partition`], unless its files were found damaged when it was opened: such a one can be asked
    /// for its status and holds nothing else.
    #[must_use]
    pub fn whole(&self, id: PartitionId) -> Option<Arc<dyn Partition>> {
        let replica = self.replicas.get(id);
        replica.filter(|replica| matches!(replica, Replica::Running(_))).map(|replica| replica.partition())
    }

    /// The replicas in the data directory, open or not; none in memory.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn replicas_on_disk(&self) -> Result<Vec<ReplicaOnDisk>, DataDirError> {
        self.config.directory.as_ref().map_or(Ok(Vec::new()), DataDir::replicas)
    }

    /// Stops a group as [`RaftNode::shutdown`] does; its files stay. False if it was not open.
    pub async fn close_group(&self, id: PartitionId) -> bool {
        let _one = self.opening.lock().await;
        self.close(id).await.unwrap_or(true)
    }

    /// A group whose state is still in use stays, as failed: its files are not free.
    async fn close(&self, id: PartitionId) -> Result<bool, OpenError> {
        let Some(replica) = self.replicas.get(id) else { return Ok(false) };
        if let Replica::Running(hosted) = replica
            && !hosted.close().await
        {
            return Err(OpenError::StillOpen(id.0));
        }
        self.replicas.remove(id);
        Ok(true)
    }

    /// Stops a group and removes its log and state. Only of a replica that is no member any more: it
    /// forgets its votes. Who still holds the [`Partition`] must drop it first.
    ///
    /// # Errors
    /// [`OpenError::StillOpen`], [`OpenError::Directory`] and [`OpenError::Remove`]; done again, it goes on
    /// where it failed.
    pub async fn destroy_group(&self, id: PartitionId) -> Result<(), OpenError> {
        let _one = self.opening.lock().await;
        self.close(id).await?;
        log_store::remove(&*self.config.log, id)
            .await
            .map_err(|source| OpenError::Remove { partition: id.0, source })?;
        if let Some(directory) = &self.config.directory {
            directory.remove_partition(id)?;
        }
        Ok(())
    }

    /// Hands every leadership to a voter that is caught up, where there is one: in the regions that the
    /// group's placement prefers, else the closest to the leader's log. Returns how many are left, after
    /// at most `wait`.
    pub async fn hand_over(&self, wait: Duration) -> usize {
        let groups = self.replicas.all_running();
        let leading: Vec<_> = groups.into_iter().filter(|group| group.claims_leadership()).collect();
        let moves = leading.iter().map(|group| orders::hand_over(group, wait));
        futures::future::join_all(moves).await.into_iter().filter(|moved| !moved).count()
    }

    /// Syncs of the shared log since it was opened.
    #[must_use]
    pub fn log_syncs_total(&self) -> u64 {
        self.config.log.syncs_total()
    }

    /// Lets proposals finish, stops every group, syncs and closes. State files close with the last
    /// [`Partition`] that the caller drops.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        let _one = self.opening.lock().await;
        let all = self.replicas.all();
        let closing = all.iter().map(|replica| async move {
            if let Replica::Running(hosted) = replica {
                hosted.close().await;
            }
        });
        futures::future::join_all(closing).await;
        self.replicas.drain();
    }
}

/// What peers are told of this start. In memory nothing can be put back, and a test says what it counts.
fn start_told(config: &NodeConfig, identity: NodeIdentity) -> u64 {
    if config.directory.is_none() {
        return identity.boots;
    }
    let mut chance = [0_u8; 4];
    config.clock.fill_random(&mut chance);
    start_number(identity.boots, u32::from_le_bytes(chance))
}

fn identify(config: &NodeConfig) -> Result<NodeIdentity, NodeError> {
    let Some(directory) = &config.directory else {
        return Ok(config.identity.unwrap_or(NodeIdentity { id: NodeId(1), boots: 1 }));
    };
    if let Some(peers) = &config.peers {
        let Some((_, found)) = directory.owner()? else {
            return Err(NodeError::NoIdentity(directory.root().to_owned()));
        };
        if let Some(found) = found.filter(|found| *found != peers.cluster) {
            let wanted = peers.cluster.to_string();
            return Err(NodeError::OtherCluster { found: found.to_string(), wanted });
        }
    }
    Ok(directory.count_boot()?)
}
