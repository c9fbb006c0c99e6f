//! A peer's connection as bytes: TLS over TCP, counted, late if so configured.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsStream;

use super::counters::{Counters, count};
use super::delay::DelayedIo;
use super::exposed::Sent;
use super::revocation::Revocation;
use super::shares::Share;
use crate::NodeId;

/// What the kernel waits for an acknowledgement; lanes notice sooner by their pings.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

pub(super) enum PeerSocket {
    Direct(TcpStream),
    Delayed(DelayedIo),
}

/// No waiting for more bytes to send; a peer that is gone is noticed without sending.
pub(super) fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(UNACKNOWLEDGED_MAX).with_interval(UNACKNOWLEDGED_MAX / 4);
    let reference = SockRef::from(socket);
    #[cfg(target_os = "linux")]
    reference.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    reference.set_tcp_keepalive(&keepalive)
}

impl AsyncRead for PeerSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Delayed(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for PeerSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Delayed(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_write_vectored(context, pieces),
            Self::Delayed(socket) => Pin::new(socket).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Direct(_))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_flush(context),
            Self::Delayed(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Delayed(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}

/// An authenticated connection to or from a peer. Bytes are counted for that peer.
pub struct PeerStream {
    tls: Box<TlsStream<PeerSocket>>,
    counters: Arc<Counters>,
    /// Grows when a peer that was slow to take bytes takes some: what is written into the socket of one
    /// that is gone is no sign of life.
    progress: Arc<AtomicU64>,
    blocked: bool,
    /// What an accepted connection holds.
    accepted: Option<Accepted>,
    sent: Sent,
}

pub(super) struct Accepted {
    /// Its place among all, and among those of its node.
    pub(super) _place: (OwnedSemaphorePermit, Share<NodeId>),
    pub(super) revocation: Revocation,
}

impl PeerStream {
    pub(super) fn new(
        tls: TlsStream<PeerSocket>,
        counters: Arc<Counters>,
        accepted: Option<Accepted>,
        sent: Sent,
    ) -> Self {
        Self { tls: Box::new(tls), counters, progress: Arc::default(), blocked: false, accepted, sent }
    }

    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Bytes that had to wait were taken, so the peer is there.
    fn note<T>(&mut self, polled: &Poll<T>) {
        if polled.is_ready() && self.blocked {
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        self.blocked = polled.is_pending();
    }
}

impl std::fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerStream").finish_non_exhaustive()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(accepted) = &mut self.accepted
            && accepted.revocation.poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.tls).poll_read(context, buffer))?;
        count(&self.counters.bytes_in, buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.tls).poll_write(context, bytes);
        self.note(&polled);
        let written = ready!(polled)?;
        count(&self.counters.bytes_out, written);
        self.sent.took(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut *self.tls).poll_flush(context);
        self.note(&polled);
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.tls).poll_shutdown(context)
    }
}
