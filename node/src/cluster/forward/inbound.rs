//! Connections of other nodes that forward requests.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use domicile_raft::peer::PeerIdentity;
use domicile_raft::peer::tls::{HttpAcceptor, PeerStream};
use futures::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::envelope::{Envelope, Outcome};
use super::forwarder::Forwarder;
use super::layer::call;
use super::receive::{Came, Receiving, said};
use crate::problem::Problem;
use crate::telemetry::within_request;

/// Requests of one node at a time; it sends no more either.
const STREAMS_MAX: u32 = 512;
/// Bytes of a request's head: as a client may send, with what was added.
const HEADER_BYTES_MAX: u32 = 256 << 10;
/// Bytes of requests on their way: of one, and of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A node that is gone is noticed after both.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_ANSWER: Duration = Duration::from_secs(5);
/// Requests under way at the end of the node have this long.
const GRACE: Duration = Duration::from_millis(500);

/// What other nodes forward.
pub(crate) struct Inbound {
    served: Arc<ArcSwapOption<Router>>,
    stopping: watch::Sender<bool>,
    connections: Mutex<JoinSet<()>>,
}

impl Default for Inbound {
    fn default() -> Self {
        let (stopping, _) = watch::channel(false);
        Self { served: Arc::default(), stopping, connections: Mutex::default() }
    }
}

impl Inbound {
    /// Answers from here on with `routes`, which have no guard.
    pub(crate) fn serve(&self, routes: Router, forwarder: Arc<Forwarder>) {
        self.served.store(Some(Arc::new(routes.layer(Receiving(forwarder)))));
    }

    /// Takes no more requests, lets those under way end for a moment, and lets go of the domain.
    pub(crate) async fn stop(&self) {
        self.stopping.send_replace(true);
        self.served.store(None);
        let mut connections = {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *connections)
        };
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, ended).await;
        connections.shutdown().await;
    }

    fn take_connection<S>(&self, from: PeerIdentity, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        while connections.try_join_next().is_some() {}
        let stopping = self.stopping.subscribe();
        if !*stopping.borrow() {
            connections.spawn(serve(self.served.clone(), from, stream, stopping));
        }
    }
}

impl HttpAcceptor for Inbound {
    fn accept(&self, from: PeerIdentity, stream: PeerStream) {
        self.take_connection(from, stream);
    }
}

async fn serve<S>(
    served: Arc<ArcSwapOption<Router>>,
    from: PeerIdentity,
    stream: S,
    mut stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let node = from.node.0;
    let service = service_fn(move |request: axum::http::Request<Incoming>| {
        let (routes, from) = (served.load_full(), from.clone());
        async move { Ok::<_, Infallible>(answer(routes, from, request.map(Body::new)).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(node, %error, "a connection with forwarded requests ended early");
    }
}

/// Ready once the node stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Answers one request of another node.
pub(crate) async fn answer(
    routes: Option<Arc<Router>>,
    from: PeerIdentity,
    mut request: Request,
) -> Response {
    let envelope = Envelope::take(request.headers_mut());
    let (Some(routes), Some(envelope)) = (routes, envelope) else {
        return said(&Outcome::Elsewhere(None), None);
    };
    let (id, trace) = (envelope.id, envelope.trace);
    if let Some(trace) = trace {
        request.extensions_mut().insert(trace);
    }
    request.extensions_mut().insert(Came { from, envelope });
    // A panic would end the connection, and with it what others wait for.
    let running = AssertUnwindSafe(call(Router::clone(&routes), request)).catch_unwind();
    within_request(id, trace, running).await.unwrap_or_else(|_panic| {
        tracing::error!("a handler panicked; what came of the forwarded request is not known");
        said(&Outcome::Unknown, Some(Problem::internal().into_response()))
    })
}
