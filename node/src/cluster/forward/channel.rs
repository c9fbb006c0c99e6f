//! HTTP/2 to other nodes: one connection a node, made when it is needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use domicile_raft::peer::tls::TlsPeers;
use domicile_raft::{BoxFuture, NodeId};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Semaphore;

/// A connection is made within this, or the node counts as gone.
const DIAL: Duration = Duration::from_millis(1_500);
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

struct Link {
    /// Held while it is dialled, so that a crowd dials once.
    connection: tokio::sync::Mutex<Option<SendRequest<WholeBody>>>,
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
                places: Semaphore::new(IN_FLIGHT_MAX),
            })
        };
        Arc::clone(links.entry(to).or_insert_with(make))
    }

    /// The connection there is, or a new one.
    async fn connection(&self, link: &Link, to: NodeId) -> Result<SendRequest<WholeBody>, SendError> {
        let mut connection = link.connection.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let stream = self.peers.connect_http(to, DIAL).await.map_err(|error| {
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
        let handshake = tokio::time::timeout(DIAL, builder.handshake(TokioIo::new(stream))).await;
        let Ok(Ok((sender, running))) = handshake else { return Err(SendError::NotSent) };
        tokio::spawn(async move {
            if let Err(error) = running.await {
                tracing::debug!(node = to.0, %error, "a connection for forwarded requests ended");
            }
        });
        *connection = Some(sender.clone());
        Ok(sender)
    }

    async fn send_within(&self, to: NodeId, request: Request<Bytes>) -> Result<Response<Body>, SendError> {
        let link = self.link(to);
        let _place = link.places.acquire().await.map_err(|_| SendError::NotSent)?;
        let mut request = request.map(WholeBody::new);
        // A connection that ended since it was looked at gives the request back.
        for _ in 0..2 {
            let mut connection = self.connection(&link, to).await?;
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(response.map(Body::new)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
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
            let sent = tokio::time::timeout(deadline, self.send_within(to, request)).await;
            sent.unwrap_or(Err(SendError::Lost))
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
