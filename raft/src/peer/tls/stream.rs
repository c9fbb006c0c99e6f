//! The sending end of a byte stream: a connection of its own, so that TCP is its flow control.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::{ReadHalf, WriteHalf};
use tokio_util::codec::FramedRead;

use super::config::Protocol;
use super::connection::read_refusal;
use super::counters::{Counters, count};
use super::dial::dial;
use super::endpoint::Shared;
use super::frame::{Frame, FrameDecoder, FrameError, FrameWriter, Kind};
use super::hello::{self, Purpose};
use super::socket::PeerStream;
use crate::peer::{CHUNK_BYTES_MAX, MESSAGE_BYTES_MAX, PeerError, PeerRefusal, StreamSender};
use crate::{BoxFuture, NodeId};

/// Opens one within `deadline`.
pub(super) async fn open(
    shared: Arc<Shared>,
    to: NodeId,
    header: Bytes,
    deadline: Duration,
) -> Result<Box<dyn StreamSender>, PeerError> {
    if header.len() > CHUNK_BYTES_MAX {
        return Err(too_long(to, header.len()));
    }
    let opening = async {
        let stream = dial(&shared, to, Protocol::Stream, deadline).await?;
        let (read, write) = tokio::io::split(stream);
        let mut frames = FramedRead::new(read, FrameDecoder::new(MESSAGE_BYTES_MAX));
        let mut writer = FrameWriter::new(write);
        let greeted = async {
            hello::send(&mut writer, &shared.cluster, Purpose::Stream).await?;
            hello::receive(&mut frames, &shared.cluster).await?;
            writer.push(Kind::Header, 0, &header).await?;
            writer.flush().await?;
            Ok::<_, hello::HelloError>(())
        };
        greeted.await.map_err(|cause| cause.to_string())?;
        let counters = shared.counters.of(to);
        Ok(TlsStreamSender { to, frames, writer, stall: shared.options.stream_stall, counters })
    };
    match tokio::time::timeout(deadline, opening).await {
        Ok(Ok(sender)) => Ok(Box::new(sender)),
        Ok(Err(reason)) => Err(PeerError::Unreachable { node: to, reason }),
        Err(_) => Err(PeerError::Timeout(to)),
    }
}

fn too_long(node: NodeId, bytes: usize) -> PeerError {
    let reason = format!("{bytes} bytes; at most {CHUNK_BYTES_MAX}");
    PeerError::Refused { node, refusal: PeerRefusal::Malformed(reason) }
}

/// Dropped before its end mark it leaves a broken stream: that is the abort.
struct TlsStreamSender {
    to: NodeId,
    frames: FramedRead<ReadHalf<PeerStream>, FrameDecoder>,
    writer: FrameWriter<WriteHalf<PeerStream>>,
    stall: Duration,
    counters: Arc<Counters>,
}

impl TlsStreamSender {
    fn broken(&self, cause: &dyn std::fmt::Display) -> PeerError {
        PeerError::Lost { node: self.to, reason: format!("the stream broke: {cause}") }
    }

    fn answer(&self, frame: Option<Result<Frame, FrameError>>) -> Result<Bytes, PeerError> {
        let Frame { kind, body, .. } = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(cause)) => return Err(self.broken(&cause)),
            None => return Err(self.broken(&"the peer closed it")),
        };
        match kind {
            Kind::Answer => Ok(body),
            Kind::Refusal => Err(PeerError::Refused { node: self.to, refusal: read_refusal(&body) }),
            other @ (Kind::Hello
            | Kind::Request
            | Kind::Ping
            | Kind::Pong
            | Kind::Header
            | Kind::Chunk
            | Kind::End) => Err(self.broken(&FrameError::OutOfPlace(other))),
        }
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), PeerError> {
        if chunk.len() > CHUNK_BYTES_MAX {
            return Err(too_long(self.to, chunk.len()));
        }
        let Self { frames, writer, stall, .. } = self;
        let writing = async {
            writer.push(Kind::Chunk, 0, &chunk).await?;
            writer.flush().await
        };
        // The peer answers before the end only to refuse.
        let written = tokio::select! {
            biased;
            early = frames.next() => Err(early),
            written = tokio::time::timeout(*stall, writing) => Ok(written),
        };
        match written {
            Ok(Ok(Ok(()))) => {
                count(&self.counters.messages_out, 1);
                Ok(())
            }
            Ok(Ok(Err(cause))) => Err(self.broken(&cause)),
            Ok(Err(_)) => Err(PeerError::Timeout(self.to)),
            Err(early) => match self.answer(early) {
                Ok(_) => Err(self.broken(&"answered before its end")),
                Err(refused) => Err(refused),
            },
        }
    }
}

impl StreamSender for TlsStreamSender {
    fn send(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(self.write(chunk))
    }

    fn finish(mut self: Box<Self>, deadline: Duration) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let to = self.to;
        let finishing = async move {
            let ended = async {
                self.writer.push(Kind::End, 0, &[]).await?;
                self.writer.flush().await
            };
            // A refusal may be there already, and be the cause.
            let ended = ended.await;
            match (self.frames.next().await, ended) {
                (Some(Ok(frame)), _) => self.answer(Some(Ok(frame))),
                (_, Err(cause)) => Err(self.broken(&cause)),
                (other, Ok(())) => self.answer(other),
            }
        };
        Box::pin(async move {
            tokio::time::timeout(deadline, finishing).await.unwrap_or(Err(PeerError::Timeout(to)))
        })
    }
}
