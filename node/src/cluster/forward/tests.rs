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
use axum::routing::{get, post};
use domicile_iam::ids::{Id as _, RequestId, TenantId};
use domicile_iam::model::Edge;
use domicile_iam::query::QueryError;
use domicile_raft::peer::PeerIdentity;
use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use domicile_raft::{
    BoxFuture, Clock, Consistency, Incarnation, Leadership, NodeId, Outcome as Proposed, Partition,
    PartitionId, PartitionStatus, ReadError, SystemClock,
};
use domicile_storage::{Engine, MemoryEngine};
use tokio::sync::watch;

use super::channel::{Channel, SendError};
use super::forwarder::Forwarder;
use super::inbound;
use super::layer::{Forwarding, call};
use super::places::{Learnt, Places, Target};
use super::receive::Receiving;
use crate::problem::Problem;
use crate::serve::{RequestScope, standing};
use crate::telemetry::ForwardMetrics;

const HOME: PartitionId = PartitionId(1);
const ACME: &str = "acme";

/// What one node's replica says of itself.
struct Replica {
    leadership: watch::Sender<Leadership>,
    leader: Mutex<Option<NodeId>>,
    /// `None`: it can prove nothing.
    staleness_ms: Mutex<Option<u64>>,
}

impl Replica {
    fn new(leads: bool, leader: Option<NodeId>) -> Arc<Self> {
        let (leadership, _) = watch::channel(Leadership { term: 1, leads });
        Arc::new(Self { leadership, leader: Mutex::new(leader), staleness_ms: Mutex::new(Some(10)) })
    }

    fn leads(&self, leads: bool, leader: Option<NodeId>) {
        self.leadership.send_replace(Leadership { term: 2, leads });
        *self.leader.lock().unwrap() = leader;
    }

    fn proves(&self, staleness_ms: Option<u64>) {
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

struct World {
    edge: Edge,
    /// Whether the directory of this node knows the tenant before it is brought up to date.
    known_at_once: bool,
}

struct Node {
    id: NodeId,
    region: &'static str,
    replica: Option<Arc<Replica>>,
    others: Vec<NodeId>,
    world: Arc<World>,
    refreshed: AtomicU64,
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

    fn bound_ms(&self, _tenant: TenantId) -> BoxFuture<'_, u64> {
        Box::pin(async { 100 })
    }
}

/// What a link does with the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nobody is there.
    Unreachable,
    /// The request arrives, the answer does not.
    LosesAnswer,
}

#[derive(Default)]
struct Net {
    /// Routes of each node as others reach them.
    nodes: OnceLock<BTreeMap<NodeId, Arc<Router>>>,
    faults: Mutex<BTreeMap<NodeId, Fault>>,
    sent: Mutex<Vec<NodeId>>,
}

struct Link {
    net: Arc<Net>,
    from: PeerIdentity,
}

impl Channel for Link {
    fn send(
        &self,
        to: NodeId,
        request: axum::http::Request<Bytes>,
        _deadline: Duration,
    ) -> BoxFuture<'_, Result<Response<Body>, SendError>> {
        Box::pin(async move {
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
            Ok(answer)
        })
    }
}

/// Counts what handlers did, by node.
type Done = Arc<Mutex<Vec<(NodeId, String)>>>;

/// Handlers that say who answered, for whom, and do what a header tells them.
fn routes(own: NodeId, done: &Done) -> Router {
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
    Router::new()
        .route("/t/{tenant}/oauth2/jwks", get(documents))
        .route("/t/{tenant}/oauth2/token", post(handler.clone()))
        .route("/t/{tenant}/oauth2/introspect", post(handler.clone()))
        .route("/t/{tenant}/login", post(handler.clone()))
        .route("/v1/tenants/{slug}/users", get(handler.clone()).post(handler))
}

struct Cluster {
    routes: BTreeMap<NodeId, Router>,
    replicas: BTreeMap<NodeId, Arc<Replica>>,
    nodes: BTreeMap<NodeId, Arc<Node>>,
    net: Arc<Net>,
    done: Done,
}

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

/// Nodes 1 (leads) and 2 in `eu` with replicas, node 3 in `us` without.
fn cluster_of(world: World) -> Cluster {
    let (world, net, done) = (Arc::new(world), Arc::<Net>::default(), Done::default());
    let replicas = BTreeMap::from([(N1, Replica::new(true, Some(N1))), (N2, Replica::new(false, Some(N1)))]);
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
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let from = PeerIdentity { node: id, region: region.to_owned(), zone: "a".to_owned() };
        let forwarder = Arc::new(Forwarder {
            places: node.clone(),
            channel: Arc::new(Link { net: net.clone(), from }),
            learnt: Learnt::new(clock.clone()),
            clock,
            metrics: ForwardMetrics::default(),
            body_bytes_max: 64,
        });
        outer.insert(id, routes(id, &done).layer(Forwarding(forwarder.clone())));
        inner.insert(id, Arc::new(routes(id, &done).layer(Receiving(forwarder))));
        nodes.insert(id, node);
    }
    assert!(net.nodes.set(inner).is_ok());
    Cluster { routes: outer, replicas, nodes, net, done }
}

fn cluster() -> Cluster {
    cluster_of(World { edge: Edge::Any, known_at_once: true })
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &'static str) -> Request {
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
        deadline: Duration::from_secs(5),
    };
    request.extensions_mut().insert(scope);
    request
}

impl Cluster {
    async fn ask(&self, node: NodeId, request: Request) -> (StatusCode, HeaderMap, String) {
        let response = call(self.routes[&node].clone(), request).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn says(&self, node: NodeId, request: Request) -> String {
        let (status, headers, body) = self.ask(node, request).await;
        assert!(!headers.keys().any(|name| name.as_str().starts_with("domicile-peer")), "{headers:?}");
        format!("{} {body}", status.as_u16())
    }

    fn fault(&self, node: NodeId, fault: Fault) {
        self.net.faults.lock().unwrap().insert(node, fault);
    }

    fn sent(&self) -> Vec<NodeId> {
        std::mem::take(&mut *self.net.sent.lock().unwrap())
    }

    fn done(&self) -> usize {
        self.done.lock().unwrap().len()
    }
}

fn token(body: &'static str) -> Request {
    request("POST", "/t/acme/oauth2/token", &[], body)
}

fn users(headers: &[(&str, &str)]) -> Request {
    request("POST", "/v1/tenants/acme/users", headers, "user")
}

#[tokio::test]
async fn a_write_is_answered_by_the_leader_whichever_node_is_asked() {
    let cluster = cluster();
    for node in [N1, N2, N3] {
        assert_eq!(cluster.says(node, token("code")).await, "200 1 192.0.2.9 false");
    }
    assert_eq!(cluster.sent(), [N1, N1]);
    assert!(cluster.done.lock().unwrap().iter().all(|(_, body)| body == "code"));
}

#[tokio::test]
async fn documents_come_from_the_node_that_is_asked() {
    let cluster = cluster();
    for node in [N1, N2, N3] {
        assert_eq!(cluster.says(node, request("GET", "/t/acme/oauth2/jwks", &[], "")).await, "200 documents");
    }
    assert_eq!(cluster.sent(), []);
}

#[tokio::test]
async fn a_bounded_read_is_answered_by_the_replica_that_can_show_its_staleness() {
    let cluster = cluster();
    let introspect = || request("POST", "/t/acme/oauth2/introspect", &[], "token");
    assert_eq!(cluster.says(N2, introspect()).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), []);
    cluster.replicas[&N2].proves(Some(101));
    assert_eq!(cluster.says(N2, introspect()).await, "200 1 192.0.2.9 false");
    cluster.replicas[&N1].proves(None);
    cluster.replicas[&N2].proves(Some(100));
    assert_eq!(cluster.says(N3, introspect()).await, "200 2 192.0.2.9 false");
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_everywhere_a_read_is_refused_within_five_seconds() {
    let cluster = cluster();
    cluster.replicas[&N1].proves(Some(101));
    cluster.replicas[&N2].proves(None);
    let (status, headers, body) =
        cluster.ask(N2, request("POST", "/t/acme/oauth2/introspect", &[], "token")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["retry-after"], "1");
    assert!(body.contains("\"partition\":1") && body.contains("temporarily_unavailable"), "{body}");
    assert_eq!(cluster.done(), 0);
}

#[tokio::test]
async fn a_new_leader_is_followed_from_the_old_one_and_remembered() {
    let cluster = cluster();
    assert_eq!(cluster.says(N3, token("a")).await, "200 1 192.0.2.9 false");
    cluster.replicas[&N1].leads(false, Some(N2));
    cluster.replicas[&N2].leads(true, Some(N2));
    cluster.sent();
    assert_eq!(cluster.says(N3, token("b")).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), [N1, N2]);
    assert_eq!(cluster.says(N3, token("c")).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), [N2]);
    assert_eq!(cluster.done(), 3);
}

#[tokio::test]
async fn leadership_lost_before_anything_is_done_is_followed() {
    let cluster = cluster();
    let deposed = request("POST", "/t/acme/oauth2/token", &[("deposed-at", "1")], "code");
    cluster.replicas[&N2].leads(true, Some(N2));
    assert_eq!(cluster.says(N1, deposed).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.done.lock().unwrap().as_slice(), [(N2, "code".to_owned())]);
}

#[tokio::test]
async fn an_election_shows_as_latency() {
    let cluster = cluster();
    cluster.replicas[&N1].leads(false, None);
    cluster.replicas[&N2].leads(false, None);
    let elected = async {
        tokio::task::yield_now().await;
        while cluster.net.sent.lock().unwrap().len() < 4 {
            tokio::task::yield_now().await;
        }
        cluster.replicas[&N2].leads(true, Some(N2));
    };
    let (answer, ()) = tokio::join!(cluster.says(N3, token("code")), elected);
    assert_eq!(answer, "200 2 192.0.2.9 false");
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_a_write_is_refused_and_nothing_was_done() {
    let cluster = cluster();
    cluster.replicas[&N1].leads(false, None);
    for node in [N1, N2, N3] {
        let (status, _, body) = cluster.ask(node, users(&[])).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("problem:unavailable") && body.contains("nothing was done"), "{body}");
    }
    assert_eq!(cluster.done(), 0);
}

#[tokio::test]
async fn a_node_that_is_not_reached_is_passed_over() {
    let cluster = cluster();
    cluster.fault(N1, Fault::Unreachable);
    cluster.replicas[&N2].leads(true, Some(N2));
    assert_eq!(cluster.says(N3, token("code")).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), [N1, N2]);
    assert_eq!(cluster.says(N3, token("code")).await, "200 2 192.0.2.9 false");
}

#[tokio::test]
async fn a_lost_answer_of_a_write_without_a_key_is_unknown_and_done_once() {
    let cluster = cluster();
    for request in [token("code"), users(&[])] {
        cluster.fault(N1, Fault::LosesAnswer);
        let answer = cluster.says(N3, request).await;
        assert!(answer.starts_with("503") && answer.contains("outcome-unknown"), "{answer}");
    }
    assert_eq!(cluster.done(), 2);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_where_that_is_safe() {
    let cluster = cluster();
    for request in [
        users(&[("idempotency-key", "once")]),
        request("GET", "/v1/tenants/acme/users", &[], ""),
        request("POST", "/t/acme/login", &[], "form"),
        request("POST", "/t/acme/oauth2/introspect", &[], "token"),
    ] {
        cluster.fault(N1, Fault::LosesAnswer);
        cluster.fault(N2, Fault::LosesAnswer);
        assert!(cluster.says(N3, request).await.starts_with("200 "));
    }
}

#[tokio::test]
async fn what_comes_from_another_node_goes_no_further() {
    let cluster = cluster();
    cluster.replicas[&N1].leads(false, Some(N3));
    cluster.replicas[&N2].leads(false, Some(N1));
    let forwarded = tokio::time::timeout(Duration::from_millis(300), cluster.says(N3, token("code"))).await;
    assert!(forwarded.is_err(), "node 3 goes on looking");
    // Each request is one message: nobody passed one on.
    let sent = cluster.sent();
    assert!(sent.len() >= 2 && sent.windows(2).all(|pair| pair[0] != pair[1]), "{sent:?}");
    assert_eq!(cluster.done(), 0);
}

#[tokio::test]
async fn an_envelope_from_outside_is_not_believed() {
    let cluster = cluster();
    let mut headers = HeaderMap::new();
    let envelope = super::envelope::Envelope {
        id: RequestId::from_bytes([1; 16]),
        address: "203.0.113.1".parse().unwrap(),
        secure: true,
        deadline_ms: 60_000,
        home: PartitionId(7),
        epoch: 9,
    };
    envelope.put(&mut headers);
    for node in [N1, N3] {
        let mut forged = token("code");
        forged.headers_mut().extend(headers.clone());
        assert_eq!(cluster.says(node, forged).await, "200 1 192.0.2.9 false");
    }
    // And without one, nothing is answered on the connections between nodes.
    let routes = cluster.net.nodes.get().unwrap().get(&N1).cloned();
    let from = PeerIdentity { node: N3, region: "us".to_owned(), zone: "a".to_owned() };
    let response = inbound::answer(routes, from, token("code")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cluster.done(), 2);
}

#[tokio::test]
async fn outside_the_placement_only_documents_are_served() {
    let cluster = cluster_of(World { edge: Edge::Placement, known_at_once: true });
    assert_eq!(cluster.says(N3, request("GET", "/t/acme/oauth2/jwks", &[], "")).await, "200 documents");
    let (status, headers, body) = cluster.ask(N3, token("code")).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(headers["link"], "<https://eu.example/t/acme/oauth2/token>; rel=\"alternate\"");
    assert!(body.contains("\"home_origin\":\"https://eu.example\""), "{body}");
    assert_eq!(cluster.says(N2, token("code")).await, "200 1 192.0.2.9 false");
    assert_eq!((cluster.sent(), cluster.done()), (vec![N1], 1));
}

#[tokio::test]
async fn a_tenant_younger_than_this_nodes_directory_is_found() {
    let cluster = cluster_of(World { edge: Edge::Any, known_at_once: false });
    assert_eq!(cluster.says(N3, token("code")).await, "200 1 192.0.2.9 false");
    let looked = |node| cluster.nodes[&node].refreshed.load(Ordering::SeqCst);
    assert_eq!((looked(N3), looked(N1)), (1, 1));
    let unknown = request("POST", "/t/other/oauth2/token", &[], "code");
    assert_eq!(
        cluster.says(N3, unknown).await,
        "200 3 192.0.2.9 false",
        "the handler says that it is unknown"
    );
}

#[tokio::test]
async fn a_body_over_the_bound_is_413_and_stays_here() {
    let cluster = cluster();
    let long = request(
        "POST",
        "/t/acme/oauth2/token",
        &[],
        "sixty-five bytes are one more than what this test's nodes will take",
    );
    assert!(cluster.says(N3, long).await.starts_with("413 "));
    assert_eq!(cluster.sent(), []);
}
