//! What went to and came from each peer, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::NodeId;

/// Counts since the start of the process. Bytes are those inside TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Requests, answers and chunks sent.
    pub messages_out: u64,
    /// Requests, answers and chunks received.
    pub messages_in: u64,
    /// Connections made to the peer.
    pub connects: u64,
    /// Attempts to connect that failed.
    pub connect_failures: u64,
    /// Connections accepted from the peer.
    pub accepts: u64,
    /// Calls refused because the queue was full.
    pub queue_full: u64,
    /// Calls on the wire without an answer, now.
    pub in_flight: u64,
    /// How long the last ping took.
    pub round_trip: Option<Duration>,
    /// How long ago something came from the peer.
    pub heard: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_out: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) messages_out: AtomicU64,
    pub(super) messages_in: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) connect_failures: AtomicU64,
    pub(super) accepts: AtomicU64,
    pub(super) queue_full: AtomicU64,
    pub(super) in_flight: AtomicU64,
    /// 0 before the first.
    round_trip_us: AtomicU64,
    /// On the monotonic clock; 0 before the first.
    heard_us: AtomicU64,
}

/// One more, or `by` more; counts order nothing.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Counters {
    /// Something came at `now` on the monotonic clock.
    pub(super) fn heard(&self, now: Duration) {
        self.heard_us.store(micros(now).max(1), Ordering::Relaxed);
    }

    /// A ping took so long.
    pub(super) fn round_trip(&self, took: Duration) {
        self.round_trip_us.store(micros(took).max(1), Ordering::Relaxed);
    }

    fn read(&self, now: Duration) -> PeerCounts {
        let time = |micros: &AtomicU64| {
            Some(micros.load(Ordering::Relaxed)).filter(|micros| *micros > 0).map(Duration::from_micros)
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeerCounts {
            bytes_out: read(&self.bytes_out),
            bytes_in: read(&self.bytes_in),
            messages_out: read(&self.messages_out),
            messages_in: read(&self.messages_in),
            connects: read(&self.connects),
            connect_failures: read(&self.connect_failures),
            accepts: read(&self.accepts),
            queue_full: read(&self.queue_full),
            in_flight: read(&self.in_flight),
            round_trip: time(&self.round_trip_us),
            heard: time(&self.heard_us).map(|at| now.saturating_sub(at)),
        }
    }
}

/// The counters of every peer seen.
#[derive(Debug, Default)]
pub(super) struct CounterTable {
    peers: Mutex<BTreeMap<NodeId, Arc<Counters>>>,
}

impl CounterTable {
    pub(super) fn of(&self, node: NodeId) -> Arc<Counters> {
        Arc::clone(self.peers.lock().unwrap_or_else(PoisonError::into_inner).entry(node).or_default())
    }

    pub(super) fn snapshot(&self, now: Duration) -> BTreeMap<NodeId, PeerCounts> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.iter().map(|(node, counters)| (*node, counters.read(now))).collect()
    }
}
