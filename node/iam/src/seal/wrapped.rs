//! A key under another key: a row of the key table.

use domicile_storage::codec;
use zeroize::Zeroizing;

use super::aead::{self, SealError};
use crate::ids::{DataKeyId, Id, TenantId};
use crate::streams::wire_enum;

const FORMAT: u8 = 1;

wire_enum! {
    /// What a key may be used for; part of what authenticates its wrapping.
    KeyPurpose {
        /// Wraps a tenant's other keys.
        Tenant = 1,
        /// Seals personal values of one person, or of the tenant.
        Data = 2,
        /// Blinds lookups.
        Lookup = 3,
        /// Seals replies and tokens, through subkeys.
        Token = 4,
        /// The tenant's Ed25519 root seed.
        Root = 5,
        /// Private bytes of a token signing key.
        Signing = 6,
    }
}

/// The key that wraps. The order of the variants is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum WrappedBy {
    /// The partition key of this version.
    Partition(u32),
    /// A tenant key.
    Tenant(DataKeyId),
}

/// A wrapped key.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct WrappedKey {
    /// By which key.
    pub wrapped_by: WrappedBy,
    /// For what.
    pub purpose: KeyPurpose,
    /// 96 random bits.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

fn aad(tenant: TenantId, id: DataKeyId, purpose: KeyPurpose, by: WrappedBy) -> Vec<u8> {
    let mut wrapper = Vec::with_capacity(17);
    match by {
        WrappedBy::Partition(version) => {
            wrapper.push(0);
            wrapper.extend_from_slice(&version.to_be_bytes());
        }
        WrappedBy::Tenant(id) => {
            wrapper.push(1);
            wrapper.extend_from_slice(&id.bytes());
        }
    }
    aead::associated(&[
        b"domicile wrapped key v1",
        &tenant.bytes(),
        &id.bytes(),
        &[purpose.number()],
        &wrapper,
    ])
}

impl WrappedKey {
    /// Wraps `plain` with `wrapper`.
    ///
    /// # Errors
    /// [`SealError::Refused`].
    pub(super) fn wrap(
        wrapper: &[u8; 32],
        wrapped_by: WrappedBy,
        tenant: TenantId,
        id: DataKeyId,
        purpose: KeyPurpose,
        nonce: [u8; 12],
        plain: &[u8],
    ) -> Result<Self, SealError> {
        let ciphertext = aead::seal(wrapper, nonce, &aad(tenant, id, purpose, wrapped_by), plain)?;
        Ok(Self { wrapped_by, purpose, nonce, ciphertext })
    }

    /// Unwraps it.
    ///
    /// # Errors
    /// [`SealError::NotAuthentic`] under another key, tenant or id.
    pub(super) fn open(
        &self,
        wrapper: &[u8; 32],
        tenant: TenantId,
        id: DataKeyId,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        aead::open(wrapper, self.nonce, &aad(tenant, id, self.purpose, self.wrapped_by), &self.ciphertext)
    }

    /// As stored.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, SealError> {
        codec::encode_fixed(FORMAT, self).map_err(|cause| SealError::Malformed(cause.to_string()))
    }

    /// From its stored form.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        codec::split_format(bytes, &[FORMAT])
            .and_then(|(_, body)| codec::decode_fixed(body))
            .map_err(|cause| SealError::Malformed(cause.to_string()))
    }
}
