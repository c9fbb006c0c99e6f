//! Public keys as a JWK Set (RFC 7517 §5), written and read: the one place that knows the members of each kind.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ids::SigningKeyId;
use crate::model::SigningAlgorithm;
use crate::streams::signing_key::PublicKey;

/// RFC 7518 §3.3: 2048 bits at least; over 8192 a key costs more than it gives.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Bytes of an RSA exponent at most: what is longer only costs time.
const EXPONENT_BYTES_MAX: usize = 8;

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
            PublicKey::P384 { x, y } => {
                Self { kty: "EC", crv: Some("P-384"), x: text(x), y: text(y), ..empty }
            }
            PublicKey::Ed25519 { x } => Self { kty: "OKP", crv: Some("Ed25519"), x: text(x), ..empty },
        }
    }
}

/// Reads the public key of a JWK by its kind (RFC 7518 §6, RFC 8037 §2): RSA of 2048 to 8192 bits, a point of P-256
/// or P-384 with coordinates of full length, Ed25519. Zeros before an RSA integer, which some libraries write
/// (RFC 7518 §6.3.1.1), are dropped. `None` for every other key. Other members, such as `use` and private ones,
/// are for the caller to look at.
pub fn read_public_key(jwk: &Map<String, Value>) -> Option<PublicKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let exactly = |name: &str, length: usize| bytes(name).filter(|bytes| bytes.len() == length);
    match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let integer =
                |name| Some(bytes(name)?.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>());
            let (n, e) = (integer("n")?, integer("e")?);
            let fits = RSA_BYTES.contains(&n.len()) && (1..=EXPONENT_BYTES_MAX).contains(&e.len());
            fits.then_some(PublicKey::Rsa { n, e })
        }
        ("EC", Some("P-256")) => Some(PublicKey::P256 { x: exactly("x", 32)?, y: exactly("y", 32)? }),
        ("EC", Some("P-384")) => Some(PublicKey::P384 { x: exactly("x", 48)?, y: exactly("y", 48)? }),
        ("OKP", Some("Ed25519")) => Some(PublicKey::Ed25519 { x: exactly("x", 32)? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::Id as _;
    use crate::keys::generate;

    #[test]
    fn a_key_of_every_algorithm_is_read_as_it_was_written() {
        for algorithm in SigningAlgorithm::ALL {
            let made = generate(algorithm).unwrap();
            let jwk = Jwk::new(SigningKeyId::from_bytes([1; 16]), algorithm, &made.public_key);
            let value = serde_json::to_value(&jwk).unwrap();
            assert_eq!(read_public_key(value.as_object().unwrap()), Some(made.public_key), "{algorithm:?}");
        }
    }

    #[test]
    fn rfc7518_s6_keys_of_other_sizes_are_not_read() {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let rsa = |n: &[u8], e: &[u8]| {
            let jwk = json!({"kty": "RSA", "n": text(n), "e": text(e)});
            read_public_key(jwk.as_object().unwrap()).is_some()
        };
        assert!(rsa(&[1; 256], &[1, 0, 1]));
        let with_zero = [&[0][..], &[1; 256]].concat();
        assert!(rsa(&with_zero, &[0, 1, 0, 1]), "§6.3.1.1");
        assert!(!rsa(&[0; 256], &[1, 0, 1]) && !rsa(&[1; 256], &[0]) && !rsa(&[1; 256], &[]));
        assert!(!rsa(&[1; 255], &[1, 0, 1]) && !rsa(&[1; 1025], &[1, 0, 1]) && !rsa(&[1; 256], &[1; 9]));
        let point = |crv: &str, length: usize| {
            let jwk =
                json!({"kty": "EC", "crv": crv, "x": text(&vec![1; length]), "y": text(&vec![1; length])});
            read_public_key(jwk.as_object().unwrap()).is_some()
        };
        assert!(point("P-256", 32) && point("P-384", 48));
        assert!(!point("P-256", 31) && !point("P-256", 48) && !point("P-384", 32) && !point("P-521", 66));
    }
}
