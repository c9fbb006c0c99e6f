//! Real sockets: bounds and the drain.

use std::net::Ipv4Addr;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    drain: watch::Sender<bool>,
    ended: JoinHandle<usize>,
    open: Gauge,
}

async fn start(
    router: Router,
    connections_max: usize,
    header_read_timeout: Duration,
    drain: Duration,
) -> Running {
    let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.address();
    let open = Gauge::default();
    let bounds = Bounds { header_bytes: 8_192, header_read_timeout };
    let server = Server { tls: None, router, bounds, connections_max, open: open.clone() };
    let (sender, receiver) = watch::channel(false);
    let ended = tokio::spawn(server.run(listener, receiver, drain));
    Running { address, drain: sender, ended, open }
}

async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn requests_in_flight_finish_and_idle_connections_close_when_draining() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, go) = (entered.clone(), release.clone());
    let handler = move || async move {
        inside.notify_one();
        go.notified().await;
        "done"
    };
    let running = start(Router::new().route("/", get(handler)), 8, LONG, LONG).await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    let busy = send(running.address, GET).await;
    entered.notified().await;
    running.drain.send(true).unwrap();
    assert_eq!(rest(idle).await, "");
    TcpStream::connect(running.address).await.expect_err("the listener is closed");
    release.notify_one();
    let answer = rest(busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
    assert_eq!(running.ended.await.unwrap(), 0);
    assert_eq!(running.open.get(), 0);
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_cut_and_counted() {
    let entered = Arc::new(Notify::new());
    let inside = entered.clone();
    let handler = move || async move {
        inside.notify_one();
        std::future::pending::<()>().await;
    };
    let running = start(Router::new().route("/", get(handler)), 8, LONG, Duration::from_millis(20)).await;
    let busy = send(running.address, GET).await;
    entered.notified().await;
    running.drain.send(true).unwrap();
    assert_eq!(running.ended.await.unwrap(), 1);
    assert_eq!(rest(busy).await, "");
    assert_eq!(running.open.get(), 0);
}

#[tokio::test]
async fn a_head_that_is_too_large_or_too_slow_ends_the_connection() {
    let router = Router::new().route("/", get(|| async { "done" }));
    let running = start(router, 8, Duration::from_millis(50), LONG).await;
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(20_000));
    let answer = rest(send(running.address, &large).await).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(rest(send(running.address, "GET / HTTP/1.1\r\nhost:").await).await, "");
}

#[tokio::test]
async fn a_connection_beyond_the_bound_waits_for_a_place() {
    let router = Router::new().route("/", get(|| async { "done" }));
    let running = start(router, 1, LONG, LONG).await;
    let first = TcpStream::connect(running.address).await.unwrap();
    let second = send(running.address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut byte = [0_u8; 1];
    let early = tokio::time::timeout(Duration::from_millis(50), second.peek(&mut byte)).await;
    assert!(early.is_err(), "answered while the only place was taken");
    drop(first);
    assert!(rest(second).await.ends_with("done"));
}

#[tokio::test]
async fn who_was_accepted_before_the_stop_is_served() {
    let router = Router::new().route("/", get(|| async { "done" }));
    let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.address();
    // In the kernel's queue, with their requests: the server has not looked at them when it is to stop.
    let early = [send(address, GET).await, send(address, GET).await];
    let bounds = Bounds { header_bytes: 8_192, header_read_timeout: LONG };
    let server = Server { tls: None, router, bounds, connections_max: 8, open: Gauge::default() };
    let (_drain, draining) = watch::channel(true);
    let ended = tokio::spawn(server.run(listener, draining, LONG));
    for stream in early {
        let answer = rest(stream).await;
        assert!(answer.contains("connection: close") && answer.ends_with("done"), "{answer}");
    }
    assert_eq!(ended.await.unwrap(), 0);
}
