//! The accepting end of a byte stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::ReadHalf;
use tokio_util::codec::FramedRead;

use super::accept_lane::encode_answer;
use super::counters::{Counters, count};
use super::frame::{Frame, FrameDecoder, FrameError, FrameWriter, Kind};
use super::hello::{self, HelloError, Purpose};
use super::listener::Accepting;
use super::socket::PeerStream;
use crate::peer::{CHUNK_BYTES_MAX, PeerError, PeerIdentity, StreamReceiver};
use crate::{BoxFuture, NodeId};

/// Serves one stream: greets, hands the chunks to the service, sends its answer.
pub(super) async fn serve(accepting: &Arc<Accepting>, from: PeerIdentity, stream: PeerStream) {
    let shared = &accepting.shared;
    let (read, write) = tokio::io::split(stream);
    let mut frames = FramedRead::new(read, FrameDecoder::new(CHUNK_BYTES_MAX));
    let mut writer = FrameWriter::new(write);
    let greeting = async {
        if hello::receive(&mut frames, &shared.cluster).await? != Purpose::Stream {
            return Err(HelloError::Purpose);
        }
        hello::send(&mut writer, &shared.cluster, Purpose::Stream).await?;
        match frames.next().await.ok_or(HelloError::Closed)?? {
            Frame { kind: Kind::Header, body, .. } => Ok(body),
            other => Err(FrameError::OutOfPlace(other.kind).into()),
        }
    };
    let header = match tokio::time::timeout(shared.options.handshake_timeout, greeting).await {
        Ok(Ok(header)) => header,
        Ok(Err(cause)) => {
            tracing::warn!(peer = from.node.0, %cause, "a peer's stream was closed");
            return;
        }
        Err(_) => {
            tracing::warn!(peer = from.node.0, "a peer's stream was closed: it sent no header");
            return;
        }
    };
    let chunks = TlsStreamReceiver {
        from: from.node,
        frames,
        state: State::Open,
        stall: shared.options.stream_stall,
        counters: shared.counters.of(from.node),
    };
    let served = accepting.handlers.service.serve_stream(&from, header, Box::new(chunks)).await;
    let (kind, body) = encode_answer(served);
    let answering = async {
        writer.push(kind, 0, &body).await?;
        writer.close().await
    };
    match tokio::time::timeout(shared.options.stream_stall, answering).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::info!(peer = from.node.0, %cause, "a stream's answer was not sent"),
        Err(_) => tracing::info!(peer = from.node.0, "a stream's answer was not taken"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Broken,
}

struct TlsStreamReceiver {
    from: NodeId,
    frames: FramedRead<ReadHalf<PeerStream>, FrameDecoder>,
    state: State,
    stall: Duration,
    counters: Arc<Counters>,
}

impl TlsStreamReceiver {
    fn broken(&mut self, cause: &dyn std::fmt::Display) -> PeerError {
        self.state = State::Broken;
        PeerError::Lost { node: self.from, reason: format!("the stream broke: {cause}") }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, PeerError> {
        match self.state {
            State::Open => {}
            State::Ended => return Ok(None),
            State::Broken => return Err(self.broken(&"it was aborted")),
        }
        let Ok(next) = tokio::time::timeout(self.stall, self.frames.next()).await else {
            self.state = State::Broken;
            return Err(PeerError::Timeout(self.from));
        };
        match next {
            Some(Ok(Frame { kind: Kind::Chunk, body, .. })) => {
                count(&self.counters.messages_in, 1);
                Ok(Some(body))
            }
            Some(Ok(Frame { kind: Kind::End, .. })) => {
                self.state = State::Ended;
                Ok(None)
            }
            Some(Ok(other)) => Err(self.broken(&FrameError::OutOfPlace(other.kind))),
            Some(Err(cause)) => Err(self.broken(&cause)),
            None => Err(self.broken(&"the sender gave it up")),
        }
    }
}

impl StreamReceiver for TlsStreamReceiver {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, PeerError>> {
        Box::pin(self.read())
    }
}
