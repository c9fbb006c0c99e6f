//! Connections in memory, on a clock that moves when nothing else does.

use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::client::conn::{http1 as client1, http2 as client2};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn bounds() -> Bounds {
    Bounds { header_bytes: 8_192, header_read_timeout: LIMIT }
}

fn router() -> Router {
    let slow = || async {
        // Work that is not done before its own time limit.
        let _ = timeout(4 * LIMIT, std::future::pending::<()>()).await;
        "late"
    };
    Router::new().route("/", get(|| async { "done" })).route("/slow", get(slow))
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4711))
}

fn asks(path: &str) -> Request<Body> {
    Request::get(format!("http://x{path}")).header("host", "x").body(Body::empty()).unwrap()
}

/// The client's two halves; the second ends with the connection.
async fn connect2(
    draining: watch::Receiver<bool>,
) -> (client2::SendRequest<Body>, JoinHandle<Result<(), hyper::Error>>) {
    let (near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(1 << 16);
    tokio::spawn(http2(far, peer(), router(), bounds(), draining));
    let handshake = client2::handshake(TokioExecutor::new(), TokioIo::new(near));
    let (sender, connection) = handshake.await.unwrap();
    (sender, tokio::spawn(connection))
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_without_requests_is_closed_in_bounded_time() {
    let (_drain, draining) = watch::channel(false);
    let (mut sender, connection) = connect2(draining).await;
    let began = Instant::now();
    assert_eq!(sender.send_request(asks("/")).await.unwrap().status(), StatusCode::OK);
    // It answers pings all the time, as an idle browser does.
    timeout(10 * LIMIT, connection).await.expect("still open").unwrap().unwrap();
    let lived = began.elapsed();
    assert!(lived >= LIMIT && lived <= 2 * LIMIT + Duration::from_secs(1), "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_with_a_long_request_is_not_idle() {
    let (_drain, draining) = watch::channel(false);
    let (mut sender, connection) = connect2(draining).await;
    let late = timeout(10 * LIMIT, sender.send_request(asks("/slow"))).await.unwrap().unwrap();
    assert_eq!(late.status(), StatusCode::OK);
    let again = sender.send_request(asks("/")).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK, "idle time counts from the last request's end");
    timeout(10 * LIMIT, connection).await.expect("still open").unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_http1_connection_without_requests_is_closed_in_bounded_time() {
    let (_drain, draining) = watch::channel(false);
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(http1(far, peer(), router(), bounds(), draining));
    let (mut sender, connection) = client1::handshake(TokioIo::new(near)).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(asks("/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    drop(answer);
    timeout(10 * LIMIT, connection).await.expect("still open").unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn rfc9112_s9_6_a_request_that_meets_the_stop_is_answered_and_told_to_be_the_last() {
    let (drain, draining) = watch::channel(false);
    let (near, far) = tokio::io::duplex(1 << 16);
    let ended = tokio::spawn(http1(far, peer(), router(), bounds(), draining));
    let (mut sender, connection) = client1::handshake(TokioIo::new(near)).await.unwrap();
    let connection = tokio::spawn(connection);
    assert!(!sender.send_request(asks("/")).await.unwrap().headers().contains_key("connection"));
    drain.send(true).unwrap();
    // The server saw the stop while the connection was idle.
    tokio::time::sleep(LAST_REQUEST / 2).await;
    let answer = sender.send_request(asks("/")).await.unwrap();
    assert_eq!(answer.headers()["connection"], "close");
    drop(answer);
    let at_once = Instant::now();
    ended.await.unwrap();
    connection.await.unwrap().unwrap();
    assert!(at_once.elapsed() < LAST_REQUEST / 2);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_read_for_a_moment_when_the_node_stops_and_no_longer() {
    let (drain, draining) = watch::channel(false);
    let (near, far) = tokio::io::duplex(1 << 16);
    let ended = tokio::spawn(http1(far, peer(), router(), bounds(), draining));
    drain.send(true).unwrap();
    let began = Instant::now();
    ended.await.unwrap();
    assert!(began.elapsed() >= LAST_REQUEST && began.elapsed() < 2 * LAST_REQUEST);
    drop(near);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_running_when_the_node_stopped_is_the_last_one() {
    let (drain, draining) = watch::channel(false);
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(http1(far, peer(), router(), bounds(), draining));
    let (mut sender, connection) = client1::handshake(TokioIo::new(near)).await.unwrap();
    let connection = tokio::spawn(connection);
    let running = tokio::spawn(sender.send_request(asks("/slow")));
    tokio::time::sleep(LIMIT).await;
    drain.send(true).unwrap();
    let answer = running.await.unwrap().unwrap();
    assert_eq!(answer.headers()["connection"], "close");
    drop(answer);
    connection.await.unwrap().unwrap();
}
