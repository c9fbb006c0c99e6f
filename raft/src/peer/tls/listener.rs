//! Accepting: bounded in connections, in handshakes and in time; told apart by ALPN.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use socket2::{Domain, Protocol as Transport, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::{LazyConfigAcceptor, TlsStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::config::Protocol;
use super::counters::count;
use super::delay::{Delay, DelayedIo};
use super::endpoint::{Shared, TlsPeers};
use super::exposed::Sent;
use super::identity::SpiffeId;
use super::join::{self, JoinAcceptor};
use super::revocation::Revocation;
use super::serving::Budgets;
use super::shares::{Share, Shares};
use super::socket::{Accepted, PeerSocket, PeerStream, tune};
use super::{TlsError, accept_lane, accept_stream};
use crate::NodeId;
use crate::peer::{PeerIdentity, PeerService};

const BACKLOG: i32 = 1_024;
/// After accepting failed (no file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections of `domicile-http/1`.
pub trait HttpAcceptor: Send + Sync + 'static {
    /// Must not block; serves the connection on a task of its own. The connection counts against the
    /// listener's bound until it is dropped.
    fn accept(&self, from: PeerIdentity, stream: PeerStream);
}

/// What serves the connections accepted. Protocols without a handler are refused.
#[derive(Clone)]
pub struct PeerHandlers {
    /// Frames and byte streams.
    pub service: Arc<dyn PeerService>,
    /// Forwarded HTTP.
    pub http: Option<Arc<dyn HttpAcceptor>>,
    /// Nodes that join.
    pub join: Option<Arc<dyn JoinAcceptor>>,
}

pub(super) struct Accepting {
    pub(super) shared: Arc<Shared>,
    pub(super) handlers: PeerHandlers,
    pub(super) budgets: Budgets,
    /// What runs for peers, also after their connection ended.
    pub(super) tasks: TaskTracker,
    /// No new work.
    pub(super) closing: CancellationToken,
    /// Everything ends.
    pub(super) stop: CancellationToken,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    joins: Arc<Semaphore>,
    sources: Shares<IpAddr>,
    nodes: Shares<NodeId>,
}

/// Accepts peers until it is dropped.
#[derive(Debug)]
pub struct PeerListener {
    addresses: Vec<SocketAddr>,
    tasks: TaskTracker,
    closing: CancellationToken,
    stop: DropGuard,
}

impl TlsPeers {
    /// Listens on every one of `addresses`. An IPv6 wildcard takes no IPv4, so that both may be given.
    ///
    /// # Errors
    /// [`TlsError::Bind`].
    pub fn listen(&self, addresses: &[SocketAddr], handlers: PeerHandlers) -> Result<PeerListener, TlsError> {
        let options = &self.shared.options;
        let accepting = Arc::new(Accepting {
            handlers,
            budgets: Budgets::new(options.serving_bytes_max),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            stop: self.shared.stop.child_token(),
            places: Arc::new(Semaphore::new(options.connections_max)),
            handshakes: Arc::new(Semaphore::new(options.handshakes_max)),
            joins: Arc::new(Semaphore::new(options.joins_max)),
            sources: Shares::new(options.handshakes_per_source_max),
            nodes: Shares::new(options.connections_per_node_max),
            shared: Arc::clone(&self.shared),
        });
        let mut bound = Vec::new();
        for &address in addresses {
            let listener = bind(address).map_err(|source| TlsError::Bind { address, source })?;
            let local = listener.local_addr().map_err(|source| TlsError::Bind { address, source })?;
            bound.push((local, listener));
        }
        let mut addresses = Vec::new();
        for (local, listener) in bound {
            addresses.push(local);
            accepting.tasks.spawn(accept_all(Arc::clone(&accepting), listener));
        }
        Ok(PeerListener {
            addresses,
            tasks: accepting.tasks.clone(),
            closing: accepting.closing.clone(),
            stop: accepting.stop.clone().drop_guard(),
        })
    }
}

impl PeerListener {
    /// The addresses listened on, ports filled in.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Accepts no more, reads no more requests, and waits up to `grace` for those begun.
    pub async fn close(self, grace: Duration) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::info!("closed the peer listener with requests unanswered");
        }
        drop(self.stop);
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept_all(accepting: Arc<Accepting>, listener: TcpListener) {
    loop {
        let next = async {
            let place = Arc::clone(&accepting.places).acquire_owned().await;
            let handshake = Arc::clone(&accepting.handshakes).acquire_owned().await;
            (place, handshake, listener.accept().await)
        };
        let next = tokio::select! {
            next = next => next,
            () = accepting.closing.cancelled() => return,
            () = accepting.stop.cancelled() => return,
        };
        let (Ok(place), Ok(handshake), accepted) = next else { return };
        match accepted {
            Ok((socket, from)) => {
                let Some(share) = accepting.sources.take(from.ip()) else {
                    tracing::debug!(%from, "a connection was refused: too many of its source");
                    continue;
                };
                let handshake = (handshake, share);
                let own = Arc::clone(&accepting);
                accepting.tasks.spawn(async move {
                    let stop = own.stop.clone();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = serve(&own, socket, from, place, handshake) => {}
                    }
                });
            }
            Err(cause) => {
                tracing::warn!(%cause, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What a handshake brought.
enum Greeted {
    Peer {
        protocol: Protocol,
        identity: PeerIdentity,
        leaf: CertificateDer<'static>,
        tls: TlsStream<PeerSocket>,
        delay: Delay,
    },
    Joiner {
        tls: TlsStream<PeerSocket>,
        turn: OwnedSemaphorePermit,
    },
}

async fn serve(
    accepting: &Arc<Accepting>,
    socket: TcpStream,
    from: SocketAddr,
    place: OwnedSemaphorePermit,
    handshake: (OwnedSemaphorePermit, Share<IpAddr>),
) {
    let timeout = accepting.shared.options.handshake_timeout;
    let greeted = match tokio::time::timeout(timeout, greet(accepting, socket)).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(cause)) => {
            tracing::info!(%from, %cause, "a connection was refused");
            return;
        }
        Err(_) => {
            tracing::info!(%from, "a connection was closed: its handshake took too long");
            return;
        }
    };
    drop(handshake);
    match greeted {
        Greeted::Joiner { tls, turn } => {
            if let Some(acceptor) = &accepting.handlers.join {
                join::serve(acceptor.as_ref(), tls, from, timeout).await;
            }
            drop((turn, place));
        }
        Greeted::Peer { protocol, identity, leaf, tls, delay } => {
            let shared = &accepting.shared;
            let Some(share) = accepting.nodes.take(identity.node) else {
                tracing::warn!(peer = identity.node.0, "a connection was refused: too many of its node");
                return;
            };
            delay.set(shared.delays.to(&identity.region));
            let counters = shared.counters.of(identity.node);
            count(&counters.accepts, 1);
            shared.seen(identity.node);
            let revocation = Revocation::watch(shared, identity.clone(), leaf, accepting.stop.clone());
            let accepted = Accepted { _place: (place, share), revocation };
            let sent = Sent::of(identity.node, &identity.region, protocol);
            let stream = PeerStream::new(tls, counters, Some(accepted), sent);
            match protocol {
                Protocol::Raft => accept_lane::serve(accepting, identity, stream).await,
                Protocol::Stream => accept_stream::serve(accepting, identity, stream).await,
                Protocol::Http => {
                    if let Some(acceptor) = &accepting.handlers.http {
                        acceptor.accept(identity, stream);
                    }
                }
                Protocol::Join => {}
            }
        }
    }
}

async fn greet(accepting: &Accepting, socket: TcpStream) -> io::Result<Greeted> {
    let shared = &accepting.shared;
    tune(&socket)?;
    let delay = Delay::default();
    let socket = if shared.delays.any() {
        PeerSocket::Delayed(DelayedIo::new(socket, delay.clone(), Arc::clone(&shared.clock)))
    } else {
        PeerSocket::Direct(socket)
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    let offered: Vec<Protocol> =
        start.client_hello().alpn().into_iter().flatten().filter_map(Protocol::of_alpn).collect();
    let &[protocol] = offered.as_slice() else {
        return Err(io::Error::other("not exactly one protocol of this cluster is offered"));
    };
    if protocol == Protocol::Join {
        if accepting.handlers.join.is_none() {
            return Err(io::Error::other("no node may join here"));
        }
        let turn = Arc::clone(&accepting.joins).try_acquire_owned().map_err(io::Error::other)?;
        let tls = start.into_stream(Arc::clone(&shared.servers.join)).await?.into();
        return Ok(Greeted::Joiner { tls, turn });
    }
    if protocol == Protocol::Http && accepting.handlers.http.is_none() {
        return Err(io::Error::other("HTTP is not served here"));
    }
    let tls = start.into_stream(Arc::clone(&shared.servers.peer)).await?;
    let (_, connection) = tls.get_ref();
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let leaf = leaf.ok_or_else(|| io::Error::other("no certificate was sent"))?;
    // INVARIANT: the verifier has believed this certificate, in this very handshake.
    let identity = SpiffeId::of_certificate(leaf).map_err(io::Error::other)?.peer;
    let leaf = leaf.clone().into_owned();
    Ok(Greeted::Peer { protocol, identity, leaf, tls: tls.into(), delay })
}
