//! Consensus and storage without users: one process of three that keep what they are given, over the
//! node's own transport, log, state and cipher, behind HTTP/2. The peer of an etcd member.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::serve::ListenerExt as _;
use domicile_iam::seal::{PartitionCipher, PartitionKey};
use domicile_raft::peer::tls::{
    AddressBook, LIFETIME_DEFAULT, NodeCertificate, PeerAddress, PeerHandlers, RegionAuthority, TlsOptions,
    TlsPeers, TlsPeersConfig, TrustBundle, TrustStore,
};
use domicile_raft::peer::{ClusterId, PeerIdentity};
use domicile_raft::placement::GroupSettings;
use domicile_raft::testing::ManualClock;
use domicile_raft::{
    ApplyFault, Change, Clock, Committed, Consistency, DataDir, DiskOptions, GroupConfig, Incarnation,
    LogPosition, NodeConfig, NodeId, NodeInfo, Order, OrderError, Outcome, Partition, PartitionId,
    PartitionStatus, Peers, RaftNode, Retention, Start, StateMachine, SystemClock, TimerProfile, Timestamp,
    Verdict,
};
use domicile_storage::Transaction;

pub const CLUSTER: &str = "bench";
pub const REGION: &str = "eu-central";
const DEADLINE: Duration = Duration::from_secs(5);
/// The group that keeps values; further ones are idle.
const FIRST: PartitionId = PartitionId(1);

/// Stores a value under a key.
struct Keep;

impl StateMachine for Keep {
    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        command: Committed<'_>,
    ) -> Result<Verdict, ApplyFault> {
        let (key, value) = command
            .body
            .split_first()
            .and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)))
            .ok_or_else(|| ApplyFault::Invalid("no key".to_owned()))?;
        transaction.put([&[1], key].concat(), value.to_vec());
        Ok(Verdict::Applied(Vec::new()))
    }
}

struct Server {
    node: RaftNode,
    first: tokio::sync::OnceCell<Arc<dyn Partition>>,
    own: u64,
    clock: Arc<dyn Clock>,
    _peers: Arc<TlsPeers>,
}

/// Serves until killed: node `own` of those at `peers`, clients at `address`.
pub fn serve(own: u64, root: &Path, address: &str, peers: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Arc::new(open(own, root, peers));
        let app = Router::new()
            .route("/groups/{count}/{how}", post(open_groups))
            .route("/members", post(spread))
            .route("/kv/{key}", put(store))
            .route("/kv/{how}/{key}", get(fetch))
            .route("/status", get(status))
            .with_state(server);
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, app).await.unwrap();
    });
}

fn open(own: u64, root: &Path, peers: &[String]) -> Server {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let data = DataDir::open(&root.join(own.to_string())).unwrap();
    let cluster = ClusterId::new(CLUSTER).unwrap();
    data.adopt(NodeId(own), &cluster).unwrap();
    drop(data);
    let authority = RegionAuthority::load(&root.join("ca.pem"), clock.now()).unwrap();
    let mut trust = TrustBundle::new(CLUSTER);
    trust.insert(authority.certificate().clone()).unwrap();
    let book = AddressBook::default();
    for (id, address) in (1..).zip(peers) {
        let address = PeerAddress { addresses: vec![address.clone()], region: REGION.to_owned() };
        book.set(NodeId(id), address);
    }
    let identity = PeerIdentity { node: NodeId(own), region: REGION.to_owned(), zone: format!("z{own}") };
    let certificate =
        NodeCertificate::issue(Arc::new(authority), identity, LIFETIME_DEFAULT, Arc::clone(&clock)).unwrap();
    let transport = Arc::new(
        TlsPeers::new(TlsPeersConfig {
            certificate,
            trust: Arc::new(TrustStore::new(trust)),
            book: Arc::new(book),
            clock: Arc::clone(&clock),
            options: TlsOptions::default(),
        })
        .unwrap(),
    );
    let mut config =
        NodeConfig::on_disk(&root.join(own.to_string()), DiskOptions::default(), Arc::clone(&clock)).unwrap();
    config.peers = Some(Peers { transport: transport.clone(), cluster });
    let node = RaftNode::open(config).unwrap();
    let at: SocketAddr = peers[usize::try_from(own - 1).unwrap()].parse().unwrap();
    let handlers = PeerHandlers { service: node.peer_service(), http: None, join: None };
    // It serves as long as it is held: to the end of the process.
    std::mem::forget(transport.listen(&[at], handlers).unwrap());
    Server { node, first: tokio::sync::OnceCell::new(), own, clock, _peers: transport }
}

fn info(id: u64) -> NodeInfo {
    NodeInfo { region: REGION.to_owned(), zone: format!("z{id}"), ..NodeInfo::default() }
}

/// Opens the groups up to `count` that are not open yet.
async fn open_groups(State(server): State<Arc<Server>>, Segment((count, how)): Segment<(u64, String)>) {
    let opened = server.node.partitions().len() as u64;
    for id in opened + 1..=count {
        let start = if how == "bootstrap" { Start::Bootstrap(info(server.own)) } else { Start::Join };
        // All nodes must come to the same key, and this one protects nothing.
        let key = PartitionKey::generate(PartitionId(id), &ManualClock::new(Timestamp(0), id));
        let group = GroupConfig {
            partition: PartitionId(id),
            incarnation: Incarnation(1),
            cipher: Arc::new(PartitionCipher::new(key, Vec::new(), Arc::clone(&server.clock))),
            state_machine: Arc::new(Keep),
            settings: GroupSettings::anywhere(TimerProfile::Zone),
            retention: Retention::default(),
            start,
        };
        let partition = server.node.open_group(group).await.unwrap();
        if id == FIRST.0 {
            assert!(server.first.set(partition).is_ok());
        }
    }
}

/// Makes nodes 1 to 3 the voters of every group that this one leads. What does not go well now is left
/// for the next time.
async fn spread(State(server): State<Arc<Server>>) {
    for partition in server.node.partitions() {
        let status = partition.status();
        if partition.leadership().borrow().leads && !is_whole(&status) {
            let done = spread_one(&server, &partition, &status).await;
            if let Err(error) = done {
                eprintln!("partition {}: {error}", partition.id().0);
            }
        }
    }
}

fn is_whole(status: &PartitionStatus) -> bool {
    status.leader.is_some() && status.voters.len() == 3 && !status.joint
}

async fn spread_one(
    server: &Server,
    partition: &Arc<dyn Partition>,
    status: &PartitionStatus,
) -> Result<(), OrderError> {
    if status.joint {
        return order(server, partition, |expected| Change::FinishJoint { expected }).await;
    }
    for id in 1..=3 {
        if !status.members.iter().any(|member| member.node == NodeId(id)) {
            let add = |expected| Change::AddLearner { expected, node: NodeId(id), info: info(id) };
            order(server, partition, add).await?;
        }
    }
    let voters: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
    order(server, partition, |expected| Change::SetVoters { expected, voters }).await
}

async fn order(
    server: &Server,
    partition: &Arc<dyn Partition>,
    change: impl FnOnce(Option<LogPosition>) -> Change,
) -> Result<(), OrderError> {
    let status = partition.status();
    let generation = status.settings.map_or(0, |settings| settings.generation);
    let change = change(status.membership);
    let order = Order { partition: partition.id(), incarnation: Incarnation(1), generation, change };
    server.node.order(NodeId(server.own), order, DEADLINE).await.map(drop)
}

async fn store(
    State(server): State<Arc<Server>>,
    Segment(key): Segment<String>,
    value: Bytes,
) -> Result<(), (StatusCode, String)> {
    let length = u8::try_from(key.len()).map_err(|_| (StatusCode::BAD_REQUEST, String::new()))?;
    let body = [&[length], key.as_bytes(), &value].concat();
    match server.first.get().unwrap().propose(body, DEADLINE).await {
        Outcome::Applied { .. } => Ok(()),
        other @ (Outcome::Conflict { .. }
        | Outcome::NotLeader { .. }
        | Outcome::Unknown(_)
        | Outcome::Overloaded(_)) => Err((StatusCode::SERVICE_UNAVAILABLE, format!("{other:?}"))),
    }
}

async fn fetch(
    State(server): State<Arc<Server>>,
    Segment((how, key)): Segment<(String, String)>,
) -> Result<Vec<u8>, (StatusCode, String)> {
    let partition = server.first.get().unwrap();
    let consistency =
        if how == "linearizable" { Consistency::Linearizable } else { Consistency::BoundedMs(5_000) };
    let unread = |text: String| (StatusCode::SERVICE_UNAVAILABLE, text);
    partition.read(consistency, DEADLINE).await.map_err(|error| unread(error.to_string()))?;
    let found = partition.state().get(&[&[1], key.as_bytes()].concat());
    found.map_err(|error| unread(error.to_string()))?.ok_or((StatusCode::NOT_FOUND, key))
}

/// Whether it leads the first group, and how many groups are as they should be.
async fn status(State(server): State<Arc<Server>>) -> String {
    let partitions = server.node.partitions();
    let leads = partitions.first().is_some_and(|first| first.leadership().borrow().leads);
    let whole = partitions.iter().filter(|one| is_whole(&one.status())).count();
    format!("{leads} {whole}")
}
