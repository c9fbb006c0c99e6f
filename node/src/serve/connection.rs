//! One connection: the handshake, then HTTP/1.1 or HTTP/2 within bounds, then a graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, Response, header};
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::config::Limits;

const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const HTTP2_STREAMS_MAX: u32 = 128;
/// A peer that does not answer a ping within this time is gone.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// When the node stops, an idle HTTP/1.1 connection is read for this long before it is closed: a client may
/// have sent a request that is still on its way, and which no later connection would show to be lost.
const LAST_REQUEST: Duration = Duration::from_secs(1);
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The other end of the connection, as a request extension.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// Bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Time for a request's head, also while idle between two. An HTTP/2 connection without a request
    /// in flight is closed after once to twice this.
    pub header_read_timeout: Duration,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        let header_bytes = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).max(8_192);
        Self { header_bytes, header_read_timeout: limits.header_read_timeout }
    }
}

/// Serves one connection to its end. Errors are the client's doing and are not logged above debug.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    bounds: Bounds,
    draining: watch::Receiver<bool>,
) {
    // Small answers would wait for Nagle; a socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return http1(stream, peer, router, bounds, draining).await };
    match tokio::time::timeout(TLS_HANDSHAKE_MAX, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            http2(stream, peer, router, bounds, draining).await;
        }
        Ok(Ok(stream)) => http1(stream, peer, router, bounds, draining).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

/// HTTP/1.1, one request at a time. The head's time limit also ends idle connections.
///
/// While the node stops, the next answer says `Connection: close` (RFC 9112 §9.6) and is the last.
async fn http1<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    bounds: Bounds,
    draining: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_read_timeout)
        .max_buf_size(bounds.header_bytes);
    let stopping = draining.clone();
    let service = service_fn(move |request| {
        let (answer, stopping) = (answer(&router, peer, request), stopping.clone());
        async move { answer.await.map(|response| last_if(*stopping.borrow(), response)) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let stopped = async {
        drained(draining).await;
        tokio::time::sleep(LAST_REQUEST).await;
    };
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    log_end(ended);
}

/// The answer, as the last one of its connection if the node stops.
fn last_if<B>(stopping: bool, mut response: Response<B>) -> Response<B> {
    if stopping {
        response.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    response
}

/// HTTP/2, after ALPN only. Pings keep a connection alive, so hyper never ends an idle one: that is
/// done here.
async fn http2<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    bounds: Bounds,
    draining: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING)
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(bounds.header_bytes).unwrap_or(u32::MAX));
    let traffic = Arc::new(Traffic::default());
    let counted = traffic.clone();
    let service = service_fn(move |request| {
        let passing = Passing::enter(&counted);
        let answer = answer(&router, peer, request);
        async move {
            let _passing = passing;
            answer.await
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = drained(draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = traffic.idle(bounds.header_read_timeout) => {
            connection.as_mut().graceful_shutdown();
            // What is left to send goes out; a client that does not take it is cut.
            let Ok(ended) = tokio::time::timeout(bounds.header_read_timeout, connection).await else {
                return tracing::debug!("an idle connection did not close");
            };
            ended
        }
    };
    log_end(ended);
}

/// Requests of one connection.
#[derive(Default)]
struct Traffic {
    /// So far.
    begun: AtomicU64,
    in_flight: AtomicU64,
}

impl Traffic {
    /// Ready once no request was in flight for `limit`, at most twice `limit` after the last. Looked
    /// at once in `limit`, so that requests themselves set no timer.
    async fn idle(&self, limit: Duration) {
        let mut seen = None;
        loop {
            let begun = self.begun.load(Ordering::Acquire);
            let in_flight = self.in_flight.load(Ordering::Acquire);
            if in_flight == 0 && seen == Some(begun) {
                return;
            }
            seen = (in_flight == 0).then_some(begun);
            tokio::time::sleep(limit).await;
        }
    }
}

/// A request in flight, also one that is dropped halfway.
struct Passing(Arc<Traffic>);

impl Passing {
    fn enter(traffic: &Arc<Traffic>) -> Self {
        traffic.in_flight.fetch_add(1, Ordering::AcqRel);
        traffic.begun.fetch_add(1, Ordering::AcqRel);
        Self(traffic.clone())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

fn answer(router: &Router, peer: SocketAddr, mut request: Request<Incoming>) -> RouteFuture<Infallible> {
    request.extensions_mut().insert(PeerAddress(peer));
    router.clone().call(request)
}

/// Ready once the server drains, or is gone.
async fn drained(mut draining: watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

#[cfg(test)]
mod tests;
