//! A parsed public key that verifies our own tokens.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};

use super::KeyFault;
use crate::ids::SigningKeyId;
use crate::model::SigningAlgorithm;
use crate::streams::signing_key::PublicKey;

/// A parsed public key from the key set.
pub struct VerificationKey {
    kid: String,
    algorithm: SigningAlgorithm,
    key: ParsedPublicKey,
}

impl VerificationKey {
    /// Parses the public half of a key.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn new(id: SigningKeyId, algorithm: SigningAlgorithm, public: &PublicKey) -> Result<Self, KeyFault> {
        let key = match public {
            PublicKey::Rsa { n, e } => RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() }
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                .map_err(|_| KeyFault)?,
            PublicKey::P256 { x, y } => {
                let point = [&[4][..], x, y].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| KeyFault)?
            }
            PublicKey::Ed25519 { x } => ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyFault)?,
        };
        Ok(Self { kid: id.to_string(), algorithm, key })
    }

    /// `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// `alg`; a token that names another is not ours.
    pub fn alg(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerificationKey({}, {:?})", self.kid, self.algorithm)
    }
}
