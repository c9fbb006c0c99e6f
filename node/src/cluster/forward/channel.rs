//! HTTP/2 to other nodes: one connection a node, made when it is needed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use domicile_raft::peer::tls::TlsPeers;
use domicile_raft::{BoxFuture, NodeId};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Semaphore;

/// A place and a connection are had within this, or the node counts as gone.
const REACH: Duration = Duration::from_secs(1);
/// A node that answers no ping while requests wait is given up after both.
const PING_EVERY: Duration = Duration::from_millis(700);
const PING_ANSWER: Duration = Duration::from_millis(1_300);
/// Requests to one node at a time; more wait.
const IN_FLIGHT_MAX: usize = 256;
/// Bytes of answers on their way: of one, and of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// Nothing was sent.
    #[error("the node was not reached")]
    NotSent,
    /// It was sent; it may have been acted on.
    #[error("no answer came")]
    Lost,
}

/// The way of requests to other nodes.
pub(crate) trait Channel: Send + Sync + 'static {
    /// Sends a request and gives the head of its answer. One try.
    fn send(
        &self,
        to: NodeId,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Response<Body>, SendError>>;
}

/// [`Channel`] over the peer transport.
pub(crate) struct PeerChannel {
    peers: Arc<TlsPeers>,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
}

/// Counts a dial as failed unless it is told otherwise: also one that is dropped with its request.
struct Dialling<'l> {
    failed: Option<&'l AtomicU64>,
}

impl Dialling<'_> {
    fn succeeded(mut self) {
        self.failed = None;
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        if let Some(failed) = self.failed {
            failed.fetch_add(1, Ordering::AcqRel);
        }
    }
}

struct Link {
    /// Held while it is dialled, so that a crowd dials once.
    connection: tokio::sync::Mutex<Option<SendRequest<WholeBody>>>,
    /// Dials that failed; who waited during one of them shares its failure.
    failed_dials: AtomicU64,
    places: Semaphore,
}

impl PeerChannel {
    /// No connections yet.
    pub(crate) fn new(peers: Arc<TlsPeers>) -> Self {
        Self { peers, links: Mutex::default() }
    }

    fn link(&self, to: NodeId) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            Arc::new(Link {
                connection: tokio::sync::Mutex::new(None),
                failed_dials: AtomicU64::new(0),
                places: Semaphore::new(IN_FLIGHT_MAX),
            })
        };
        Arc::clone(links.entry(to).or_insert_with(make))
    }

    /// The connection there is, or a new one.
    async fn connection(&self, link: &Link, to: NodeId) -> Result<SendRequest<WholeBody>, SendError> {
        let failed = link.failed_dials.load(Ordering::Acquire);
        let mut connection = link.connection.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        if link.failed_dials.load(Ordering::Acquire) != failed {
            return Err(SendError::NotSent);
        }
        let dialling = Dialling { failed: Some(&link.failed_dials) };
        let sender = self.dial(to).await?;
        dialling.succeeded();
        *connection = Some(sender.clone());
        Ok(sender)
    }

    async fn dial(&self, to: NodeId) -> Result<SendRequest<WholeBody>, SendError> {
        let stream = self.peers.connect_http(to, REACH).await.map_err(|error| {
            tracing::debug!(node = to.0, %error, "requests cannot be forwarded");
            SendError::NotSent
        })?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_ANSWER)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, running) = handshake.map_err(|_| SendError::NotSent)?;
        tokio::spawn(async move {
            if let Err(error) = running.await {
                tracing::debug!(node = to.0, %error, "a connection for forwarded requests ended");
            }
        });
        Ok(sender)
    }

    /// `handed` is set while the request is out of our hands.
    async fn send_within(
        &self,
        to: NodeId,
        request: Request<Bytes>,
        handed: &AtomicBool,
    ) -> Result<Response<Body>, SendError> {
        let link = self.link(to);
        let place = tokio::time::timeout(REACH, link.places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(SendError::NotSent) };
        let mut request = request.map(WholeBody::new);
        // A connection that ended since it was looked at gives the request back.
        for _ in 0..2 {
            let connection = tokio::time::timeout(REACH, self.connection(&link, to)).await;
            let mut connection = connection.unwrap_or(Err(SendError::NotSent))?;
            handed.store(true, Ordering::Release);
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(response.map(Body::new)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => {
                        handed.store(false, Ordering::Release);
                        request = unsent;
                    }
                    None => {
                        return Err(if was_refused(failed.error()) {
                            SendError::NotSent
                        } else {
                            SendError::Lost
                        });
                    }
                },
            }
        }
        Err(SendError::NotSent)
    }
}

impl Channel for PeerChannel {
    fn send(
        &self,
        to: NodeId,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Response<Body>, SendError>> {
        Box::pin(async move {
            let handed = AtomicBool::new(false);
            let sent = tokio::time::timeout(deadline, self.send_within(to, request, &handed)).await;
            let late = || if handed.load(Ordering::Acquire) { SendError::Lost } else { SendError::NotSent };
            sent.unwrap_or_else(|_| Err(late()))
        })
    }
}

/// Whether the other node said that it did not begin with the request (RFC 9113 §8.7): it was stopping.
fn was_refused(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let reason = cause.reason();
        cause.is_remote()
            && (reason == Some(h2::Reason::REFUSED_STREAM)
                || (cause.is_go_away() && reason == Some(h2::Reason::NO_ERROR)))
    })
}

/// A body that is here as a whole.
struct WholeBody(Option<Bytes>);

impl WholeBody {
    fn new(bytes: Bytes) -> Self {
        Self(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl hyper::body::Body for WholeBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        let bytes = self.0.as_ref().map_or(0, Bytes::len);
        hyper::body::SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}
