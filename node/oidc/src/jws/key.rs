//! Public keys: as JWKs (RFC 7517) and parsed for verification.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::SigningAlgorithm;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::algorithm_name;
use crate::response::Response;

/// How long others may keep the key set, in seconds. Shorter than keys are published ahead.
const JWKS_MAX_AGE_S: u32 = 300;

/// A public key as published: always with `use`, `alg` and `kid`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `RSA`, `EC` or `OKP`.
    pub kty: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub key_use: String,
    /// The one algorithm it is for.
    pub alg: String,
    /// Its id.
    pub kid: String,
    /// `P-256` or `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// EC or OKP coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// EC coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// RSA modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
}

/// A JWK that cannot verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key for RS256, ES256 or EdDSA signatures")]
pub struct KeyFault;

impl Jwk {
    fn of(algorithm: SigningAlgorithm, kid: &str, kty: &str) -> Self {
        Self {
            kty: kty.to_owned(),
            key_use: "sig".to_owned(),
            alg: algorithm_name(algorithm).to_owned(),
            kid: kid.to_owned(),
            crv: None,
            x: None,
            y: None,
            n: None,
            e: None,
        }
    }

    /// An RSA key from big-endian modulus and exponent without leading zeros (RFC 7518 §6.3).
    pub fn rs256(kid: &str, n: &[u8], e: &[u8]) -> Self {
        let (n, e) = (Some(URL_SAFE_NO_PAD.encode(n)), Some(URL_SAFE_NO_PAD.encode(e)));
        Self { n, e, ..Self::of(SigningAlgorithm::RS256, kid, "RSA") }
    }

    /// A P-256 key from its coordinates, 32 bytes each (RFC 7518 §6.2).
    pub fn es256(kid: &str, x: &[u8], y: &[u8]) -> Self {
        let (x, y) = (Some(URL_SAFE_NO_PAD.encode(x)), Some(URL_SAFE_NO_PAD.encode(y)));
        Self { crv: Some("P-256".to_owned()), x, y, ..Self::of(SigningAlgorithm::ES256, kid, "EC") }
    }

    /// An Ed25519 key from its 32 bytes (RFC 8037 §2).
    pub fn eddsa(kid: &str, x: &[u8]) -> Self {
        let x = Some(URL_SAFE_NO_PAD.encode(x));
        Self { crv: Some("Ed25519".to_owned()), x, ..Self::of(SigningAlgorithm::EdDSA, kid, "OKP") }
    }
}

/// A public key, parsed once.
#[derive(Debug)]
pub struct VerificationKey {
    kid: String,
    algorithm: SigningAlgorithm,
    key: ParsedPublicKey,
}

impl VerificationKey {
    /// Parses a JWK.
    ///
    /// # Errors
    /// [`KeyFault`] if type, algorithm and members do not belong together.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyFault> {
        let (algorithm, key) = match (jwk.alg.as_str(), jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RS256", "RSA", None) => {
                let components =
                    RsaPublicKeyComponents { n: bytes(jwk.n.as_ref())?, e: bytes(jwk.e.as_ref())? };
                (SigningAlgorithm::RS256, components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256))
            }
            ("ES256", "EC", Some("P-256")) => {
                let (x, y) = (bytes(jwk.x.as_ref())?, bytes(jwk.y.as_ref())?);
                if x.len() != 32 || y.len() != 32 {
                    return Err(KeyFault);
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                (SigningAlgorithm::ES256, ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point))
            }
            ("EdDSA", "OKP", Some("Ed25519")) => {
                (SigningAlgorithm::EdDSA, ParsedPublicKey::new(&ED25519, bytes(jwk.x.as_ref())?))
            }
            _ => return Err(KeyFault),
        };
        Ok(Self { kid: jwk.kid.clone(), algorithm, key: key.map_err(|_| KeyFault)? })
    }

    /// Its `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its algorithm; it verifies nothing else.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Whether `signature` is one of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

fn bytes(member: Option<&String>) -> Result<Vec<u8>, KeyFault> {
    URL_SAFE_NO_PAD.decode(member.ok_or(KeyFault)?).map_err(|_| KeyFault)
}

/// A tenant's public keys: published, active and retired ones.
#[derive(Debug, Default)]
pub struct KeySet {
    jwks: Vec<Jwk>,
    keys: Vec<VerificationKey>,
}

impl KeySet {
    /// Parses all keys, once for each change of them.
    ///
    /// # Errors
    /// [`KeyFault`] if one of them is none of ours.
    pub fn new(jwks: Vec<Jwk>) -> Result<Self, KeyFault> {
        let keys = jwks.iter().map(VerificationKey::from_jwk).collect::<Result<_, _>>()?;
        Ok(Self { jwks, keys })
    }

    /// The key of this id.
    pub fn key(&self, kid: &str) -> Option<&VerificationKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    /// The answer of the JWKS endpoint (RFC 7517 §5). The same bytes for the same keys: keep it.
    pub fn response(&self) -> Response {
        Response::public_json(&json!({ "keys": self.jwks }), JWKS_MAX_AGE_S)
    }
}
