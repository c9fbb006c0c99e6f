//! A partition's key, as the node keeps it beside the partition's directory.

use std::fmt;

use domicile_raft::{Clock, PartitionId};
use domicile_storage::codec;
use zeroize::Zeroizing;

use super::aead::{self, SealError};
use super::kek::KekSource;

const FORMAT: u8 = 1;

/// The key of one partition, in clear. Never serialised.
#[derive(Clone)]
pub struct PartitionKey {
    partition: PartitionId,
    version: u32,
    key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionKey({}, version {})", self.partition.0, self.version)
    }
}

/// A partition's key under a region's: stored in the partition's directory (mode 0600), and sent to
/// replicas that join.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct WrappedPartitionKey {
    /// Whose.
    pub partition: PartitionId,
    /// The partition key's version.
    pub version: u32,
    /// The version of the key-encryption key.
    pub kek_version: u32,
    /// 96 random bits.
    pub nonce: [u8; 12],
    /// 48 bytes.
    pub ciphertext: Vec<u8>,
}

fn aad(partition: PartitionId, version: u32) -> Vec<u8> {
    aead::associated(&[b"domicile partition key v1", &partition.0.to_be_bytes(), &version.to_be_bytes()])
}

impl PartitionKey {
    /// A new key, version 1.
    pub fn generate(partition: PartitionId, clock: &dyn Clock) -> Self {
        let mut key = Zeroizing::new([0_u8; 32]);
        clock.fill_random(key.as_mut_slice());
        Self { partition, version: 1, key }
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Wraps it with the current key-encryption key.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn wrap(&self, source: &dyn KekSource, clock: &dyn Clock) -> Result<WrappedPartitionKey, SealError> {
        let kek = source.current()?;
        let mut nonce = [0_u8; 12];
        clock.fill_random(&mut nonce);
        let ciphertext =
            aead::seal(kek.key(), nonce, &aad(self.partition, self.version), self.key.as_slice())?;
        let (partition, version) = (self.partition, self.version);
        Ok(WrappedPartitionKey { partition, version, kek_version: kek.version(), nonce, ciphertext })
    }

    pub(super) fn subkey(&self, label: &[u8], salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        aead::derive(&self.key, salt, &[label])
    }
}

impl WrappedPartitionKey {
    /// Unwraps it.
    ///
    /// # Errors
    /// [`SealError::NotAuthentic`] with another key-encryption key, [`SealError::UnknownVersion`].
    pub fn unwrap_with(&self, source: &dyn KekSource) -> Result<PartitionKey, SealError> {
        let kek = source.version(self.kek_version)?;
        let plain = aead::open(kek.key(), self.nonce, &aad(self.partition, self.version), &self.ciphertext)?;
        let key = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| SealError::KeyLength)?;
        Ok(PartitionKey { partition: self.partition, version: self.version, key: Zeroizing::new(key) })
    }

    /// As kept in a file.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, SealError> {
        codec::encode_fixed(FORMAT, self).map_err(|cause| SealError::Malformed(cause.to_string()))
    }

    /// From a file.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        codec::split_format(bytes, &[FORMAT])
            .and_then(|(_, body)| codec::decode_fixed(body))
            .map_err(|cause| SealError::Malformed(cause.to_string()))
    }
}
