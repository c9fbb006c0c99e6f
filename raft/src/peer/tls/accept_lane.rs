//! The accepting end of a lane: requests are handed over in order, answered as they are done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domicile_storage::codec::encode_fixed;
use futures::StreamExt as _;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::codec::FramedRead;

use super::connection::REFUSAL_FORMAT;
use super::counters::{Counters, count};
use super::frame::{BATCH_BYTES, FRAME_OVERHEAD_BYTES, Frame, FrameDecoder, FrameError, FrameWriter, Kind};
use super::hello::{self, HelloError, Purpose};
use super::listener::Accepting;
use super::socket::PeerStream;
use crate::NodeId;
use crate::peer::{Lane, MESSAGE_BYTES_MAX, PeerIdentity, PeerRefusal};

/// Answers that wait to be written; then nothing more is read.
const ANSWERS_MAX: usize = 1_024;
/// What a request counts for at least: its task costs memory too.
const REQUEST_BYTES_MIN: usize = 4 << 10;

struct Answer {
    kind: Kind,
    id: u64,
    body: Bytes,
    /// Its share of what is worked on for the peer.
    _share: Option<OwnedSemaphorePermit>,
}

/// Serves a lane until its connection ends.
pub(super) async fn serve(accepting: &Arc<Accepting>, from: PeerIdentity, stream: PeerStream) {
    let (read, write) = tokio::io::split(stream);
    let mut frames = FramedRead::new(read, FrameDecoder::new(MESSAGE_BYTES_MAX));
    let mut writer = FrameWriter::new(write);
    let options = &accepting.shared.options;
    let greeting = greet(&accepting.shared.cluster, &mut frames, &mut writer);
    let greeted = tokio::time::timeout(options.handshake_timeout, greeting).await;
    let lane = match greeted {
        Ok(Ok(lane)) => lane,
        Ok(Err(cause)) => {
            tracing::warn!(peer = from.node.0, %cause, "a peer's connection was closed");
            return;
        }
        Err(_) => {
            tracing::warn!(peer = from.node.0, "a peer's connection was closed: it sent no first frame");
            return;
        }
    };
    let (answers, to_write) = mpsc::channel(ANSWERS_MAX);
    let counters = accepting.shared.counters.of(from.node);
    let requests = Requests { accepting, budget: accepting.budgets.of(from.node, lane), from, lane, answers };
    let mut writing = std::pin::pin!(write_answers(&mut writer, to_write, &counters));
    let node = requests.from.node.0;
    let end = tokio::select! {
        end = requests.read(&mut frames, &counters, options.accepted_idle) => end,
        written = &mut writing => written.map_err(FrameError::Io),
    };
    accepting.shared.ended(NodeId(node));
    match end {
        // All senders of answers are gone when the requests begun are done.
        Ok(()) if accepting.closing.is_cancelled() => {
            if let Err(cause) = writing.await {
                tracing::info!(peer = node, ?lane, %cause, "a peer left before it was answered");
            }
        }
        Ok(()) => {}
        Err(FrameError::Io(cause)) => tracing::info!(peer = node, ?lane, %cause, "a peer's connection ended"),
        Err(cause) => tracing::warn!(peer = node, ?lane, %cause, "a peer's connection was closed"),
    }
}

async fn greet(
    cluster: &str,
    frames: &mut FramedRead<ReadHalf<PeerStream>, FrameDecoder>,
    writer: &mut FrameWriter<WriteHalf<PeerStream>>,
) -> Result<Lane, HelloError> {
    let purpose = hello::receive(frames, cluster).await?;
    let lane = purpose.lane().ok_or(HelloError::Purpose)?;
    hello::send(writer, cluster, Purpose::of(lane)).await?;
    Ok(lane)
}

struct Requests<'a> {
    accepting: &'a Arc<Accepting>,
    budget: Arc<Semaphore>,
    from: PeerIdentity,
    lane: Lane,
    answers: mpsc::Sender<Answer>,
}

impl Requests<'_> {
    /// Ends with `Ok` at the peer's orderly end, or when the listener is closing.
    async fn read(
        self,
        frames: &mut FramedRead<ReadHalf<PeerStream>, FrameDecoder>,
        counters: &Counters,
        idle: Duration,
    ) -> Result<(), FrameError> {
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(idle, frames.next()) => next,
                () = self.accepting.closing.cancelled() => return Ok(()),
            };
            let Ok(next) = next else {
                return Err(FrameError::Io(std::io::ErrorKind::TimedOut.into()));
            };
            let Some(frame) = next else { return Ok(()) };
            let Frame { kind, id, body } = frame?;
            counters.heard(self.accepting.shared.clock.monotonic());
            match kind {
                Kind::Ping => self.answer(Kind::Pong, id, Bytes::new()).await,
                Kind::Request => {
                    count(&counters.messages_in, 1);
                    self.begin(id, body).await;
                }
                other @ (Kind::Hello
                | Kind::Answer
                | Kind::Refusal
                | Kind::Pong
                | Kind::Header
                | Kind::Chunk
                | Kind::End) => return Err(FrameError::OutOfPlace(other)),
            }
        }
    }

    async fn answer(&self, kind: Kind, id: u64, body: Bytes) {
        // Without a writer the connection ends anyway.
        let _ = self.answers.send(Answer { kind, id, body, _share: None }).await;
    }

    async fn begin(&self, id: u64, message: Bytes) {
        let bytes = (message.len() + FRAME_OVERHEAD_BYTES).max(REQUEST_BYTES_MIN);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(share) = Arc::clone(&self.budget).try_acquire_many_owned(bytes) else {
            let refusal = PeerRefusal::Overloaded("too much of this peer is in work".to_owned());
            self.answer(Kind::Refusal, id, encode_refusal(&refusal)).await;
            return;
        };
        let serving = self.accepting.handlers.service.serve(&self.from, self.lane, message);
        let (answers, stop) = (self.answers.clone(), self.accepting.stop.clone());
        self.accepting.tasks.spawn(async move {
            let served = tokio::select! {
                served = serving => served,
                () = stop.cancelled() => return,
            };
            let (kind, body) = encode_answer(served);
            let _ = answers.send(Answer { kind, id, body, _share: Some(share) }).await;
        });
    }
}

/// The frame for what a service said.
pub(super) fn encode_answer(served: Result<Bytes, PeerRefusal>) -> (Kind, Bytes) {
    match served {
        Ok(body) if body.len() <= MESSAGE_BYTES_MAX => (Kind::Answer, body),
        Ok(body) => {
            let refusal = PeerRefusal::Failed(format!("an answer of {} bytes is too long", body.len()));
            (Kind::Refusal, encode_refusal(&refusal))
        }
        Err(refusal) => (Kind::Refusal, encode_refusal(&refusal)),
    }
}

fn encode_refusal(refusal: &PeerRefusal) -> Bytes {
    // A refusal too long to send still refuses: the empty body is read as one that cannot be read.
    encode_fixed(REFUSAL_FORMAT, refusal).map(Bytes::from).unwrap_or_default()
}

async fn write_answers(
    writer: &mut FrameWriter<WriteHalf<PeerStream>>,
    mut answers: mpsc::Receiver<Answer>,
    counters: &Counters,
) -> std::io::Result<()> {
    while let Some(first) = answers.recv().await {
        let mut next = Some(first);
        let mut gathered = 0;
        while let Some(answer) = next {
            writer.push(answer.kind, answer.id, &answer.body).await?;
            if answer.kind != Kind::Pong {
                count(&counters.messages_out, 1);
            }
            gathered += answer.body.len() + FRAME_OVERHEAD_BYTES;
            next = if gathered < BATCH_BYTES { answers.try_recv().ok() } else { None };
        }
        writer.flush().await?;
    }
    writer.close().await
}
