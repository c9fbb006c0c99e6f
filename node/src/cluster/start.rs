//! `domicile start`: from the data directory to a node that serves, and back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use domicile_iam::execute::Executor;
use domicile_iam::seal::KekSource;
use domicile_iam::service::{Iam, LocalOnly};
use domicile_raft::peer::ClusterId;
use domicile_raft::peer::tls::{PeerHandlers, PeerListener};
use domicile_raft::placement::GroupSettings;
use domicile_raft::{
    Clock, DiskOptions, Incarnation, NodeConfig, NodeInfo, PartitionId, Peers, RaftNode, ReplicaOnDisk, Start,
};
use tokio::task::JoinSet;

use super::catalog::Catalog;
use super::control::Control;
use super::controller::Controller;
use super::directory::Directory;
use super::domain::{self, Domain};
use super::files::Membership;
use super::forward;
use super::join;
use super::join_desk::JoinDesk;
use super::join_secrets::JoinSecrets;
use super::links::Links;
use super::peers::PeerSide;
use super::replicas::{ReplicaError, Replicas};
use super::router::Router;
use super::service::{LocalNode, PeerDoor, chain};
use super::times::Comparison;
use super::{disk_use, follow, readiness, replicas};
use crate::admin::{AdminState, OperatorTokens, token_sha256};
use crate::boot::{self, Services, Serving, Sockets, housekeeper};
use crate::config::Config;
use crate::telemetry::{Metrics, PartitionSource, PeerSource};

/// Below the request timeout, so that the caller hears about the outcome.
const WRITE_DEADLINE: Duration = Duration::from_secs(4);
/// Between two tries to get the directory's key from another node.
const AGAIN: Duration = Duration::from_millis(500);
/// Of the 10 s that a stop may take.
const HAND_OVER: Duration = Duration::from_secs(3);
/// Requests that were here before may go on for this long, from the signal on: each has 5 s.
const DRAIN_MAX: Duration = Duration::from_secs(6);
/// What is not closed by then is left to the next start, which replays the log.
const CLOSE_MAX: Duration = Duration::from_secs(3);
const PEER_GRACE: Duration = Duration::from_millis(500);
/// Partitions that a node is expected to hold; the cache is shared among them.
const PARTITIONS_EXPECTED: u64 = 4;

/// A node that serves.
pub(crate) struct Running {
    serving: Serving,
    replicas: Arc<Replicas>,
    peers: Arc<PeerSide>,
    listener: PeerListener,
    forwarding: Arc<forward::Inbound>,
    raft: Arc<RaftNode>,
    /// Dropped before the groups close: it holds their state.
    iam: Iam,
    local: Arc<LocalNode>,
    /// Dropped first at the end: nothing changes who may lead any more.
    comparing: JoinSet<()>,
}

/// Opens the node in `storage.data_dir` and serves. The sockets come first: a busy port is said before
/// data is touched.
pub(crate) async fn start(mut config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Running> {
    config.limits.drain_timeout = config.limits.drain_timeout.min(DRAIN_MAX);
    let root = config.storage.data_dir.clone();
    let membership = Membership::load(&root)?;
    let (region, zone) = join::place(&config)?;
    membership.check_place(region, zone)?;
    replicas::check_log(&root, membership.node)?;
    let sockets = Sockets::bind(&config.listen).await?;
    let kek: Arc<dyn KekSource> = Arc::new(boot::node_kek(config.kek.as_ref(), &root, clock.as_ref())?);
    let peers = Arc::new(PeerSide::open(&root, &membership, &config.peers, &clock)?);
    let raft = open_raft(&config, &membership, &peers, &clock)?;
    raft.set_peer_policy(peers.policy());

    let (log_entries, here) = (config.storage.log_entries, membership.region.clone());
    let replicas = Replicas::new(raft.clone(), root.clone(), kek, clock.clone(), here, log_entries);
    let (replicas, latest) = (Arc::new(replicas), Arc::<ArcSwap<Catalog>>::default());
    let local = Arc::new(LocalNode::new(replicas.clone(), clock.clone(), latest.clone()));
    let links = link(&raft, &local, &membership, &config);
    let _ = local.links.set(Arc::downgrade(&links));
    raft.set_app_service(Arc::new(PeerDoor(local.clone())));
    let desk = Arc::new(JoinDesk::new(root.clone(), membership.clone()));
    let forwarding = Arc::new(forward::Inbound::default());
    let handlers = PeerHandlers {
        service: raft.peer_service(),
        http: Some(forwarding.clone()),
        join: Some(desk.clone()),
    };
    let listener = peers.peers.listen(&[config.listen.peer], handlers)?;
    // Before the groups: nobody may come to lead with a clock that is wrong.
    let comparing = Comparison { local: local.clone(), links: links.clone(), peers: peers.clone() }.start();

    let directory = open_replicas(&replicas, &local, &peers, &membership).await?;
    let router = Router::new(links.clone(), clock.clone(), latest.clone());
    let origin = join::own_addresses(&config).public;
    let iam = domain::iam(&replicas, directory, Arc::new(router), origin, clock.clone())?;
    let _ = local.domain.set(Arc::new(Domain::new(iam.clone(), replicas.clone())));
    let directory = Directory::new(iam.clone(), raft.clone(), clock.clone(), latest.clone());
    // Who may ask for what is read from it.
    if let Err(reason) = directory.catalog().await {
        tracing::warn!(reason, "the directory cannot be read yet");
    }
    desk.open(directory.clone());
    let control = Arc::new(Control {
        membership: membership.clone(),
        directory: directory.clone(),
        links: links.clone(),
        clock: clock.clone(),
        secrets: JoinSecrets::load(&root, clock.as_ref())?,
    });

    let public_url = public_origin(&config);
    let operators = OperatorTokens::new(iam.clone(), clock.clone());
    let services = Services {
        admin: AdminState {
            fetch: boot::egress(&config.egress)?,
            iam: iam.clone(),
            admin_token_sha256: admin_token(&config, clock.as_ref()),
            operators: operators.clone(),
            public_url: public_url.as_str().into(),
            cluster: control,
            body_bytes_max: usize::try_from(config.limits.body_bytes).unwrap_or(usize::MAX),
            write_deadline: WRITE_DEADLINE.min(config.limits.request_timeout),
        },
        clock: clock.clone(),
        iam: iam.clone(),
        metrics: Arc::new(metrics(&raft, &peers)),
        readiness: readiness::source(local.clone()),
        public_url,
        config,
    };
    let following = forward::Forwarding::new(forward::Outbound {
        iam: iam.clone(),
        raft: raft.clone(),
        catalog: latest,
        peers: peers.peers.clone(),
        region: membership.region.clone(),
        zone: membership.zone.clone(),
        clock: clock.clone(),
        metrics: services.metrics.forward.clone(),
        body_bytes_max: services.admin.body_bytes_max,
    });
    let public = services.public_routes();
    let between_nodes = operators.peer_routes();
    operators.ask_through(following.wrap(public.clone().merge(between_nodes.clone())));
    following.receive(&forwarding, public.clone().merge(services.admin_routes()).merge(between_nodes));
    let mut serving = services.serve(public, sockets, &|routes| following.wrap(routes))?;
    serving.spawn(housekeeper::run(iam.clone()));
    serving.spawn(follow::announce(
        directory.clone(),
        membership.node,
        raft.identity().boots,
        join::own_addresses(&services.config),
    ));
    serving.spawn(follow::trust(directory.clone(), root, membership.cluster.clone(), peers.clone()));
    serving.spawn(disk_use::follow(local.clone()));
    let controller = Controller { links, directory, clock, dead_after: services.config.cluster.dead_after };
    serving.spawn(controller.run());
    Ok(Running { serving, replicas, peers, listener, forwarding, raft, iam, local, comparing })
}

/// What is counted, with the partitions and peers of this node.
fn metrics(raft: &Arc<RaftNode>, peers: &PeerSide) -> Metrics {
    let (raft, peers) = (raft.clone(), peers.peers.clone());
    let partitions: PartitionSource =
        Arc::new(move || raft.partitions().iter().map(|partition| partition.status()).collect());
    let peers: PeerSource = Arc::new(move || peers.counts().into_iter().collect());
    Metrics::new(partitions).with_peers(peers)
}

/// The ways to the other nodes, which are told where this one is.
fn link(
    raft: &Arc<RaftNode>,
    local: &Arc<LocalNode>,
    membership: &Membership,
    config: &Config,
) -> Arc<Links> {
    let own_info = NodeInfo {
        region: membership.region.clone(),
        zone: membership.zone.clone(),
        addresses: [("peer".to_owned(), config.peer_address())].into(),
    };
    Arc::new(Links { raft: raft.clone(), local: local.clone(), own_info: ArcSwap::from_pointee(own_info) })
}

fn public_origin(config: &Config) -> String {
    config.public_origin.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()).unwrap_or_default()
}

/// Without one in the settings no static token opens the admin API: what is compared is nobody's.
fn admin_token(config: &Config, clock: &dyn Clock) -> [u8; 32] {
    if let Some(token) = &config.admin.token {
        return token_sha256(token.expose());
    }
    let mut nobodys = [0_u8; 32];
    clock.fill_random(&mut nobodys);
    nobodys
}

fn open_raft(
    config: &Config,
    membership: &Membership,
    peers: &PeerSide,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<RaftNode>> {
    let mut options = DiskOptions::default();
    options.state.cache_bytes = config.storage.cache_bytes / PARTITIONS_EXPECTED;
    let mut node = NodeConfig::on_disk(&config.storage.data_dir, options, clock.clone())?;
    node.peers =
        Some(Peers { transport: peers.peers.clone(), cluster: ClusterId::new(&membership.cluster)? });
    Ok(Arc::new(RaftNode::open(node)?))
}

/// Opens what lies on the disk; the directory comes from another node if it does not.
async fn open_replicas(
    replicas: &Replicas,
    local: &Arc<LocalNode>,
    peers: &PeerSide,
    membership: &Membership,
) -> anyhow::Result<Arc<Executor>> {
    let found = replicas.raft.replicas_on_disk()?;
    // What was open before is founded by nobody again, whatever became of its log.
    let held = replicas.check_held(&found.iter().map(|replica| replica.partition).collect())?;
    for ReplicaOnDisk { partition, incarnation, start, settings, .. } in found {
        let start = match &start {
            Start::Bootstrap(_) if held.partitions.contains(&partition.0) => Start::Join,
            Start::Bootstrap(_) | Start::Join | Start::JoinAt(_) => start,
        };
        let opened = replicas.open(partition, incarnation, settings, start).await;
        match opened {
            Ok(_) => {}
            Err(error @ ReplicaError::Gone { .. }) => return Err(error.into()),
            Err(error) if partition == PartitionId::DIRECTORY => return Err(error.into()),
            // The others serve on; readiness and the overview name it.
            Err(error) => {
                let reason = chain(error);
                tracing::error!(partition = partition.0, reason, "a replica cannot be opened");
                replicas.note_unopened(partition, reason);
            }
        }
    }
    if let Some(directory) = replicas.executor(PartitionId::DIRECTORY) {
        return Ok(directory);
    }
    let known = peers.known_nodes(membership.node);
    if replicas.key(PartitionId::DIRECTORY)?.is_none() {
        let mut told = String::new();
        while let Err(reason) = local.fetch_key(PartitionId::DIRECTORY, &known).await {
            if told != reason {
                tracing::warn!(reason, "the directory cannot be brought here yet");
                told = reason;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
    // What its log says counts as soon as it is here.
    let settings = directory_settings();
    replicas
        .open(PartitionId::DIRECTORY, Incarnation(1), settings, Start::Join)
        .await
        .context("the directory cannot be opened")
}

/// What the directory is founded with, and opened with before its log is here.
pub(crate) fn directory_settings() -> GroupSettings {
    let placement = super::init::directory_placement();
    GroupSettings { generation: 1, timers: domicile_raft::TimerProfile::Wide, placement }
}

impl Running {
    /// Stops accepting, hands leaderships over, drains, syncs and closes; within 9 s, since every part is
    /// bounded.
    pub(crate) async fn stop(self) {
        self.local.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        self.serving.refuse_new();
        drop(self.comparing);
        // What it gives away is not to come back to it.
        self.raft.set_electable(false);
        let left = self.raft.hand_over(HAND_OVER).await;
        if left > 0 {
            tracing::info!(left, "leaderships that nobody could take over");
        }
        self.serving.stop().await;
        let closing = async {
            self.forwarding.stop().await;
            self.listener.close(PEER_GRACE).await;
            if let Some(domain) = self.local.domain.get() {
                domain.stopping();
            }
            self.replicas.forget_all();
            drop((self.iam, self.local));
            self.raft.shutdown().await;
            self.peers.peers.close(PEER_GRACE).await;
        };
        if tokio::time::timeout(CLOSE_MAX, closing).await.is_err() {
            tracing::warn!("closing took too long; the next start replays the log");
        }
    }
}

/// The id of the node in a data directory.
///
/// # Errors
/// Its files cannot be read, or it holds none.
pub fn node_id(root: &Path) -> anyhow::Result<domicile_raft::NodeId> {
    Ok(Membership::load(root)?.node)
}

/// The domain of a node that is alone: while it is being made.
pub(crate) fn alone(replicas: &Replicas, clock: &Arc<dyn Clock>) -> anyhow::Result<Iam> {
    let directory = replicas.executor(PartitionId::DIRECTORY).context("the directory is not open")?;
    domain::iam(replicas, directory, Arc::new(LocalOnly), None, clock.clone())
}
