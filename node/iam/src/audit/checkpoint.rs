//! Signed statements of where a tenant's chain was.

use domicile_raft::Timestamp;
use domicile_storage::codec::{self, CodecError};

use crate::ids::TenantId;
use crate::seal::RootKey;

const FORMAT: u8 = 1;
const LABEL: &str = "domicile checkpoint v1";

/// The chain's hash after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Checkpoint {
    /// Whose chain.
    pub tenant: TenantId,
    /// The last event covered; 0 before the first.
    pub sequence: u64,
    /// The chain's hash after it.
    pub head: [u8; 32],
    /// When it was signed, log time.
    pub at: Timestamp,
}

/// A checkpoint under the tenant's root key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// Ed25519.
    pub signature: [u8; 64],
}

impl SignedCheckpoint {
    /// Signs a checkpoint.
    ///
    /// # Errors
    /// [`CodecError::NotEncodable`].
    pub fn sign(checkpoint: Checkpoint, root: &RootKey) -> Result<Self, CodecError> {
        let signature = root.sign(LABEL, &codec::encode_fixed(FORMAT, &checkpoint)?);
        Ok(Self { checkpoint, signature })
    }

    /// Whether the tenant whose root public key is `public` signed it.
    pub fn is_signed_by(&self, public: &[u8; 32]) -> bool {
        codec::encode_fixed(FORMAT, &self.checkpoint)
            .is_ok_and(|message| RootKey::verify(public, LABEL, &message, &self.signature))
    }

    /// As stored, and in an export.
    ///
    /// # Errors
    /// [`CodecError::NotEncodable`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_fixed(FORMAT, self)
    }

    /// From its stored form.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_fixed(codec::split_format(bytes, &[FORMAT])?.1)
    }
}
