//! One question and one answer between a node without a certificate and a node of the cluster.
//!
//! The joiner believes the one server whose chain holds the authority that its token pinned; the server
//! believes nothing but the secret inside the question.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tokio_util::codec::FramedRead;

use super::config::{Protocol, joiner};
use super::exposed::Sent;
use super::frame::{Frame, FrameDecoder, FrameError, FrameWriter, Kind};
use super::socket::{PeerSocket, tune};
use super::trust::Pin;
use super::verify::{PinVerifier, wanted_name};
use crate::{BoxFuture, Clock, NodeId};

/// Longest question.
pub const JOIN_REQUEST_BYTES_MAX: usize = 64 << 10;
/// Longest answer: it carries the trust bundle and the peers.
pub const JOIN_ANSWER_BYTES_MAX: usize = 1 << 20;
/// Making a node takes writes to the directory.
const ACCEPTOR_TIMEOUT: Duration = Duration::from_mins(1);

/// Answers nodes that want to join. Whoever asks has proved nothing yet.
pub trait JoinAcceptor: Send + Sync + 'static {
    /// Takes a question of at most [`JOIN_REQUEST_BYTES_MAX`] and gives an answer of at most
    /// [`JOIN_ANSWER_BYTES_MAX`], refusals included. May be dropped when the joiner leaves.
    fn join(&self, from: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes>;
}

/// A join that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum JoinCallError {
    /// No address answered as the pinned cluster; nothing was sent.
    #[error("no node of the cluster could be reached: {0}")]
    Unreachable(String),
    /// Sent, not answered: the node may have been made.
    #[error("the answer did not come: {0}")]
    Unknown(String),
    /// Longer than [`JOIN_REQUEST_BYTES_MAX`].
    #[error("a question of {0} bytes is too long")]
    TooLong(usize),
}

pub(super) async fn serve(
    acceptor: &dyn JoinAcceptor,
    tls: TlsStream<PeerSocket>,
    from: SocketAddr,
    timeout: Duration,
) {
    let (read, write) = tokio::io::split(tls);
    let mut frames = FramedRead::new(read, FrameDecoder::new(JOIN_REQUEST_BYTES_MAX));
    let mut writer = FrameWriter::new(write);
    let request = match tokio::time::timeout(timeout, one(&mut frames, Kind::Request)).await {
        Ok(Ok(request)) => request,
        Ok(Err(cause)) => {
            tracing::info!(%from, %cause, "a joining node was refused");
            return;
        }
        Err(_) => {
            tracing::info!(%from, "a joining node asked nothing");
            return;
        }
    };
    let answering = async {
        let answer = acceptor.join(from, request).await;
        Sent::of(NodeId(0), "joining", Protocol::Join).took(&answer);
        writer.push(Kind::Answer, 0, &answer).await?;
        writer.close().await
    };
    match tokio::time::timeout(ACCEPTOR_TIMEOUT, answering).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::info!(%from, %cause, "a joining node was not answered"),
        Err(_) => tracing::warn!(%from, "answering a joining node took too long"),
    }
}

/// Asks the first of `addresses` (`host:port`) that proves to be of the pinned cluster and region.
///
/// # Errors
/// [`JoinCallError`]. After `Unknown` the same question may be asked again only if answering it twice does
/// no harm.
pub async fn join_call(
    addresses: &[String],
    pin: Pin,
    request: Bytes,
    deadline: Duration,
    clock: &Arc<dyn Clock>,
) -> Result<Bytes, JoinCallError> {
    if request.len() > JOIN_REQUEST_BYTES_MAX {
        return Err(JoinCallError::TooLong(request.len()));
    }
    let began = clock.monotonic();
    let left = || deadline.saturating_sub(clock.monotonic().saturating_sub(began));
    let mut reasons = Vec::new();
    for (turn, address) in addresses.iter().enumerate() {
        // What is left is shared by the addresses that are left.
        let share = left() / u32::try_from(addresses.len() - turn).unwrap_or(u32::MAX);
        let tls = match tokio::time::timeout(share, connect(address, pin, clock)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(cause)) => {
                reasons.push(format!("{address}: {cause}"));
                continue;
            }
            Err(_) => {
                reasons.push(format!("{address}: no connection in time"));
                continue;
            }
        };
        return match tokio::time::timeout(left(), ask(tls, &request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => Err(JoinCallError::Unknown(format!("{address}: {cause}"))),
            Err(_) => Err(JoinCallError::Unknown(format!("{address}: too late"))),
        };
    }
    Err(JoinCallError::Unreachable(reasons.join("; ")))
}

type ClientTls = tokio_rustls::client::TlsStream<TcpStream>;

async fn connect(address: &str, pin: Pin, clock: &Arc<dyn Clock>) -> std::io::Result<ClientTls> {
    let config = joiner(PinVerifier::new(pin), clock).map_err(std::io::Error::other)?;
    // The pin stands for the name.
    let name = wanted_name(NodeId(0)).ok_or(std::io::ErrorKind::InvalidInput)?;
    let tcp = TcpStream::connect(address).await?;
    tune(&tcp)?;
    TlsConnector::from(config).connect(name, tcp).await
}

async fn ask(tls: ClientTls, request: &[u8]) -> Result<Bytes, FrameError> {
    let (read, write) = tokio::io::split(tls);
    let mut frames = FramedRead::new(read, FrameDecoder::new(JOIN_ANSWER_BYTES_MAX));
    ask_over(&mut FrameWriter::new(write), request).await?;
    one(&mut frames, Kind::Answer).await
}

async fn ask_over<W: AsyncWrite + Unpin>(writer: &mut FrameWriter<W>, request: &[u8]) -> std::io::Result<()> {
    writer.push(Kind::Request, 0, request).await?;
    writer.flush().await
}

async fn one<R: AsyncRead + Unpin>(
    frames: &mut FramedRead<R, FrameDecoder>,
    wanted: Kind,
) -> Result<Bytes, FrameError> {
    match frames.next().await {
        Some(Ok(Frame { kind, body, .. })) if kind == wanted => Ok(body),
        Some(Ok(Frame { kind, .. })) => Err(FrameError::OutOfPlace(kind)),
        Some(Err(cause)) => Err(cause),
        None => Err(FrameError::Io(std::io::ErrorKind::UnexpectedEof.into())),
    }
}
