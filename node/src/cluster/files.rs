//! What makes a data directory a node of a cluster: who it is, whom it trusts, where peers are.
//!
//! ```text
//! CLUSTER         cluster id, node id, region, zone; written last: without it nothing was joined
//! region-ca.pem   certificate and key of the region's authority, mode 0600
//! PEERS           certificates of all regions' authorities, addresses of nodes; a copy for the boot
//! HELD            partitions that were opened here and not taken away in order
//! JOINER          32 bytes that a host made up to join with; it asks again with the same
//! node.kek        the node's key-encryption key unless the settings name another, mode 0600
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domicile_raft::{Clock, NodeId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::catalog::Catalog;
use crate::private_file;

const FORMAT: u8 = 1;
const CLUSTER: &str = "CLUSTER";
const PEERS: &str = "PEERS";
/// Certificate and key of the region's authority.
pub(crate) const REGION_CA: &str = "region-ca.pem";
const JOINER: &str = "JOINER";
const HELD: &str = "HELD";

/// A node's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Reading or writing failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Not what this program wrote.
    #[error("{} is not of this version: {reason}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `start` before `init` or `join`.
    #[error("{} holds no node: `domicile init` makes a cluster, `domicile join` joins one", .0.display())]
    NoNode(PathBuf),
    /// `init` or `join` on a node.
    #[error("{} holds a node already: `domicile start` runs it", .0.display())]
    Occupied(PathBuf),
    /// The settings name another place than the node was made in.
    #[error("the settings place this node in {settings}, but it was made in {made}: a node does not move")]
    Moved {
        /// From the settings.
        settings: String,
        /// From the data directory.
        made: String,
    },
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    format: u8,
    /// Which cluster.
    pub(crate) cluster: String,
    /// Its id.
    pub(crate) node: NodeId,
    /// Where it runs.
    pub(crate) region: String,
    /// Where in the region.
    pub(crate) zone: String,
}

/// Whom a node trusts and where it finds others, as last known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownPeers {
    format: u8,
    /// Certificates (DER, base64) of each region's authorities.
    pub(crate) authorities: BTreeMap<String, Vec<String>>,
    /// `host:port` by node id.
    pub(crate) addresses: BTreeMap<u64, KnownPeer>,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownPeer {
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) address: String,
}

impl Membership {
    pub(crate) fn new(cluster: &str, node: NodeId, region: &str, zone: &str) -> Self {
        let (cluster, region, zone) = (cluster.to_owned(), region.to_owned(), zone.to_owned());
        Self { format: FORMAT, cluster, node, region, zone }
    }

    /// The node of a data directory.
    pub(crate) fn load(root: &Path) -> Result<Self, FilesError> {
        let found: Option<Self> = read_json(&root.join(CLUSTER))?;
        let found = found.ok_or_else(|| FilesError::NoNode(root.to_owned()))?;
        if found.format == FORMAT { Ok(found) } else { Err(format_of(&root.join(CLUSTER), found.format)) }
    }

    /// Makes the data directory a node's. The last step of `init` and `join`.
    pub(crate) fn store(&self, root: &Path) -> Result<(), FilesError> {
        write_json(&root.join(CLUSTER), self)
    }

    /// Refuses a directory that holds a node.
    pub(crate) fn none_in(root: &Path) -> Result<(), FilesError> {
        if root.join(CLUSTER).exists() { Err(FilesError::Occupied(root.to_owned())) } else { Ok(()) }
    }

    /// Refuses settings of another place.
    pub(crate) fn check_place(&self, region: &str, zone: &str) -> Result<(), FilesError> {
        if self.region == region && self.zone == zone {
            return Ok(());
        }
        let place = |region: &str, zone: &str| format!("region {region}, zone {zone}");
        Err(FilesError::Moved { settings: place(region, zone), made: place(&self.region, &self.zone) })
    }
}

impl KnownPeers {
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let addresses = catalog.members().map(|(id, node)| {
            let (region, zone, address) = (node.region.clone(), node.zone.clone(), node.peer_address.clone());
            (id.0, KnownPeer { region, zone, address })
        });
        Self::new(&catalog.regions, addresses.collect())
    }

    pub(crate) fn new(
        authorities: &BTreeMap<String, Vec<Vec<u8>>>,
        addresses: BTreeMap<u64, KnownPeer>,
    ) -> Self {
        let encode = |der: &Vec<u8>| STANDARD.encode(der);
        let authorities =
            authorities.iter().map(|(name, cas)| (name.clone(), cas.iter().map(encode).collect()));
        Self { format: FORMAT, authorities: authorities.collect(), addresses }
    }

    pub(crate) fn load(root: &Path) -> Result<Self, FilesError> {
        let path = root.join(PEERS);
        let found: Option<Self> = read_json(&path)?;
        let found = found.ok_or_else(|| FilesError::Malformed {
            path: path.clone(),
            reason: "it is missing".to_owned(),
        })?;
        if found.format == FORMAT { Ok(found) } else { Err(format_of(&path, found.format)) }
    }

    pub(crate) fn store(&self, root: &Path) -> Result<(), FilesError> {
        write_json(&root.join(PEERS), self)
    }

    /// Certificates of the authorities, DER, by region.
    pub(crate) fn authorities_der(&self, root: &Path) -> Result<BTreeMap<String, Vec<Vec<u8>>>, FilesError> {
        let malformed = |cause: base64::DecodeError| FilesError::Malformed {
            path: root.join(PEERS),
            reason: cause.to_string(),
        };
        let mut all = BTreeMap::new();
        for (region, certificates) in &self.authorities {
            let read: Result<Vec<Vec<u8>>, _> =
                certificates.iter().map(|text| STANDARD.decode(text).map_err(malformed)).collect();
            all.insert(region.clone(), read?);
        }
        Ok(all)
    }
}

/// What this host made up to join with; made now if it is the first time.
pub(crate) fn joiner_id(root: &Path, clock: &dyn Clock) -> Result<Vec<u8>, FilesError> {
    let path = root.join(JOINER);
    let io = |action| {
        let path = path.clone();
        move |cause| FilesError::Io { action, path, cause }
    };
    if !path.exists() {
        let mut fresh = [0_u8; 32];
        clock.fill_random(&mut fresh);
        private_file::create(&path, &fresh).map_err(io("write"))?;
    }
    let found = std::fs::read(&path).map_err(io("read"))?;
    if found.len() == 32 {
        Ok(found)
    } else {
        Err(FilesError::Malformed { path, reason: format!("it has {} bytes, not 32", found.len()) })
    }
}

/// Certificate and key of the region's authority, PEM.
pub(crate) fn load_region_ca(root: &Path) -> Result<Zeroizing<String>, FilesError> {
    let path = root.join(REGION_CA);
    let text = std::fs::read_to_string(&path);
    text.map(Zeroizing::new).map_err(|cause| FilesError::Io { action: "read", path, cause })
}

pub(crate) fn store_region_ca(root: &Path, pem: &str) -> Result<(), FilesError> {
    let path = root.join(REGION_CA);
    private_file::replace(&path, pem.as_bytes()).map_err(|cause| FilesError::Io {
        action: "write",
        path,
        cause,
    })
}

/// The partitions that were ever opened here and not taken away in order. Kept beside what they hold, so
/// that a log or a state that went missing is noticed: a replica that forgot what it acknowledged must not
/// come back under its old id (Raft §5.3: an acknowledged entry stays).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    format: u8,
    pub(crate) partitions: BTreeSet<u64>,
}

impl Held {
    /// Nothing before the first start.
    pub(crate) fn load(root: &Path) -> Result<Self, FilesError> {
        let path = root.join(HELD);
        match read_json::<Self>(&path)? {
            None => Ok(Self { format: FORMAT, partitions: BTreeSet::new() }),
            Some(held) if held.format == FORMAT => Ok(held),
            Some(held) => Err(format_of(&path, held.format)),
        }
    }

    pub(crate) fn store(&self, root: &Path) -> Result<(), FilesError> {
        write_json(&root.join(HELD), self)
    }
}

fn format_of(path: &Path, found: u8) -> FilesError {
    let reason = format!("it has format {found}, this program knows {FORMAT}");
    FilesError::Malformed { path: path.to_owned(), reason }
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, FilesError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|cause| FilesError::Malformed { path: path.to_owned(), reason: cause.to_string() }),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FilesError::Io { action: "read", path: path.to_owned(), cause }),
    }
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FilesError> {
    let malformed =
        |cause: serde_json::Error| FilesError::Malformed { path: path.to_owned(), reason: cause.to_string() };
    let mut text = serde_json::to_vec_pretty(value).map_err(malformed)?;
    text.push(b'\n');
    private_file::replace(path, &text).map_err(|cause| FilesError::Io {
        action: "write",
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_stays_who_and_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(Membership::load(root.path()), Err(FilesError::NoNode(_))));
        Membership::none_in(root.path()).unwrap();
        let made = Membership::new("c1", NodeId(3), "eu-central", "a");
        made.store(root.path()).unwrap();
        assert_eq!(Membership::load(root.path()).unwrap(), made);
        assert!(matches!(Membership::none_in(root.path()), Err(FilesError::Occupied(_))));
        made.check_place("eu-central", "a").unwrap();
        let moved = made.check_place("us-east", "a").unwrap_err().to_string();
        assert!(moved.contains("region us-east, zone a") && moved.contains("does not move"), "{moved}");
    }

    #[test]
    fn what_is_held_is_kept_and_starts_empty() {
        let root = tempfile::tempdir().unwrap();
        let mut held = Held::load(root.path()).unwrap();
        assert!(held.partitions.is_empty());
        held.partitions.extend([0, 7]);
        held.store(root.path()).unwrap();
        assert_eq!(Held::load(root.path()).unwrap(), held);
        std::fs::write(root.path().join(HELD), r#"{"format":2,"partitions":[]}"#).unwrap();
        assert!(matches!(Held::load(root.path()), Err(FilesError::Malformed { .. })));
    }

    #[test]
    fn a_newer_or_damaged_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        for text in ["{", r#"{"format":9,"cluster":"c","node":1,"region":"r","zone":"z"}"#] {
            std::fs::write(root.path().join(CLUSTER), text).unwrap();
            let error = Membership::load(root.path()).unwrap_err().to_string();
            assert!(error.contains("CLUSTER is not of this version"), "{error}");
        }
    }
}
