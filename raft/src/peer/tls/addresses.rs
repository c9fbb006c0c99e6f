//! Where peers are.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use crate::NodeId;

/// Where one peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// `host:port`, tried in this order; an IPv6 literal in brackets (`[2001:db8::1]:8445`).
    pub addresses: Vec<String>,
    /// Where it runs; its certificate must say the same.
    pub region: String,
}

/// The peers known, changed at run time. What a peer that is taken out had connected is closed.
#[derive(Debug, Default)]
pub struct AddressBook {
    peers: RwLock<BTreeMap<NodeId, PeerAddress>>,
    changed: watch::Sender<()>,
}

impl AddressBook {
    /// Adds or replaces one.
    pub fn set(&self, node: NodeId, address: PeerAddress) {
        self.peers.write().unwrap_or_else(PoisonError::into_inner).insert(node, address);
        self.changed.send_replace(());
    }

    /// Forgets one: it can be dialled no more, and what it connected is closed.
    pub fn remove(&self, node: NodeId) {
        self.peers.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
        self.changed.send_replace(());
    }

    /// Replaces all.
    pub fn replace(&self, peers: BTreeMap<NodeId, PeerAddress>) {
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = peers;
        self.changed.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Where `node` is, if known.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<PeerAddress> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// The region of `node`, if known.
    #[must_use]
    pub fn region(&self, node: NodeId) -> Option<String> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(&node).map(|address| address.region.clone())
    }
}
