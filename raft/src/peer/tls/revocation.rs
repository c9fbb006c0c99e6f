//! Ends accepted connections of a node that was taken out of the address book, or whose certificate is
//! believed no more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::endpoint::Shared;
use super::verify::is_believed;
use crate::peer::PeerIdentity;

/// Held by a connection.
pub(super) struct Revocation {
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
    _alive: DropGuard,
}

impl Revocation {
    /// Watches over a connection with this certificate until it is dropped.
    pub(super) fn watch(
        shared: &Arc<Shared>,
        peer: PeerIdentity,
        leaf: CertificateDer<'static>,
        stop: CancellationToken,
    ) -> Self {
        let (revoked, alive) = (CancellationToken::new(), CancellationToken::new());
        let (shared, signal, ended) = (Arc::clone(shared), revoked.clone(), alive.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = stop.cancelled() => {}
                reason = until_revoked(&shared, &peer, &leaf) => {
                    tracing::info!(peer = peer.node.0, reason, "closing a connection");
                    signal.cancel();
                }
            }
        });
        Self { revoked: Box::pin(revoked.cancelled_owned()), _alive: alive.drop_guard() }
    }

    /// Ready once the connection must end.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.revoked.as_mut().poll(context)
    }
}

async fn until_revoked(shared: &Shared, peer: &PeerIdentity, leaf: &CertificateDer<'_>) -> &'static str {
    let (mut book, mut trust) = (shared.book.changes(), shared.trust.changes());
    // One that the book does not name yet may be new.
    let mut known = false;
    loop {
        match shared.book.region(peer.node) {
            None if known => return "the node is known no more",
            Some(region) if region != peer.region => return "the node is of another region",
            Some(_) => known = true,
            None => {}
        }
        if !is_believed(&shared.trust, leaf, shared.clock.now()) {
            return "its certificate is believed no more";
        }
        // Neither ends while `shared` is held.
        tokio::select! {
            _ = book.changed() => {}
            _ = trust.changed() => {}
        }
    }
}
