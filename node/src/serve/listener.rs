//! A listening socket, the accept loop, and the drain at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::{self, Bounds};

/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub cause: std::io::Error,
}

/// A socket that listens, not yet served.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let at = |cause| BindError { address, cause };
        let socket = TcpListener::bind(address).await.map_err(at)?;
        let address = socket.local_addr().map_err(at)?;
        Ok(Self { socket, address })
    }

    /// Where it listens, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// How a listener is served.
pub struct Server {
    /// TLS, or plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// What answers.
    pub router: Router,
    /// Bounds of each connection.
    pub bounds: Bounds,
    /// Open connections at a time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Counts open connections.
    pub open: Gauge,
}

impl Server {
    /// Accepts until `draining` turns true, takes what the kernel had accepted by then, and lets requests
    /// in flight end within `drain_timeout`. Idle connections are read for a moment longer. Gives how many
    /// connections had to be cut.
    pub async fn run(
        self,
        listener: Listener,
        draining: watch::Receiver<bool>,
        drain_timeout: Duration,
    ) -> usize {
        let places = Arc::new(Semaphore::new(self.connections_max.min(Semaphore::MAX_PERMITS)));
        let mut connections = JoinSet::new();
        let mut stop = draining.clone();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|draining| *draining) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = accept(&listener.socket, &places) => accepted,
            };
            let Some(accepted) = accepted else { continue };
            connections.spawn(self.serve(accepted, draining.clone()));
        }
        for accepted in left_in_queue(listener.socket, &places) {
            connections.spawn(self.serve(accepted, draining.clone()));
        }
        let all_done = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain_timeout, all_done).await.is_ok() {
            return 0;
        }
        let cut = connections.len();
        connections.shutdown().await;
        cut
    }

    fn serve(
        &self,
        (stream, peer, place): Accepted,
        draining: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, router, open) = (self.tls.clone(), self.router.clone(), self.open.clone());
        let bounds = self.bounds;
        async move {
            open.inc();
            let _closed = Closed(open);
            connection::serve(stream, peer, tls, router, bounds, draining).await;
            drop(place);
        }
    }
}

/// Counts down also when the connection's task is cut.
struct Closed(Gauge);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.dec();
    }
}

type Accepted = (tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection once there is a place for it.
async fn accept(socket: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = places.clone().acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Closes the socket; gives whom the kernel had accepted. Closing resets who is still in the queue, who may
/// have sent a request and could not know that nothing was done. So it is the kernel that is asked here,
/// until it has no more: the runtime may not have heard of the latest.
fn left_in_queue(socket: TcpListener, places: &Arc<Semaphore>) -> Vec<Accepted> {
    let mut left = Vec::new();
    let Ok(socket) = socket.into_std() else { return left };
    while let Ok(place) = places.clone().try_acquire_owned() {
        let Ok((stream, peer)) = socket.accept() else { break };
        let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::TcpStream::from_std(stream));
        left.extend(stream.ok().map(|stream| (stream, peer, place)));
    }
    left
}

#[cfg(test)]
mod tests;
