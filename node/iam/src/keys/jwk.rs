//! Public keys as a JWK Set (RFC 7517 §5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::ids::SigningKeyId;
use crate::model::SigningAlgorithm;
use crate::streams::signing_key::PublicKey;

/// A public key. Members that its kind lacks are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// `RSA`, `EC` or `OKP`.
    pub kty: &'static str,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Algorithm.
    pub alg: SigningAlgorithm,
    /// The key id's text.
    pub kid: String,
    /// Curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crv: Option<&'static str>,
    /// RSA modulus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA exponent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// First coordinate, or the Ed25519 key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Second coordinate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}

/// A key set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Jwks {
    /// In order of creation.
    pub keys: Vec<Jwk>,
}

impl Jwk {
    /// The public form of a key.
    pub fn new(id: SigningKeyId, alg: SigningAlgorithm, public: &PublicKey) -> Self {
        let text = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let empty = Self {
            kty: "",
            usage: "sig",
            alg,
            kid: id.to_string(),
            crv: None,
            n: None,
            e: None,
            x: None,
            y: None,
        };
        match public {
            PublicKey::Rsa { n, e } => Self { kty: "RSA", n: text(n), e: text(e), ..empty },
            PublicKey::P256 { x, y } => {
                Self { kty: "EC", crv: Some("P-256"), x: text(x), y: text(y), ..empty }
            }
            PublicKey::Ed25519 { x } => Self { kty: "OKP", crv: Some("Ed25519"), x: text(x), ..empty },
        }
    }
}
