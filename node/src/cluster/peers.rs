//! This node's transport: its certificate, whom it believes, where the others are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use domicile_raft::peer::tls::{
    AddressBook, AuthorityCertificate, NodeCertificate, PeerAddress, RegionAuthority, RenewalTask, TlsError,
    TlsOptions, TlsPeers, TlsPeersConfig, TrustBundle, TrustStore,
};
use domicile_raft::peer::{PeerIdentity, PeerPolicy, PeerStanding};
use domicile_raft::placement::Duty;
use domicile_raft::{Clock, NodeId};

use super::catalog::Catalog;
use super::files::{FilesError, KnownPeers, Membership, REGION_CA};
use super::service::chain;
use crate::config::Peers;

/// The transport cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// Certificates or sockets.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Files of the data directory.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// The transport with what it is made of.
pub(crate) struct PeerSide {
    pub(crate) peers: Arc<TlsPeers>,
    pub(crate) trust: Arc<TrustStore>,
    /// Held: dropping it ends the renewal.
    pub(crate) _renewal: RenewalTask,
    own: NodeId,
    known: std::sync::Mutex<KnownPeers>,
    /// What the directory said of each node last; `None` before it said anything.
    standings: Arc<ArcSwapOption<BTreeMap<NodeId, PeerStanding>>>,
}

impl PeerSide {
    /// From the data directory alone: a node comes up without the directory.
    pub(crate) fn open(
        root: &Path,
        membership: &Membership,
        settings: &Peers,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, PeersError> {
        let known = KnownPeers::load(root)?;
        let bundle = bundle(&membership.cluster, &known.authorities_der(root)?);
        let trust = Arc::new(TrustStore::new(bundle));
        let authority = Arc::new(RegionAuthority::load(&root.join(REGION_CA), clock.now())?);
        let identity = PeerIdentity {
            node: membership.node,
            region: membership.region.clone(),
            zone: membership.zone.clone(),
        };
        let certificate =
            NodeCertificate::issue(authority, identity, settings.certificate_lifetime, Arc::clone(clock))?;
        let renewal = certificate.keep_renewed();
        let book = Arc::new(AddressBook::default());
        book.replace(addresses(&known));
        let config = TlsPeersConfig {
            certificate,
            trust: Arc::clone(&trust),
            book,
            clock: Arc::clone(clock),
            options: TlsOptions::default(),
        };
        let peers = Arc::new(TlsPeers::new(config)?);
        for (region, ms) in &settings.delays {
            peers.set_delay(region, Duration::from_millis(*ms));
        }
        let (known, standings) = (std::sync::Mutex::new(known), Arc::default());
        Ok(Self { peers, trust, _renewal: renewal, own: membership.node, known, standings })
    }

    /// Who may speak to this node: what the directory says, as far as it was here since the start. A node
    /// that it does not name yet is a joiner whose entry is on its way; its certificate decides.
    pub(crate) fn policy(&self) -> PeerPolicy {
        let standings = Arc::clone(&self.standings);
        Arc::new(move |node: NodeId| match standings.load().as_ref() {
            Some(standings) => standings.get(&node).copied().unwrap_or(PeerStanding::Member),
            None => PeerStanding::Member,
        })
    }

    /// Other nodes as last known, this one left out.
    pub(crate) fn known_nodes(&self, own: NodeId) -> Vec<NodeId> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.addresses.keys().map(|id| NodeId(*id)).filter(|id| *id != own).collect()
    }

    /// Takes over what the directory says, and keeps it for the next boot. Gives whether it was news.
    pub(crate) fn follow(&self, root: &Path, cluster: &str, catalog: &Catalog) -> Result<bool, PeersError> {
        let fresh = KnownPeers::of(catalog);
        // A directory that is only being brought here knows nobody yet, or those of long ago: what is
        // known from joining is newer until it knows this node too.
        if fresh.authorities.is_empty() || !catalog.nodes.contains_key(&self.own) {
            return Ok(false);
        }
        self.standings.store(Some(Arc::new(standings(catalog))));
        {
            let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *known == fresh {
                return Ok(false);
            }
        }
        self.trust.update(bundle(cluster, &catalog.regions))?;
        self.peers.book().replace(addresses(&fresh));
        fresh.store(root)?;
        *self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
        Ok(true)
    }
}

/// The certificates that name this cluster and the region that they are listed for. Others are passed over,
/// one by one: what was written about one region must not end the trust in the others, nor extend to them.
fn bundle(cluster: &str, regions: &BTreeMap<String, Vec<Vec<u8>>>) -> TrustBundle {
    let mut bundle = TrustBundle::new(cluster);
    for (region, der) in regions.iter().flat_map(|(region, all)| all.iter().map(move |der| (region, der))) {
        let added = AuthorityCertificate::from_der(der).map_err(chain).and_then(|certificate| {
            let name = certificate.name();
            if name.cluster != cluster || name.region != *region {
                return Err(format!("it is of {name}"));
            }
            bundle.insert(certificate).map_err(chain)
        });
        if let Err(reason) = added {
            tracing::warn!(region, reason, "a certificate is not trusted");
        }
    }
    bundle
}

fn standings(catalog: &Catalog) -> BTreeMap<NodeId, PeerStanding> {
    let standing = |duty| match duty {
        Duty::Active | Duty::Draining => PeerStanding::Member,
        Duty::Decommissioned => PeerStanding::Decommissioned,
    };
    catalog.nodes.iter().map(|(id, node)| (*id, standing(node.duty))).collect()
}

fn addresses(known: &KnownPeers) -> BTreeMap<NodeId, PeerAddress> {
    let of = known.addresses.iter().map(|(id, peer)| {
        let address = PeerAddress { addresses: vec![peer.address.clone()], region: peer.region.clone() };
        (NodeId(*id), address)
    });
    of.collect()
}
