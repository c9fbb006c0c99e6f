use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use domicile_raft::BoxFuture;
use domicile_raft::peer::PeerIdentity;
use domicile_raft::peer::tls::{
    HttpAcceptor, JOIN_REQUEST_BYTES_MAX, JoinAcceptor, JoinCallError, PeerHandlers, PeerListener,
    PeerStream, join_call,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::support::{Echo, LONG, Node, World, identity};

struct Joins;

impl JoinAcceptor for Joins {
    fn join(&self, _from: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async move { Bytes::from([b"welcome ".as_slice(), &request].concat()) })
    }
}

struct Https(mpsc::UnboundedSender<(PeerIdentity, PeerStream)>);

impl HttpAcceptor for Https {
    fn accept(&self, from: PeerIdentity, stream: PeerStream) {
        self.0.send((from, stream)).unwrap();
    }
}

fn listen(node: &Node) -> (PeerListener, mpsc::UnboundedReceiver<(PeerIdentity, PeerStream)>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let handlers = PeerHandlers {
        service: Arc::new(Echo::default()),
        http: Some(Arc::new(Https(sender))),
        join: Some(Arc::new(Joins)),
    };
    (node.peers.listen(&["127.0.0.1:0".parse().unwrap()], handlers).unwrap(), receiver)
}

#[tokio::test]
async fn a_node_without_a_certificate_asks_who_is_pinned_and_nobody_else() {
    let (world, other) = (World::new(&["eu"]), World::new(&["eu"]));
    let node = world.node(1, "eu");
    let (listener, _http) = listen(&node);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [dead.to_string(), listener.addresses()[0].to_string()];
    let ask = |pin| join_call(&addresses, pin, Bytes::from_static(b"me"), LONG, &world.clock);
    let answer = ask(world.authorities["eu"].certificate().pin()).await.unwrap();
    assert_eq!(answer.as_ref(), b"welcome me");
    let wrong = ask(other.authorities["eu"].certificate().pin()).await;
    assert!(matches!(wrong, Err(JoinCallError::Unreachable(_))), "{wrong:?}");
    let long = Bytes::from(vec![0; JOIN_REQUEST_BYTES_MAX + 1]);
    let pin = world.authorities["eu"].certificate().pin();
    let refused = join_call(&addresses, pin, long, LONG, &world.clock).await;
    assert!(matches!(refused, Err(JoinCallError::TooLong(_))));
}

#[tokio::test]
async fn where_nobody_answers_joiners_they_are_refused() {
    let world = World::new(&["eu"]);
    let node = world.node(1, "eu");
    let listener = node.listen(Arc::new(Echo::default()));
    let addresses = [listener.addresses()[0].to_string()];
    let pin = world.authorities["eu"].certificate().pin();
    let refused = join_call(&addresses, pin, Bytes::new(), LONG, &world.clock).await;
    assert!(matches!(refused, Err(JoinCallError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn bytes_for_http_go_both_ways_and_say_who_dialled() {
    let world = World::new(&["eu", "us"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "us"));
    let (listener, mut accepted) = listen(&b);
    a.meet(&b, &listener);
    let mut near = a.peers.connect_http(b.id, LONG).await.unwrap();
    near.write_all(b"GET /").await.unwrap();
    near.flush().await.unwrap();
    let (from, mut far) = tokio::time::timeout(LONG, accepted.recv()).await.unwrap().unwrap();
    assert_eq!(from, identity(1, "eu"));
    let mut bytes = [0; 5];
    far.read_exact(&mut bytes).await.unwrap();
    far.write_all(b"200").await.unwrap();
    far.shutdown().await.unwrap();
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!((bytes.as_slice(), answer.as_slice()), (b"GET /".as_slice(), b"200".as_slice()));
}
