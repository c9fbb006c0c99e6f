//! Wide-area latency for demos and tests: what is sent to peers of a region arrives later, in order.
//!
//! It sits below TLS, so that lanes, streams, HTTP and handshakes are late alike. A connection made while
//! no delay is configured has none of this in its way.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use crate::Clock;

/// Pieces under way per connection; with TLS records of 16 KiB, 64 MiB.
const PIECES_MAX: usize = 4_096;

/// The delay to each region, in force for connections made from here on.
#[derive(Debug, Default)]
pub(super) struct DelayTable {
    regions: RwLock<BTreeMap<String, Duration>>,
}

impl DelayTable {
    pub(super) fn set(&self, region: &str, delay: Duration) {
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        if delay.is_zero() {
            regions.remove(region);
        } else {
            regions.insert(region.to_owned(), delay);
        }
    }

    pub(super) fn to(&self, region: &str) -> Duration {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        regions.get(region).copied().unwrap_or_default()
    }

    pub(super) fn any(&self) -> bool {
        !self.regions.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// The delay of one connection: the accepting side learns late who the peer is.
#[derive(Clone, Debug, Default)]
pub(super) struct Delay(Arc<AtomicU64>);

impl Delay {
    pub(super) fn set(&self, delay: Duration) {
        self.0.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// A socket whose writes arrive later. What was written is sent even when this is dropped.
pub(super) struct DelayedIo {
    read: OwnedReadHalf,
    pieces: PollSender<(Duration, Bytes)>,
    delay: Delay,
    clock: Arc<dyn Clock>,
}

impl DelayedIo {
    pub(super) fn new(socket: TcpStream, delay: Delay, clock: Arc<dyn Clock>) -> Self {
        let (read, write) = socket.into_split();
        let (pieces, waiting) = mpsc::channel(PIECES_MAX);
        // Ends by itself when this end is dropped and all is sent, or when the peer is gone.
        tokio::spawn(pump(write, waiting, Arc::clone(&clock)));
        Self { read, pieces: PollSender::new(pieces), delay, clock }
    }
}

async fn pump(
    mut write: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<(Duration, Bytes)>,
    clock: Arc<dyn Clock>,
) {
    while let Some((due, piece)) = pieces.recv().await {
        let early = due.saturating_sub(clock.monotonic());
        if !early.is_zero() {
            tokio::time::sleep(early).await;
        }
        if write.write_all(&piece).await.is_err() {
            return;
        }
    }
    // The peer may be gone already: there is nobody to tell.
    let _ = write.shutdown().await;
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

impl AsyncRead for DelayedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, buffer)
    }
}

impl AsyncWrite for DelayedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.pieces.poll_reserve(context)).map_err(|_| gone())?;
        let due = self.clock.monotonic() + self.delay.get();
        self.pieces.send_item((due, Bytes::copy_from_slice(bytes))).map_err(|_| gone())?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pieces.close();
        Poll::Ready(Ok(()))
    }
}
