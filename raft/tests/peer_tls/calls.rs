use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domicile_raft::peer::tls::{LaneOptions, TlsOptions};
use domicile_raft::peer::{Lane, MESSAGE_BYTES_MAX, PeerError, PeerRefusal, PeerTransport as _};
use futures::future::join_all;

use crate::support::{Echo, LONG, World, identity, lost, unreachable, until_answered};

#[tokio::test]
async fn messages_of_a_lane_arrive_in_the_order_of_the_calls_whatever_is_polled_first() {
    let world = World::new(&["eu", "us"]);
    let (a, b, echo) = (world.node(1, "eu"), world.node(2, "us"), Arc::new(Echo::default()));
    let listener = b.listen(Arc::clone(&echo) as _);
    a.meet(&b, &listener);
    // Some are longer than what is gathered for one write.
    let message = |n: u32| {
        let mut bytes = n.to_be_bytes().to_vec();
        bytes.resize(if n.is_multiple_of(50) { 100_000 } else { 40 }, 0);
        Bytes::from(bytes)
    };
    let mut calls: Vec<_> = (0..1_000).map(|n| a.peers.call(b.id, Lane::Data, message(n), LONG)).collect();
    calls.reverse();
    let answers = join_all(calls).await;
    assert!(answers.into_iter().rev().zip(0..).all(|(answer, n)| answer.unwrap() == message(n)));
    let seen = echo.seen.lock().unwrap();
    let numbers: Vec<u32> =
        seen.iter().map(|(_, _, m)| u32::from_be_bytes(m[..4].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    assert_eq!((&seen[0].0, seen[0].1), (&identity(1, "eu"), Lane::Data));
    let (out, back) = (a.peers.counts()[&b.id], b.peers.counts()[&a.id]);
    assert_eq!((out.messages_out, out.messages_in, out.connects), (1_000, 1_000, 1));
    assert_eq!((back.messages_in, back.accepts), (1_000, 1));
    assert!(out.bytes_out > 2_000_000 && back.bytes_in > 2_000_000);
    assert_eq!(out.in_flight, 0);
    assert!(out.heard.is_some() && back.heard.is_some());
}

#[tokio::test]
async fn a_refusal_comes_back_as_it_was_said() {
    let world = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    let refusal = PeerRefusal::NoReplica;
    assert_eq!(a.ask(&b, "refuse").await, Err(PeerError::Refused { node: b.id, refusal }));
    let long = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
    let refused = a.peers.call(b.id, Lane::Data, long, LONG).await;
    assert!(matches!(refused, Err(PeerError::Refused { refusal: PeerRefusal::Malformed(_), .. })));
    let longest = Bytes::from(vec![7; MESSAGE_BYTES_MAX]);
    assert_eq!(a.peers.call(b.id, Lane::Data, longest.clone(), LONG).await, Ok(longest));
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_deadline_and_holds_up_no_other() {
    let world = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    assert_eq!(a.ask(&b, "first").await.unwrap().as_ref(), b"first");
    let hanging = a.peers.call(b.id, Lane::Control, Bytes::from_static(b"hang"), Duration::from_millis(50));
    assert_eq!(a.ask(&b, "beside").await.unwrap().as_ref(), b"beside");
    assert_eq!(a.peers.counts()[&b.id].in_flight, 1);
    assert_eq!(hanging.await, Err(PeerError::Timeout(b.id)));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_the_other_lane_goes_on() {
    let world = World::new(&["eu"]);
    let defaults = TlsOptions::default();
    let data = LaneOptions { queue_bytes_max: 10_000, ..defaults.data };
    let lifetime = Duration::from_hours(1);
    let (a, b) = (world.node_with(1, "eu", TlsOptions { data, ..defaults }, lifetime), world.node(2, "eu"));
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    // Nothing is sent before this task yields: the runtime has one thread.
    let message = Bytes::from(vec![1; 4_000]);
    let [one, two, three] = [0; 3].map(|_| a.peers.call(b.id, Lane::Data, message.clone(), LONG));
    assert_eq!(three.await, Err(PeerError::QueueFull(b.id)));
    assert_eq!(a.ask(&b, "control").await.unwrap().as_ref(), b"control");
    assert_eq!((one.await, two.await), (Ok(message.clone()), Ok(message.clone())));
    assert_eq!(a.peers.call(b.id, Lane::Data, message.clone(), LONG).await, Ok(message));
    assert_eq!(a.peers.counts()[&b.id].queue_full, 1);
}

#[tokio::test]
async fn a_peer_that_comes_back_is_reached_again() {
    let world = World::new(&["eu"]);
    let (a, b, echo) = (world.node(1, "eu"), world.node(2, "eu"), Arc::new(Echo::default()));
    let listener = b.listen(Arc::clone(&echo) as _);
    let address = listener.addresses()[0];
    a.meet(&b, &listener);
    a.ask(&b, "before").await.unwrap();
    listener.close(LONG).await;
    // The end of the connection may be on its way still.
    let gone = a.ask(&b, "gone").await;
    assert!(matches!(gone, Err(PeerError::Unreachable { .. } | PeerError::Lost { .. })), "{gone:?}");
    let _listener = b.listen_on(address, echo);
    assert_eq!(until_answered(&a, &b).await.as_ref(), b"again");
    assert!(a.peers.counts()[&b.id].connects >= 2);
}

#[tokio::test]
async fn a_call_that_never_left_was_not_acted_on() {
    let world = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    a.meet_at(b.id, "eu", silent.local_addr().unwrap());
    let waiting = a.peers.call(b.id, Lane::Control, Bytes::from_static(b"x"), Duration::from_millis(50));
    let late = waiting.await;
    assert!(unreachable(&late).contains("did not leave"), "{late:?}");
    assert!(!late.unwrap_err().may_have_happened());
}

#[tokio::test]
async fn the_end_of_a_process_shows_in_its_connections_and_its_port() {
    let world = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    assert_eq!(a.peers.listens(b.id, LONG).await, None, "no address is known");
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    let (mut called, mut accepted) =
        (a.peers.ended_connections().unwrap(), b.peers.ended_connections().unwrap());
    a.ask(&b, "before").await.unwrap();
    assert_eq!(a.peers.listens(b.id, LONG).await, Some(true));
    a.peers.disconnect(b.id);
    assert_eq!(tokio::time::timeout(LONG, accepted.recv()).await.unwrap(), Ok(a.id));
    until_answered(&a, &b).await;
    listener.close(LONG).await;
    assert_eq!(tokio::time::timeout(LONG, called.recv()).await.unwrap(), Ok(b.id));
    assert_eq!(a.peers.listens(b.id, LONG).await, Some(false));
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let world = World::new(&["eu"]);
    let defaults = TlsOptions::default();
    let control = LaneOptions {
        connect_timeout: Duration::from_millis(100),
        ping_every: Duration::from_millis(20),
        dead_after: Duration::from_millis(100),
        ..defaults.control
    };
    let lifetime = Duration::from_hours(1);
    let a = world.node_with(1, "eu", TlsOptions { control, ..defaults }, lifetime);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let b = world.node(2, "eu");
    a.meet_at(b.id, "eu", silent.local_addr().unwrap());
    let answer = a.ask(&b, "hello").await;
    assert!(unreachable(&answer).contains("within"));
    assert_eq!(a.peers.counts()[&b.id].connect_failures, 1);
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_given_up_before_the_deadline() {
    let world = World::new(&["eu"]);
    let defaults = TlsOptions::default();
    let control = LaneOptions {
        ping_every: Duration::from_millis(20),
        dead_after: Duration::from_millis(200),
        ..defaults.control
    };
    let lifetime = Duration::from_hours(1);
    let a = world.node_with(1, "eu", TlsOptions { control, ..defaults }, lifetime);
    let b = world.node(2, "eu");
    let listener = b.listen(Arc::new(Echo::default()));
    let relay = crate::wire::Relay::start(listener.addresses()[0]).await;
    a.meet_at(b.id, "eu", relay.address);
    a.ask(&b, "before").await.unwrap();
    relay.swallow();
    let answer = a.ask(&b, "lost").await;
    assert!(lost(&answer).contains("nothing came"), "{answer:?}");
}

#[tokio::test]
async fn silent_data_is_given_up_sooner_once_control_broke() {
    let world = World::new(&["eu"]);
    let defaults = TlsOptions::default();
    let data = LaneOptions { ping_every: Duration::from_millis(50), dead_after: LONG * 3, ..defaults.data };
    let lifetime = Duration::from_hours(1);
    let a = world.node_with(1, "eu", TlsOptions { data, ..defaults }, lifetime);
    let b = world.node(2, "eu");
    let listener = b.listen(Arc::new(Echo::default()));
    let relay = crate::wire::Relay::start(listener.addresses()[0]).await;
    a.meet_at(b.id, "eu", relay.address);
    let before = Bytes::from_static(b"before");
    assert_eq!(a.peers.call(b.id, Lane::Data, before.clone(), LONG).await, Ok(before.clone()));
    relay.swallow();
    let cut = a.peers.call(b.id, Lane::Data, before, LONG);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    a.meet_at(b.id, "eu", nobody);
    assert!(a.ask(&b, "control").await.is_err());
    let answer = cut.await;
    assert!(lost(&answer).contains("nothing came"), "{answer:?}");
}

#[tokio::test]
async fn an_idle_connection_is_kept_by_its_pings() {
    let world = World::new(&["eu"]);
    let defaults = TlsOptions::default();
    let control = LaneOptions {
        ping_every: Duration::from_millis(5),
        dead_after: Duration::from_millis(500),
        ..defaults.control
    };
    let lifetime = Duration::from_hours(1);
    let a = world.node_with(1, "eu", TlsOptions { control, ..defaults }, lifetime);
    let b = world.node(2, "eu");
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    a.ask(&b, "before").await.unwrap();
    let before = a.peers.counts()[&b.id].bytes_in;
    let pinged = async {
        // Ten pongs of fourteen bytes.
        while a.peers.counts()[&b.id].bytes_in < before + 140 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, pinged).await.unwrap();
    a.ask(&b, "after").await.unwrap();
    assert_eq!(a.peers.counts()[&b.id].connects, 1);
}

#[tokio::test]
async fn an_unknown_peer_and_a_closed_transport_are_unreachable() {
    let world = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    assert!(unreachable(&a.ask(&b, "x").await).contains("address"));
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    let begun = a.peers.call(b.id, Lane::Data, Bytes::from_static(b"begun"), LONG);
    a.peers.close(LONG).await;
    assert_eq!(begun.await.unwrap().as_ref(), b"begun");
    assert!(unreachable(&a.ask(&b, "x").await).contains("closed"));
}

#[tokio::test]
async fn a_closing_listener_answers_what_was_begun() {
    let world = World::new(&["eu"]);
    let (a, b, echo) = (world.node(1, "eu"), world.node(2, "eu"), Arc::new(Echo::default()));
    let held = Arc::new(Held(Arc::clone(&echo)));
    let listener = b.listen(held);
    a.meet(&b, &listener);
    let call = a.peers.call(b.id, Lane::Control, Bytes::from_static(b"begun"), LONG);
    let arrived = async {
        while echo.seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, arrived).await.unwrap();
    let closing = tokio::spawn(listener.close(LONG));
    tokio::task::yield_now().await;
    echo.release.notify_one();
    assert_eq!(call.await.unwrap().as_ref(), b"begun");
    closing.await.unwrap();
}

/// Answers when it is released.
struct Held(Arc<Echo>);

impl domicile_raft::peer::PeerService for Held {
    fn serve(
        &self,
        from: &domicile_raft::peer::PeerIdentity,
        lane: Lane,
        message: Bytes,
    ) -> domicile_raft::BoxFuture<'static, Result<Bytes, PeerRefusal>> {
        let (echo, answer) = (Arc::clone(&self.0), self.0.serve(from, lane, message));
        Box::pin(async move {
            echo.release.notified().await;
            answer.await
        })
    }

    fn serve_stream(
        &self,
        from: &domicile_raft::peer::PeerIdentity,
        header: Bytes,
        chunks: Box<dyn domicile_raft::peer::StreamReceiver>,
    ) -> domicile_raft::BoxFuture<'static, Result<Bytes, PeerRefusal>> {
        self.0.serve_stream(from, header, chunks)
    }
}

#[tokio::test]
async fn more_than_a_peers_share_of_work_is_refused_as_overload() {
    let world = World::new(&["eu"]);
    let options = TlsOptions { serving_bytes_max: 10_000, ..TlsOptions::default() };
    let (a, b) = (world.node(1, "eu"), world.node_with(2, "eu", options, Duration::from_hours(1)));
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    let long = a.peers.call(b.id, Lane::Data, Bytes::from(vec![0; 10_000]), LONG).await;
    assert!(matches!(long, Err(PeerError::Refused { refusal: PeerRefusal::Overloaded(_), .. })));
    let short = Bytes::from(vec![0; 9_000]);
    for _ in 0..3 {
        assert_eq!(a.peers.call(b.id, Lane::Data, short.clone(), LONG).await, Ok(short.clone()));
    }
}

/// Whether this machine has an IPv6 loopback. With `DOMICILE_TOOLS=required`, as in CI, it has to.
fn has_ipv6() -> bool {
    let found = std::net::TcpListener::bind("[::1]:0").is_ok();
    let required = std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required");
    assert!(found || !required, "there is no `::1` here");
    if !found {
        eprintln!("SKIPPED: there is no `::1` here, so no address of IPv6 was tried");
    }
    found
}

#[tokio::test]
async fn ipv6_literals_and_several_addresses_work() {
    if !has_ipv6() {
        return;
    }
    let world = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    let listener = b.listen_on("[::1]:0".parse().unwrap(), Arc::new(Echo::default()));
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = listener.addresses()[0];
    let addresses = vec![dead.to_string(), good.to_string()];
    assert!(addresses[1].starts_with("[::1]:"));
    let region = "eu".to_owned();
    a.peers.book().set(b.id, domicile_raft::peer::tls::PeerAddress { addresses, region });
    assert_eq!(a.ask(&b, "six").await.unwrap().as_ref(), b"six");
}
