//! What a joining host and a node of the cluster say to each other.

use std::collections::BTreeMap;

use domicile_iam::model::NodeAddresses;
use domicile_raft::NodeId;
use domicile_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::files::KnownPeer;

const FORMAT: u8 = 1;

/// From the host.
#[derive(Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    /// Of the token.
    #[serde(with = "serde_bytes")]
    pub(crate) secret: Vec<u8>,
    /// Made up for this data directory: the same host may ask again after a lost answer.
    #[serde(with = "serde_bytes")]
    pub(crate) joiner: Vec<u8>,
    pub(crate) region: String,
    pub(crate) zone: String,
    pub(crate) addresses: NodeAddresses,
    pub(crate) version: String,
    /// Certificate (DER) of the authority of a region that is new.
    pub(crate) authority: Option<serde_bytes::ByteBuf>,
}

/// Text that is wiped from memory and never printed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret(pub(crate) String);

/// To the host.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JoinAnswer {
    /// It is a node.
    Joined(Box<Joined>),
    /// It is none: the token, or what it asked, is refused.
    Refused(String),
    /// Try again: the directory has no quorum now, or is moving.
    Later(String),
}

/// What makes a host a node.
#[derive(Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    /// Certificate and key (PEM) of its region's authority; absent where it made that itself.
    pub(crate) region_authority: Option<Secret>,
    /// Certificates (DER) of the authorities by region.
    pub(crate) authorities: BTreeMap<String, Vec<serde_bytes::ByteBuf>>,
    pub(crate) peers: BTreeMap<u64, KnownPeer>,
}

pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    codec::encode_open(FORMAT, message)
}

pub(crate) fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode_open(codec::split_format(bytes, &[FORMAT])?.1)
}
