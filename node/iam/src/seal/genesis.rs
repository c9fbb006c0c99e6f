//! The keys a tenant is born with, and its root key.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use domicile_raft::{Clock, Timestamp};
use zeroize::Zeroizing;

use super::aead::SealError;
use super::wrapped::{KeyPurpose, WrappedBy, WrappedKey};
use crate::ids::{DataKeyId, Id, TenantId};
use crate::proposal::TenantKeys;

/// A new tenant's keys, wrapped and in clear.
pub struct Genesis {
    /// Their ids and the root public key.
    pub ids: TenantKeys,
    plain: Vec<(DataKeyId, KeyPurpose, Zeroizing<Vec<u8>>)>,
    wrapped: Vec<(DataKeyId, WrappedKey)>,
}

impl Genesis {
    /// The rows to store.
    pub fn wrapped(&self) -> &[(DataKeyId, WrappedKey)] {
        &self.wrapped
    }

    pub(super) fn plain(&self) -> &[(DataKeyId, KeyPurpose, Zeroizing<Vec<u8>>)] {
        &self.plain
    }

    pub(super) fn generate(
        tenant: TenantId,
        at: Timestamp,
        clock: &dyn Clock,
        partition_key: &[u8; 32],
        version: u32,
    ) -> Result<Self, SealError> {
        let purposes =
            [KeyPurpose::Tenant, KeyPurpose::Data, KeyPurpose::Lookup, KeyPurpose::Token, KeyPurpose::Root];
        let secrets = [(); 5].map(|()| {
            let mut random = [0_u8; 10];
            let mut secret = Zeroizing::new([0_u8; 32]);
            clock.fill_random(&mut random);
            clock.fill_random(secret.as_mut_slice());
            (DataKeyId::new(at, random), secret)
        });
        let [(top, top_secret), (data, _), (lookup, _), (token, _), (root, root_seed)] = &secrets;
        let root_public = RootKey::from_seed(root_seed.as_slice())?.public();
        let ids = TenantKeys {
            tenant: *top,
            data: *data,
            lookup: *lookup,
            token: *token,
            root: *root,
            root_public,
        };
        let mut plain = Vec::with_capacity(5);
        let mut wrapped = Vec::with_capacity(5);
        for ((id, secret), purpose) in secrets.iter().zip(purposes) {
            let mut nonce = [0_u8; 12];
            clock.fill_random(&mut nonce);
            let (over, by) = if purpose == KeyPurpose::Tenant {
                (partition_key, WrappedBy::Partition(version))
            } else {
                (&**top_secret, WrappedBy::Tenant(ids.tenant))
            };
            wrapped.push((*id, WrappedKey::wrap(over, by, tenant, *id, purpose, nonce, secret.as_slice())?));
            plain.push((*id, purpose, Zeroizing::new(secret.to_vec())));
        }
        Ok(Self { ids, plain, wrapped })
    }
}

/// A tenant's Ed25519 root key: signs checkpoints and directory entries. Its public half is pinned
/// when the tenant is created.
pub struct RootKey(Ed25519KeyPair);

impl RootKey {
    /// From its 32-byte seed.
    ///
    /// # Errors
    /// [`SealError::KeyLength`].
    pub fn from_seed(seed: &[u8]) -> Result<Self, SealError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| SealError::KeyLength)
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        let mut out = [0_u8; 32];
        out.iter_mut().zip(self.0.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        out
    }

    /// Signs `label` and `message`, so that a signature for one use is none for another.
    pub fn sign(&self, label: &str, message: &[u8]) -> [u8; 64] {
        let signature = self.0.sign(&labelled(label, message));
        let mut out = [0_u8; 64];
        out.iter_mut().zip(signature.as_ref()).for_each(|(to, from)| *to = *from);
        out
    }

    /// Whether `signature` is of `public` over `label` and `message`.
    #[must_use]
    pub fn verify(public: &[u8; 32], label: &str, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, public).verify(&labelled(label, message), signature).is_ok()
    }
}

fn labelled(label: &str, message: &[u8]) -> Vec<u8> {
    super::aead::associated(&[label.as_bytes(), message])
}
