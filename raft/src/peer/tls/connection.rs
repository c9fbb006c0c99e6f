//! The dialling end of a lane's connection: requests out, answers in, a ping when it is quiet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_storage::codec::{decode_fixed, split_format};
use futures::StreamExt as _;
use tokio::io::{ReadHalf, WriteHalf};
use tokio_util::codec::FramedRead;

use super::counters::{Counters, count};
use super::endpoint::Shared;
use super::frame::{BATCH_BYTES, Frame, FrameDecoder, FrameError, FrameWriter, Kind};
use super::options::LaneOptions;
use super::queue::{LaneQueue, Reply, Waiting};
use super::socket::PeerStream;
use crate::peer::{PeerError, PeerRefusal};
use crate::{Clock, NodeId};

pub(super) const REFUSAL_FORMAT: u8 = 1;
/// How long a peer may be silent once another connection to it broke.
const DOUBTED_FOR: Duration = Duration::from_secs(1);

/// On a busy connection a ping goes out once in so many looks at it.
const LOOKS_A_PING: u32 = 10;

pub(super) struct Connection {
    pub(super) frames: FramedRead<ReadHalf<PeerStream>, FrameDecoder>,
    pub(super) writer: FrameWriter<WriteHalf<PeerStream>>,
    /// Grows when a peer that was slow to take bytes takes some.
    pub(super) progress: Arc<AtomicU64>,
}

/// Calls on the wire, by id.
type Pending = Mutex<BTreeMap<u64, Reply>>;

struct State<'a> {
    peer: NodeId,
    clock: &'a dyn Clock,
    queue: &'a LaneQueue,
    pending: Pending,
    counters: &'a Counters,
    ping_due: AtomicBool,
    /// When the ping that is under way left, in µs of the monotonic clock; 0 without one.
    pinged_us: AtomicU64,
    /// Frames received.
    heard: AtomicU64,
    progress: Arc<AtomicU64>,
}

impl State<'_> {
    /// Changes what is on the wire, and keeps the count of it.
    fn pending<T>(&self, change: impl FnOnce(&mut BTreeMap<u64, Reply>) -> T) -> T {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pending.len();
        let changed = change(&mut pending);
        let after = pending.len();
        let by = |calls: usize| u64::try_from(calls).unwrap_or(u64::MAX);
        self.counters.in_flight.fetch_add(by(after.saturating_sub(before)), Ordering::Relaxed);
        self.counters.in_flight.fetch_sub(by(before.saturating_sub(after)), Ordering::Relaxed);
        changed
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_micros()).unwrap_or(u64::MAX)
    }

    fn ponged(&self) {
        let pinged = self.pinged_us.swap(0, Ordering::Relaxed);
        if pinged > 0 {
            self.counters.round_trip(Duration::from_micros(self.now_us().saturating_sub(pinged)));
        }
    }
}

/// Runs until the connection breaks (with the reason) or the queue is closed and all is answered (`None`).
pub(super) async fn run(
    connection: Connection,
    shared: &Shared,
    peer: NodeId,
    queue: &LaneQueue,
    options: &LaneOptions,
) -> Option<String> {
    let Connection { mut frames, mut writer, progress } = connection;
    let counters = shared.counters.of(peer);
    let state = State {
        peer,
        clock: shared.clock.as_ref(),
        queue,
        pending: Pending::default(),
        counters: &counters,
        ping_due: AtomicBool::new(false),
        pinged_us: AtomicU64::new(0),
        heard: AtomicU64::new(0),
        progress,
    };
    let end = tokio::select! {
        end = read_answers(&mut frames, &state) => end.to_string(),
        end = write_requests(&mut writer, &state, shared) => match end {
            Ok(()) => String::new(),
            Err(cause) => cause.to_string(),
        },
        silent = watch(&state, options) => format!("nothing came for {} ms", silent.as_millis()),
    };
    if !end.is_empty() {
        fail_all(&state, &end);
        return Some(end);
    }
    tokio::select! {
        () = finish(&mut frames, &mut writer, &state) => {}
        _ = watch(&state, options) => {}
    }
    fail_all(&state, "the transport is closed");
    None
}

fn fail_all(state: &State<'_>, reason: &str) {
    for (_, reply) in state.pending(std::mem::take) {
        let reason = format!("the connection ended: {reason}");
        let _ = reply.send(Err(PeerError::Lost { node: state.peer, reason }));
    }
}

/// The queue was closed: waits for the answers that are due, then says goodbye.
async fn finish(
    frames: &mut FramedRead<ReadHalf<PeerStream>, FrameDecoder>,
    writer: &mut FrameWriter<WriteHalf<PeerStream>>,
    state: &State<'_>,
) {
    while !state.pending(|pending| pending.is_empty()) {
        match frames.next().await {
            Some(Ok(frame)) => {
                if take(frame, state).is_err() {
                    break;
                }
            }
            Some(Err(_)) | None => break,
        }
    }
    // The peer sees the end of the connection either way.
    let _ = writer.close().await;
}

async fn read_answers(
    frames: &mut FramedRead<ReadHalf<PeerStream>, FrameDecoder>,
    state: &State<'_>,
) -> FrameError {
    loop {
        let end = match frames.next().await {
            Some(Ok(frame)) => match take(frame, state) {
                Ok(()) => continue,
                Err(cause) => cause,
            },
            Some(Err(cause)) => cause,
            None => FrameError::Io(std::io::ErrorKind::UnexpectedEof.into()),
        };
        return end;
    }
}

fn take(frame: Frame, state: &State<'_>) -> Result<(), FrameError> {
    state.heard.fetch_add(1, Ordering::Relaxed);
    state.queue.doubt(false);
    state.counters.heard(state.clock.monotonic());
    let answer = match frame.kind {
        Kind::Pong => {
            state.ponged();
            return Ok(());
        }
        Kind::Answer => Ok(frame.body),
        Kind::Refusal => Err(PeerError::Refused { node: state.peer, refusal: read_refusal(&frame.body) }),
        other @ (Kind::Hello | Kind::Request | Kind::Ping | Kind::Header | Kind::Chunk | Kind::End) => {
            return Err(FrameError::OutOfPlace(other));
        }
    };
    count(&state.counters.messages_in, 1);
    if let Some(reply) = state.pending(|pending| pending.remove(&frame.id)) {
        // The caller may have stopped waiting.
        let _ = reply.send(answer);
    }
    Ok(())
}

/// A refusal that cannot be read is one all the same.
pub(super) fn read_refusal(body: &[u8]) -> PeerRefusal {
    split_format(body, &[REFUSAL_FORMAT])
        .and_then(|(_, body)| decode_fixed(body))
        .unwrap_or_else(|cause| PeerRefusal::Failed(format!("a refusal that cannot be read: {cause}")))
}

async fn write_requests(
    writer: &mut FrameWriter<WriteHalf<PeerStream>>,
    state: &State<'_>,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut next_id = 1u64;
    loop {
        let mut written = 0;
        if state.ping_due.swap(false, Ordering::Relaxed) {
            state.pinged_us.store(state.now_us().max(1), Ordering::Relaxed);
            writer.push(Kind::Ping, 0, &[]).await?;
            written += 1;
        }
        while let Some(Waiting { message, reply, expires, fate }) = state.queue.pop() {
            let bytes = message.len();
            if shared.clock.monotonic() < expires && fate.send() {
                state.pending(|pending| pending.insert(next_id, reply));
                let pushed = writer.push(Kind::Request, next_id, &message).await;
                next_id += 1;
                count(&state.counters.messages_out, 1);
                state.queue.sent(bytes);
                pushed?;
            } else {
                state.queue.sent(bytes);
            }
            written += bytes + 1;
            if written >= BATCH_BYTES {
                break;
            }
        }
        if written > 0 {
            writer.flush().await?;
        } else if state.queue.is_closed() {
            return Ok(());
        } else {
            state.queue.changed().await;
        }
    }
}

/// Returns when the peer is dead, with how long it was silent. Also forgets calls that nobody waits for any
/// more.
async fn watch(state: &State<'_>, options: &LaneOptions) -> Duration {
    let mut heard = 0;
    let mut silent = Duration::ZERO;
    let mut looks = 0_u32;
    loop {
        tokio::time::sleep(options.ping_every).await;
        state.pending(|pending| pending.retain(|_, reply| !reply.is_closed()));
        looks = looks.wrapping_add(1);
        // A long message on its way over a thin link delays the ping, but not its own bytes.
        let now = state.heard.load(Ordering::Relaxed) + state.progress.load(Ordering::Relaxed);
        if now == heard {
            silent += options.ping_every;
            let patience = if state.queue.is_doubted() {
                options.dead_after.min(DOUBTED_FOR)
            } else {
                options.dead_after
            };
            if silent >= patience {
                return silent;
            }
            state.ping_due.store(true, Ordering::Relaxed);
            state.queue.wake();
        } else {
            (heard, silent) = (now, Duration::ZERO);
            // A busy connection shows how long the way is, too.
            if looks.is_multiple_of(LOOKS_A_PING) {
                state.ping_due.store(true, Ordering::Relaxed);
                state.queue.wake();
            }
        }
    }
}
