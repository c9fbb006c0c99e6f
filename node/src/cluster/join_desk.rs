//! Answers hosts that want to join. They have proved nothing: the directory decides by the token's secret.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use bytes::Bytes;
use domicile_iam::commands::RedeemJoinToken;
use domicile_raft::BoxFuture;
use domicile_raft::peer::tls::{AuthorityCertificate, JoinAcceptor};

use super::catalog::Catalog;
use super::directory::{Directory, DirectoryError, jurisdiction_of};
use super::files::{KnownPeer, Membership, load_region_ca};
use super::join_wire::{self, JoinAnswer, JoinRequest, Joined, Secret};
use super::service::chain;

/// The desk of one node.
pub(crate) struct JoinDesk {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    membership: Membership,
    directory: OnceLock<Directory>,
}

impl JoinDesk {
    pub(crate) fn new(root: PathBuf, membership: Membership) -> Self {
        Self { inner: Arc::new(Inner { root, membership, directory: OnceLock::new() }) }
    }

    /// Answers from here on; before it, hosts are told to come again.
    pub(crate) fn open(&self, directory: Directory) {
        let _ = self.inner.directory.set(directory);
    }
}

impl JoinAcceptor for JoinDesk {
    fn join(&self, from: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let answer = inner.answer(&request).await;
            match &answer {
                JoinAnswer::Joined(joined) => tracing::info!(%from, node = joined.node.0, "a node joined"),
                JoinAnswer::Refused(reason) => tracing::warn!(%from, reason, "a host was refused"),
                JoinAnswer::Later(reason) => tracing::info!(%from, reason, "a host was told to come again"),
            }
            Bytes::from(join_wire::encode(&answer).unwrap_or_default())
        })
    }
}

impl Inner {
    async fn answer(&self, request: &[u8]) -> JoinAnswer {
        let Ok(request) = join_wire::decode::<JoinRequest>(request) else {
            return JoinAnswer::Refused("the question is of another version".to_owned());
        };
        let Some(directory) = self.directory.get() else {
            return JoinAnswer::Later("this node is still starting".to_owned());
        };
        self.admit(directory, request).await.unwrap_or_else(|answer| answer)
    }

    async fn admit(&self, directory: &Directory, request: JoinRequest) -> Result<JoinAnswer, JoinAnswer> {
        let refused = |reason: &str| JoinAnswer::Refused(reason.to_owned());
        if let Some(der) = &request.authority {
            self.check_authority(der, &request.region).map_err(JoinAnswer::Refused)?;
        } else if request.region != self.membership.region {
            // Only a node of that region has its authority's key.
            return Err(refused("the token is of another region than the node that was asked"));
        }
        let joiner = request.joiner.try_into().map_err(|_| refused("the question is malformed"))?;
        let own_authority = request.authority.is_some();
        let jurisdiction = request.jurisdiction.unwrap_or_else(|| jurisdiction_of(&request.region));
        let command = RedeemJoinToken {
            secret_sha256: sha256(&request.secret),
            joiner,
            jurisdiction: Some(jurisdiction),
            region: request.region,
            zone: request.zone,
            certificate: request.authority,
            addresses: request.addresses,
            version: request.version,
        };
        let node = directory.redeem(command).await.map_err(|error| match error {
            DirectoryError::Refused(reason) => JoinAnswer::Refused(reason),
            DirectoryError::Unavailable(reason) => JoinAnswer::Later(reason),
        })?;
        let region_authority = if own_authority {
            None
        } else {
            let pem = load_region_ca(&self.root).map_err(|error| JoinAnswer::Later(chain(error)))?;
            Some(Secret(pem.to_string()))
        };
        let catalog = directory.catalog().await.map_err(JoinAnswer::Later)?;
        Ok(JoinAnswer::Joined(Box::new(Joined {
            cluster: self.membership.cluster.clone(),
            node,
            region_authority,
            authorities: authorities(&catalog),
            peers: peers(&catalog),
        })))
    }

    fn check_authority(&self, der: &[u8], region: &str) -> Result<(), String> {
        let certificate = AuthorityCertificate::from_der(der).map_err(chain)?;
        let name = certificate.name();
        if name.cluster == self.membership.cluster && name.region == region {
            Ok(())
        } else {
            Err(format!("the authority's certificate is of {name}"))
        }
    }
}

fn authorities(catalog: &Catalog) -> BTreeMap<String, Vec<serde_bytes::ByteBuf>> {
    let encode = |all: &Vec<Vec<u8>>| all.iter().cloned().map(serde_bytes::ByteBuf::from).collect();
    catalog.regions.iter().map(|(name, all)| (name.clone(), encode(all))).collect()
}

fn peers(catalog: &Catalog) -> BTreeMap<u64, KnownPeer> {
    let peers = catalog.members().map(|(id, node)| {
        let (region, zone, address) = (node.region.clone(), node.zone.clone(), node.peer_address.clone());
        (id.0, KnownPeer { region, zone, address })
    });
    peers.collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}
