//! A parsed private key that signs.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};

use super::KeyFault;
use crate::ids::SigningKeyId;
use crate::model::SigningAlgorithm;

/// A parsed key pair. Signing is CPU work of 20 us (ES256, EdDSA) to 1 ms (RS256, PS256).
pub struct SigningKey {
    kid: String,
    algorithm: SigningAlgorithm,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// Parses PKCS#8 bytes.
    ///
    /// # Errors
    /// [`KeyFault`] if they are not a key of `algorithm`.
    pub fn from_pkcs8(id: SigningKeyId, algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, KeyFault> {
        let pair = match algorithm {
            SigningAlgorithm::RS256 => rsa(pkcs8, &RSA_PKCS1_SHA256)?,
            SigningAlgorithm::PS256 => rsa(pkcs8, &RSA_PSS_SHA256)?,
            SigningAlgorithm::ES256 => ecdsa(pkcs8, &ECDSA_P256_SHA256_FIXED_SIGNING)?,
            SigningAlgorithm::ES384 => ecdsa(pkcs8, &ECDSA_P384_SHA384_FIXED_SIGNING)?,
            SigningAlgorithm::EdDSA => {
                Pair::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyFault)?))
            }
        };
        Ok(Self { kid: id.to_string(), algorithm, pair })
    }

    /// `kid`: the key id's text.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// `alg`.
    pub fn alg(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The JWS signature of `message` (RFC 7518 §3, RFC 8037 §3.1).
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).map_err(|_| KeyFault)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => {
                Ok(pair.sign(&SystemRandom::new(), message).map_err(|_| KeyFault)?.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

fn rsa(pkcs8: &[u8], encoding: &'static dyn RsaEncoding) -> Result<Pair, KeyFault> {
    Ok(Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| KeyFault)?), encoding))
}

fn ecdsa(pkcs8: &[u8], curve: &'static EcdsaSigningAlgorithm) -> Result<Pair, KeyFault> {
    Ok(Pair::Ecdsa(Box::new(EcdsaKeyPair::from_pkcs8(curve, pkcs8).map_err(|_| KeyFault)?)))
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, {:?})", self.kid, self.algorithm)
    }
}
