//! What went to and came from each peer, for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
}

/// One more, or `by` more; counts order nothing.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counters {
    fn read(&self) -> PeerCounts {
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

    pub(super) fn snapshot(&self) -> BTreeMap<NodeId, PeerCounts> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.iter().map(|(node, counters)| (*node, counters.read())).collect()
    }
}
