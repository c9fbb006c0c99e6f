//! Peers over mutual TLS 1.3: one certificate authority per region, one connection per peer and lane.
//!
//! [`TlsPeers`] dials, [`PeerListener`] accepts. One port serves four protocols, told apart by ALPN:
//!
//! | ALPN | carries | client certificate |
//! |---|---|---|
//! | `domicile-raft/1` | frames of one lane | required |
//! | `domicile-stream/1` | one byte stream | required |
//! | `domicile-http/1` | bytes that the caller speaks HTTP over | required |
//! | `domicile-join/1` | one question and answer of a node that has no certificate yet | none |
//!
//! Invariants:
//! - A peer is believed for the region whose authority signed its certificate, and for no other.
//! - No length from outside is believed before it is compared with its bound.
//! - A session is never resumed: every connection verifies the certificate again.

mod accept_lane;
mod accept_stream;
mod addresses;
mod authority;
mod certificate;
mod config;
mod connection;
mod counters;
mod delay;
mod dial;
mod endpoint;
#[cfg(not(feature = "seeded-bugs"))]
#[path = "concealed.rs"]
mod exposed;
#[cfg(feature = "seeded-bugs")]
mod exposed;
mod frame;
#[cfg(test)]
mod frame_tests;
mod hello;
mod identity;
mod join;
mod lane;
mod listener;
mod options;
mod private_file;
mod queue;
mod revocation;
mod serving;
mod shares;
mod socket;
mod stream;
mod trust;
mod verify;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use addresses::{AddressBook, PeerAddress};
pub use authority::{Leaf, RegionAuthority};
pub use certificate::{LIFETIME_DEFAULT, NodeCertificate, RenewalTask};
pub use counters::PeerCounts;
pub use endpoint::{TlsPeers, TlsPeersConfig};
pub use identity::{AuthorityName, IdentityError, SpiffeId};
pub use join::{JOIN_ANSWER_BYTES_MAX, JOIN_REQUEST_BYTES_MAX, JoinAcceptor, JoinCallError, join_call};
pub use listener::{HttpAcceptor, PeerHandlers, PeerListener};
pub use options::{LaneOptions, TlsOptions};
pub use socket::PeerStream;
pub use trust::{AuthorityCertificate, Pin, TrustBundle, TrustStore};

/// Certificates, keys or sockets that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key that was made or read is not one of ours.
    #[error("certificate: {0}")]
    Certificate(String),
    /// A name that no certificate may carry.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A certificate of another cluster.
    #[error("a certificate of cluster `{found}` in cluster `{wanted}`")]
    ForeignCluster {
        /// The certificate's.
        found: String,
        /// Ours.
        wanted: String,
    },
    /// Making or signing a certificate.
    #[error("making a certificate failed")]
    Making(#[from] rcgen::Error),
    /// The TLS library refused its configuration.
    #[error("configuring TLS failed")]
    Configuration(#[from] rustls::Error),
    /// Bytes that this version does not read.
    #[error("the trust bundle cannot be read or written")]
    Codec(#[from] domicile_storage::codec::CodecError),
    /// A file.
    #[error("`{path}`: {action} failed")]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A listener's address.
    #[error("listening on {address} failed")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}
