//! What waits for one peer on one lane: in order of the calls, bounded in bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::frame::FRAME_OVERHEAD_BYTES;
use crate::NodeId;
use crate::peer::PeerError;

/// What a call waits for.
pub(super) type Reply = oneshot::Sender<Result<Bytes, PeerError>>;

/// A call that is not on the wire yet.
pub(super) struct Waiting {
    pub(super) message: Bytes,
    pub(super) reply: Reply,
    /// On the monotonic clock: not worth sending after this.
    pub(super) expires: Duration,
    pub(super) fate: Fate,
}

/// Whether a call left before its caller gave up: one of the two, never both.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate(Arc<AtomicU8>);

const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Fate {
    fn decide(&self, fate: u8) -> bool {
        self.0.compare_exchange(0, fate, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The call leaves, unless its caller gave up before.
    pub(super) fn send(&self) -> bool {
        self.decide(SENT)
    }

    /// The caller waits no more. False if the call left before.
    pub(super) fn give_up(&self) -> bool {
        self.decide(GIVEN_UP)
    }
}

struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Calls fail at once until then, for that reason.
    refused_until: Option<(Duration, String)>,
    closed: bool,
}

/// The queue between the callers and the connection.
pub(super) struct LaneQueue {
    peer: NodeId,
    bytes_max: usize,
    inner: Mutex<Inner>,
    wake: Notify,
    /// The peer may be gone: another connection to it broke.
    doubted: AtomicBool,
}

impl LaneQueue {
    pub(super) fn new(peer: NodeId, bytes_max: usize) -> Self {
        let inner = Inner { waiting: VecDeque::new(), bytes: 0, refused_until: None, closed: false };
        Self {
            peer,
            bytes_max,
            inner: Mutex::new(inner),
            wake: Notify::new(),
            doubted: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreachable(&self, reason: &str) -> PeerError {
        PeerError::Unreachable { node: self.peer, reason: reason.to_owned() }
    }

    /// Takes a call, or says at once why not. Never waits.
    pub(super) fn push(&self, call: Waiting, now: Duration) -> Result<(), PeerError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(self.unreachable("the transport is closed"));
        }
        if let Some((until, reason)) = &inner.refused_until {
            if now < *until {
                return Err(self.unreachable(reason));
            }
            inner.refused_until = None;
        }
        let bytes = cost(&call);
        if inner.bytes.saturating_add(bytes) > self.bytes_max {
            return Err(PeerError::QueueFull(self.peer));
        }
        inner.bytes += bytes;
        inner.waiting.push_back(call);
        drop(inner);
        self.wake.notify_one();
        Ok(())
    }

    /// The oldest call. Its bytes count until [`LaneQueue::sent`].
    pub(super) fn pop(&self) -> Option<Waiting> {
        self.lock().waiting.pop_front()
    }

    /// A popped call of this many message bytes is written, or dropped.
    pub(super) fn sent(&self, message_bytes: usize) {
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_sub(message_bytes + FRAME_OVERHEAD_BYTES);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Returns when something was pushed, or [`LaneQueue::wake`] called, since the last return.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Fails all that waits, and what comes before `until`.
    pub(super) fn refuse(&self, reason: &str, until: Duration) {
        let failed = {
            let mut inner = self.lock();
            inner.refused_until = Some((until, reason.to_owned()));
            inner.bytes = 0;
            std::mem::take(&mut inner.waiting)
        };
        for call in failed {
            // Whoever forgot the answer needs none.
            let _ = call.reply.send(Err(self.unreachable(reason)));
        }
    }

    /// The peer showed that it is there: the next call may dial.
    pub(super) fn retry_now(&self) {
        self.lock().refused_until = None;
    }

    /// Notes that the peer may be gone, or that it showed that it is there.
    pub(super) fn doubt(&self, doubted: bool) {
        self.doubted.store(doubted, Ordering::Relaxed);
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// Takes no more calls. What waits is still sent.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }
}

fn cost(call: &Waiting) -> usize {
    call.message.len() + FRAME_OVERHEAD_BYTES
}
