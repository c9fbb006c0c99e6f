//! Any node takes any request: answered by this node's replica where it may, else forwarded, at most one
//! hop, over the peer link. Nothing of a forwarded request is kept or logged on its way.
//!
//! ```text
//! layer ── class: what the endpoint needs      places: who holds the tenant's home
//!   └─ forwarder ── here: on this node's replica
//!                 └ channel (HTTP/2) ── envelope ──▶ inbound ── receive ── here, on the other node
//! ```
//!
//! - **A request that may have been done is sent again only where that changes nothing**: it is a read,
//!   a page on the way through a login, or carries an `Idempotency-Key`.
//! - **What only nodes may say is believed on connections between nodes only.**
//! - **At most one hop**: what comes from another node is answered here or sent back.

mod channel;
pub(crate) mod class;
mod envelope;
mod forwarder;
mod here;
mod inbound;
mod layer;
mod places;
mod problems;
mod receive;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use domicile_iam::service::Iam;
use domicile_raft::peer::tls::TlsPeers;
use domicile_raft::{Clock, RaftNode};

use super::catalog::Catalog;
use crate::telemetry::ForwardMetrics;

pub use class::{Class, ENDPOINTS, Endpoint, Repeat};
pub(crate) use inbound::Inbound;
pub(crate) use problems::outcome_unknown;

/// What forwarding needs.
pub(crate) struct Outbound {
    /// Says where tenants live.
    pub(crate) iam: Iam,
    /// Replicas of this node.
    pub(crate) raft: Arc<RaftNode>,
    /// The directory's word, as last read.
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
    /// Opens connections to other nodes.
    pub(crate) peers: Arc<TlsPeers>,
    /// Where this node runs.
    pub(crate) region: String,
    /// Where in the region.
    pub(crate) zone: String,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where it is counted.
    pub(crate) metrics: ForwardMetrics,
    /// A longer body is 413.
    pub(crate) body_bytes_max: usize,
}

/// Follows requests to where they are answered. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Forwarding(Arc<forwarder::Forwarder>);

impl Forwarding {
    /// Ready to follow.
    pub(crate) fn new(outbound: Outbound) -> Self {
        let Outbound { iam, raft, catalog, peers, region, zone, clock, metrics, body_bytes_max } = outbound;
        Self(Arc::new(forwarder::Forwarder {
            places: Arc::new(places::ClusterPlaces { iam, raft, catalog, region, zone }),
            channel: Arc::new(channel::PeerChannel::new(peers)),
            learnt: places::Learnt::new(clock.clone()),
            clock,
            metrics,
            body_bytes_max,
        }))
    }

    /// Puts forwarding around `routes`, inside the guard.
    pub(crate) fn wrap(&self, routes: Router) -> Router {
        routes.layer(layer::Forwarding(self.0.clone()))
    }

    /// Answers what other nodes forward with `routes`, which have no guard.
    pub(crate) fn receive(&self, inbound: &Inbound, routes: Router) {
        inbound.serve(routes, self.0.clone());
    }
}
