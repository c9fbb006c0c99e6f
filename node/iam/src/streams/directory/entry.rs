//! What a tenant's root key signs for the directory.

use domicile_raft::PartitionId;
use domicile_storage::codec::{self, CodecError};

use crate::ids::TenantId;

const ENTRY_FORMAT: u8 = 1;

/// A tenant's entry. The directory stores it but cannot make it: it lacks the root key.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct DirectoryEntry {
    /// Which.
    pub tenant: TenantId,
    /// Its name in paths.
    pub slug: String,
    /// `iss`.
    pub issuer: String,
    /// Where it lives.
    pub home: PartitionId,
    /// Raised when it moves.
    pub epoch: u64,
    /// Revision of the tenant's stream that this tells of; a lower one never replaces a higher.
    pub revision: u64,
    /// The key that signs.
    pub root_public_key: [u8; 32],
}

impl DirectoryEntry {
    /// The bytes to sign.
    ///
    /// # Errors
    /// [`CodecError::NotEncodable`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_fixed(ENTRY_FORMAT, self)
    }

    /// From signed bytes. Verify the signature first.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_fixed(codec::split_format(bytes, &[ENTRY_FORMAT])?.1)
    }
}
