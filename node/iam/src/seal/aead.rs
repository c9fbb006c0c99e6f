//! AES-256-GCM and HKDF-SHA-256 over aws-lc-rs.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::ids::DataKeyId;

/// A key or a sealed value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A bit differs, or it was sealed with another key or for another place.
    #[error("sealed bytes do not open")]
    NotAuthentic,
    /// A key is not 32 bytes.
    #[error("key is not 32 bytes")]
    KeyLength,
    /// The cryptographic library refused.
    #[error("cryptographic operation refused")]
    Refused,
    /// A key version that this node does not hold.
    #[error("key version {0} is not known here")]
    UnknownVersion(u32),
    /// A key that must exist does not.
    #[error("key {0} is missing")]
    Missing(DataKeyId),
    /// A key is used for what it is not made for.
    #[error("key {0} has another purpose")]
    Purpose(DataKeyId),
    /// Stored bytes do not decode.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The key table cannot be read.
    #[error("key table: {0}")]
    State(String),
}

fn key(bytes: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| SealError::Refused)
}

/// Ciphertext and 16-byte tag.
pub(super) fn seal(
    secret: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut buffer = Vec::with_capacity(plain.len() + 16);
    buffer.extend_from_slice(plain);
    key(secret)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer)
        .map_err(|_| SealError::Refused)?;
    Ok(buffer)
}

pub(super) fn open(
    secret: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = key(secret)?
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer)
        .map_err(|_| SealError::NotAuthentic)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

struct Len32;

impl KeyType for Len32 {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF-SHA-256 (RFC 5869) to 32 bytes.
pub(super) fn derive(
    secret: &[u8; 32],
    salt: &[u8],
    info: &[&[u8]],
) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let mut out = Zeroizing::new([0_u8; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, Len32)
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .map_err(|_| SealError::Refused)?;
    Ok(out)
}

/// Associated data: each part after its length, so that no two lists of parts are equal bytes.
pub(super) fn associated(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}
