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
    /// Of a region that is new, where its settings say so.
    #[serde(default)]
    pub(crate) jurisdiction: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_of_a_host_that_names_no_jurisdiction_is_understood() {
        #[derive(Serialize)]
        struct Older {
            #[serde(with = "serde_bytes")]
            secret: Vec<u8>,
            #[serde(with = "serde_bytes")]
            joiner: Vec<u8>,
            region: String,
            zone: String,
            addresses: NodeAddresses,
            version: String,
            authority: Option<serde_bytes::ByteBuf>,
        }
        let older = Older {
            secret: vec![1],
            joiner: vec![2],
            region: "us-east".to_owned(),
            zone: "a".to_owned(),
            addresses: NodeAddresses::default(),
            version: "0.1.0".to_owned(),
            authority: None,
        };
        let request: JoinRequest = decode(&encode(&older).unwrap()).unwrap();
        assert_eq!((request.region.as_str(), request.jurisdiction), ("us-east", None));
    }
}
