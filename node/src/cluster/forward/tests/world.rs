//! Three nodes in one process: real routes, real layers, partitions and links that do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use domicile_iam::ids::{Id as _, RequestId, TenantId};
use domicile_iam::model::Edge;
use domicile_iam::query::QueryError;
use domicile_raft::peer::PeerIdentity;
use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use domicile_raft::{
    BoxFuture, Clock, Consistency, Incarnation, Leadership, NodeId, Outcome as Proposed, Partition,
    PartitionId, PartitionStatus, ReadError, Timestamp,
};
use domicile_storage::{Engine, MemoryEngine};
use tokio::sync::watch;

use super::super::channel::{Channel, SendError};
use super::super::forwarder::Forwarder;
use super::super::inbound;
use super::super::layer::{Forwarding, call};
use super::super::places::{Learnt, Places, Target};
use super::super::receive::Receiving;
use crate::problem::Problem;
use crate::serve::{RequestScope, standing};
use crate::telemetry::{ForwardMetrics, Trace};

pub(super) const HOME: PartitionId = PartitionId(1);
pub(super) const ACME: &str = "acme";

/// Time as the test's runtime has it.
pub(super) struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

/// What one node's replica says of itself.
pub(super) struct Replica {
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) leader: Mutex<Option<NodeId>>,
    /// `None`: it can prove nothing.
    pub(super) staleness_ms: Mutex<Option<u64>>,
}

impl Replica {
    pub(super) fn new(leads: bool, leader: Option<NodeId>) -> Arc<Self> {
        let (leadership, _) = watch::channel(Leadership { term: 1, leads });
        Arc::new(Self { leadership, leader: Mutex::new(leader), staleness_ms: Mutex::new(Some(10)) })
    }

    pub(super) fn leads(&self, leads: bool, leader: Option<NodeId>) {
        self.leadership.send_replace(Leadership { term: 2, leads });
        *self.leader.lock().unwrap() = leader;
    }

    pub(super) fn proves(&self, staleness_ms: Option<u64>) {
        *self.staleness_ms.lock().unwrap() = staleness_ms;
    }
}

impl Partition for Replica {
    fn id(&self) -> PartitionId {
        HOME
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(1)
    }

    fn propose(&self, _body: Vec<u8>, _deadline: Duration) -> BoxFuture<'_, Proposed> {
        Box::pin(async { Proposed::NotLeader { leader: None } })
    }

    fn read(&self, consistency: Consistency, _deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        let staleness = *self.staleness_ms.lock().unwrap();
        Box::pin(async move {
            match (consistency, staleness) {
                (Consistency::BoundedMs(bound), Some(ms)) if ms <= bound => Ok(1),
                (Consistency::Local, _) => Ok(1),
                (_, _) => Err(ReadError::Timeout),
            }
        })
    }

    fn state(&self) -> Arc<dyn Engine> {
        Arc::new(MemoryEngine::new())
    }

    fn applied(&self) -> u64 {
        1
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn status(&self) -> PartitionStatus {
        PartitionStatus { leader: *self.leader.lock().unwrap(), ..PartitionStatus::new(HOME) }
    }

    fn staleness_ms(&self) -> Option<u64> {
        *self.staleness_ms.lock().unwrap()
    }
}

pub(super) struct World {
    pub(super) edge: Edge,
    /// Whether the directory of this node knows the tenant before it is brought up to date.
    pub(super) known_at_once: bool,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) region: &'static str,
    pub(super) replica: Option<Arc<Replica>>,
    pub(super) others: Vec<NodeId>,
    pub(super) world: Arc<World>,
    pub(super) refreshed: AtomicU64,
}

impl Places for Node {
    fn own(&self) -> NodeId {
        self.id
    }

    fn own_region(&self) -> &str {
        self.region
    }

    fn target(&self, slug: &str) -> Result<Option<Target>, QueryError> {
        let known = self.world.known_at_once || self.refreshed.load(Ordering::SeqCst) > 0;
        Ok((slug == ACME && known).then(|| Target {
            tenant: TenantId::from_bytes([1; 16]),
            home: HOME,
            epoch: 1,
            edge: self.world.edge,
            placement: self.placement(HOME),
            home_origin: Some("https://eu.example".to_owned()),
        }))
    }

    fn refresh(&self) -> BoxFuture<'_, bool> {
        self.refreshed.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { true })
    }

    fn replica(&self, _partition: PartitionId) -> Option<Arc<dyn Partition>> {
        self.replica.clone().map(|replica| replica as Arc<dyn Partition>)
    }

    fn holders(&self, _partition: PartitionId) -> Vec<NodeId> {
        self.others.clone()
    }

    fn placement(&self, _partition: PartitionId) -> Option<Placement> {
        Some(Placement {
            regions: Regions::Only(BTreeSet::from(["eu".to_owned()])),
            survive: SurvivalGoal::Zone,
            preferred_leader_regions: Vec::new(),
            read_replicas: false,
        })
    }

    fn bound_ms(&self, _tenant: TenantId, profiles: bool) -> BoxFuture<'_, u64> {
        Box::pin(async move { if profiles { 50 } else { 100 } })
    }
}

/// What a link does with the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody is there.
    Unreachable,
    /// The request arrives, the answer does not.
    LosesAnswer,
    /// The head of the answer comes after so long.
    HoldsItsAnswer(Duration),
    /// The head of the answer comes after so long, its body after as long again.
    SlowAnswer(Duration),
}

#[derive(Default)]
pub(super) struct Net {
    /// Routes of each node as others reach them.
    pub(super) nodes: OnceLock<BTreeMap<NodeId, Arc<Router>>>,
    pub(super) faults: Mutex<BTreeMap<NodeId, Fault>>,
    pub(super) sent: Mutex<Vec<NodeId>>,
}

pub(super) struct Link {
    pub(super) net: Arc<Net>,
    pub(super) from: PeerIdentity,
}

impl Channel for Link {
    fn send(
        &self,
        to: NodeId,
        request: axum::http::Request<Bytes>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Response<Body>, SendError>> {
        let sending = async move {
            self.net.sent.lock().unwrap().push(to);
            let fault = self.net.faults.lock().unwrap().get(&to).copied();
            if fault == Some(Fault::Unreachable) {
                return Err(SendError::NotSent);
            }
            let routes = self.net.nodes.get().unwrap().get(&to).cloned();
            let answer = inbound::answer(routes, self.from.clone(), request.map(Body::from)).await;
            if fault == Some(Fault::LosesAnswer) {
                self.net.faults.lock().unwrap().remove(&to);
                return Err(SendError::Lost);
            }
            match fault {
                Some(Fault::HoldsItsAnswer(held)) => {
                    tokio::time::sleep(held).await;
                    Ok(answer)
                }
                Some(Fault::SlowAnswer(each)) => {
                    tokio::time::sleep(each).await;
                    let (head, body) = answer.into_parts();
                    Ok(Response::from_parts(head, Body::new(Late(Box::pin(tokio::time::sleep(each)), body))))
                }
                Some(Fault::Unreachable | Fault::LosesAnswer) | None => Ok(answer),
            }
        };
        Box::pin(async move { tokio::time::timeout(deadline, sending).await.unwrap_or(Err(SendError::Lost)) })
    }
}

/// A body that begins after a while.
struct Late(std::pin::Pin<Box<tokio::time::Sleep>>, Body);

impl hyper::body::Body for Late {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        std::task::ready!(self.0.as_mut().poll(context));
        std::pin::Pin::new(&mut self.1).poll_frame(context)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::Body::size_hint(&self.1)
    }
}

/// Counts what handlers did, by node.
pub(super) type Done = Arc<Mutex<Vec<(NodeId, String)>>>;

/// Handlers that say who answered, for whom, and do what a header tells them.
pub(super) fn routes(own: NodeId, done: &Done) -> Router {
    let handler = {
        let done = done.clone();
        move |Path(_): Path<String>, scope: RequestScope, headers: HeaderMap, body: Bytes| {
            let done = done.clone();
            async move {
                let told = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
                if told("deposed-at").is_some_and(|node| node == own.0.to_string()) {
                    standing::elsewhere(None);
                    return Problem::unavailable(1).into_response();
                }
                done.lock().unwrap().push((own, String::from_utf8_lossy(&body).into_owned()));
                standing::wrote();
                let internal = headers.keys().any(|name| name.as_str().starts_with("domicile-peer"));
                format!("{} {} {internal}", own.0, scope.address).into_response()
            }
        }
    };
    let documents = |Path(_): Path<String>| async { "documents" };
    let traced = |request: Request| async move {
        standing::wrote();
        request.extensions().get::<Trace>().map_or("none".to_owned(), ToString::to_string)
    };
    let left = |scope: RequestScope| async move { scope.deadline.as_millis().to_string() };
    Router::new()
        .route("/v1/tenants", get(std::future::pending::<&'static str>).post(left))
        .route("/v1/join-tokens", post(std::future::pending::<&'static str>))
        .route("/v1/tenants/{slug}/clients", post(left))
        .route("/t/{tenant}/oauth2/jwks", get(documents))
        .route("/t/{tenant}/oauth2/token", post(handler.clone()))
        .route("/t/{tenant}/oauth2/introspect", post(handler.clone()))
        .route("/t/{tenant}/oauth2/userinfo", post(handler.clone()))
        .route("/t/{tenant}/oauth2/revoke", post(traced))
        .route("/t/{tenant}/login", post(handler.clone()))
        .route("/v1/partitions/{id}/transfer-leader", post(handler.clone()))
        .route("/v1/tenants/{slug}", delete(handler.clone()))
        .route("/v1/tenants/{slug}/users", get(handler.clone()).post(handler))
}

pub(super) struct Cluster {
    pub(super) routes: BTreeMap<NodeId, Router>,
    pub(super) replicas: BTreeMap<NodeId, Arc<Replica>>,
    pub(super) nodes: BTreeMap<NodeId, Arc<Node>>,
    pub(super) net: Arc<Net>,
    pub(super) done: Done,
    pub(super) clock: Arc<dyn Clock>,
}

pub(super) const N1: NodeId = NodeId(1);
pub(super) const N2: NodeId = NodeId(2);
pub(super) const N3: NodeId = NodeId(3);

/// Nodes 1 (leads) and 2 in `eu` with replicas, node 3 in `us` without.
pub(super) fn cluster_of(world: World) -> Cluster {
    let (world, net, done) = (Arc::new(world), Arc::<Net>::default(), Done::default());
    let replicas = BTreeMap::from([(N1, Replica::new(true, Some(N1))), (N2, Replica::new(false, Some(N1)))]);
    let clock: Arc<dyn Clock> = Arc::new(TestClock(tokio::time::Instant::now()));
    let (mut outer, mut inner, mut nodes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (id, region) in [(N1, "eu"), (N2, "eu"), (N3, "us")] {
        let others = [N1, N2].into_iter().filter(|other| *other != id).collect();
        let node = Arc::new(Node {
            id,
            region,
            replica: replicas.get(&id).cloned(),
            others,
            world: world.clone(),
            refreshed: AtomicU64::new(0),
        });
        let from = PeerIdentity { node: id, region: region.to_owned(), zone: "a".to_owned() };
        let forwarder = Arc::new(Forwarder {
            places: node.clone(),
            channel: Arc::new(Link { net: net.clone(), from }),
            learnt: Learnt::new(clock.clone()),
            clock: clock.clone(),
            metrics: ForwardMetrics::default(),
            body_bytes_max: 64,
        });
        outer.insert(id, routes(id, &done).layer(Forwarding(forwarder.clone())));
        inner.insert(id, Arc::new(routes(id, &done).layer(Receiving(forwarder))));
        nodes.insert(id, node);
    }
    assert!(net.nodes.set(inner).is_ok());
    Cluster { routes: outer, replicas, nodes, net, done, clock }
}

pub(super) fn cluster() -> Cluster {
    cluster_of(World { edge: Edge::Any, known_at_once: true })
}

pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> Request {
    let mut request = Request::builder().method(method).uri(path).header("host", "id.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body)).unwrap();
    let address: IpAddr = "192.0.2.9".parse().unwrap();
    let scope = RequestScope {
        id: RequestId::from_bytes([9; 16]),
        address,
        secure: false,
        arrived: Duration::ZERO,
        deadline: Duration::from_secs(5),
    };
    request.extensions_mut().insert(scope);
    request
}

impl Cluster {
    /// Sends a request that comes now.
    pub(super) async fn ask(&self, node: NodeId, request: Request) -> (StatusCode, HeaderMap, String) {
        self.ask_late(node, request, Duration::ZERO).await
    }

    /// Sends a request that came so long ago: what is in front of forwarding took its time.
    pub(super) async fn ask_late(
        &self,
        node: NodeId,
        mut request: Request,
        late: Duration,
    ) -> (StatusCode, HeaderMap, String) {
        if let Some(scope) = request.extensions_mut().get_mut::<RequestScope>() {
            scope.arrived = self.clock.monotonic().saturating_sub(late);
        }
        let response = call(self.routes[&node].clone(), request).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(super) async fn says(&self, node: NodeId, request: Request) -> String {
        let (status, headers, body) = self.ask(node, request).await;
        assert!(!headers.keys().any(|name| name.as_str().starts_with("domicile-peer")), "{headers:?}");
        format!("{} {body}", status.as_u16())
    }

    pub(super) fn fault(&self, node: NodeId, fault: Fault) {
        self.net.faults.lock().unwrap().insert(node, fault);
    }

    pub(super) fn sent(&self) -> Vec<NodeId> {
        std::mem::take(&mut *self.net.sent.lock().unwrap())
    }

    pub(super) fn done(&self) -> usize {
        self.done.lock().unwrap().len()
    }
}
