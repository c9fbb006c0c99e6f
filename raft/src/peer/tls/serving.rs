//! How many bytes of requests of one peer are worked on. The bound outlives its connections: a peer
//! that reconnects gets no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::NodeId;
use crate::peer::Lane;

pub(super) struct Budgets {
    bytes_max: usize,
    peers: Mutex<BTreeMap<(NodeId, Lane), Arc<Semaphore>>>,
}

impl Budgets {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, peers: Mutex::default() }
    }

    pub(super) fn of(&self, node: NodeId, lane: Lane) -> Arc<Semaphore> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody uses it: no connection, and no work that holds a part.
        peers.retain(|_, budget| Arc::strong_count(budget) > 1);
        let fresh = || Arc::new(Semaphore::new(self.bytes_max));
        Arc::clone(peers.entry((node, lane)).or_insert_with(fresh))
    }
}
