//! Parsed public keys that verify: our own tokens, and what others signed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};

use super::KeyFault;
use crate::ids::SigningKeyId;
use crate::model::{AssertionAlgorithm, SigningAlgorithm};
use crate::streams::signing_key::PublicKey;

/// A parsed public key from the key set.
pub struct VerificationKey {
    kid: String,
    algorithm: SigningAlgorithm,
    key: PublicVerifier,
}

/// A public key ready to verify the signatures of one algorithm.
pub struct PublicVerifier(ParsedPublicKey);

impl PublicVerifier {
    /// Parses a key for `algorithm`.
    ///
    /// # Errors
    /// [`KeyFault`] if it is not a key of the kind that the algorithm takes.
    pub fn new(public: &PublicKey, algorithm: AssertionAlgorithm) -> Result<Self, KeyFault> {
        let rsa = |n: &[u8], e: &[u8], parameters: &'static RsaParameters| {
            RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).map_err(|_| KeyFault)
        };
        // An uncompressed point (SEC 1 §2.3.3).
        let point = |x: &[u8], y: &[u8], curve: &'static dyn VerificationAlgorithm| {
            ParsedPublicKey::new(curve, [&[4][..], x, y].concat()).map_err(|_| KeyFault)
        };
        let parsed = match (public, algorithm) {
            (PublicKey::Rsa { n, e }, AssertionAlgorithm::RS256) => rsa(n, e, &RSA_PKCS1_2048_8192_SHA256),
            (PublicKey::Rsa { n, e }, AssertionAlgorithm::PS256) => rsa(n, e, &RSA_PSS_2048_8192_SHA256),
            (PublicKey::P256 { x, y }, AssertionAlgorithm::ES256) => point(x, y, &ECDSA_P256_SHA256_FIXED),
            (PublicKey::P384 { x, y }, AssertionAlgorithm::ES384) => point(x, y, &ECDSA_P384_SHA384_FIXED),
            (PublicKey::Ed25519 { x }, AssertionAlgorithm::EdDSA) => {
                ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyFault)
            }
            (
                PublicKey::Rsa { .. }
                | PublicKey::P256 { .. }
                | PublicKey::P384 { .. }
                | PublicKey::Ed25519 { .. },
                AssertionAlgorithm::RS256
                | AssertionAlgorithm::PS256
                | AssertionAlgorithm::ES256
                | AssertionAlgorithm::ES384
                | AssertionAlgorithm::EdDSA
                | AssertionAlgorithm::HS256,
            ) => Err(KeyFault),
        };
        parsed.map(Self)
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

impl VerificationKey {
    /// Parses the public half of a key.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn new(id: SigningKeyId, algorithm: SigningAlgorithm, public: &PublicKey) -> Result<Self, KeyFault> {
        Ok(Self { kid: id.to_string(), algorithm, key: PublicVerifier::new(public, algorithm.into())? })
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
        self.key.verify(message, signature)
    }
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerificationKey({}, {:?})", self.kid, self.algorithm)
    }
}
