//! Consistency tokens.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_raft::{Incarnation, PartitionId};
use domicile_storage::codec;

use crate::ids::TenantId;

const FORMAT: u8 = 1;

/// Given by each write; a read that carries it sees that write. Opaque to callers: base64url of a
/// format byte and the fields below, 48 of tenant, epoch, partition, incarnation and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ConsistencyToken {
    /// The tenant.
    pub tenant: TenantId,
    /// Its epoch when it was written.
    pub epoch: u64,
    /// The partition.
    pub partition: PartitionId,
    /// Which life of it; one from an abandoned incarnation is answered 409.
    pub incarnation: Incarnation,
    /// The log index.
    pub index: u64,
}

/// A text that is no consistency token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a consistency token")]
pub struct ParseTokenError;

impl fmt::Display for ConsistencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = codec::encode_fixed(FORMAT, self).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for ConsistencyToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseTokenError)?;
        codec::split_format(&bytes, &[FORMAT])
            .and_then(|(_, body)| codec::decode_fixed(body))
            .map_err(|_| ParseTokenError)
    }
}
