//! The public key that a proof brings (RFC 7517) and its thumbprint (RFC 7638).

use domicile_iam::keys::{PublicVerifier, read_public_key};
use domicile_iam::model::AssertionAlgorithm;
use domicile_iam::streams::signing_key::PublicKey;
use serde_json::{Map, Value};

use super::proof::hash;

/// Members of a JWK that hold private or symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// How a proof is signed: by a private key, always (RFC 9449 §11.6).
pub(super) fn algorithm(name: &str) -> Option<AssertionAlgorithm> {
    AssertionAlgorithm::from_name(name).filter(|found| AssertionAlgorithm::ASYMMETRIC.contains(found))
}

/// Reads a public key for `algorithm`; `None` for a private one and for every other kind.
pub(super) fn parse(jwk: &Map<String, Value>, algorithm: AssertionAlgorithm) -> Option<PublicVerifier> {
    if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
        return None;
    }
    let public = read_public_key(jwk)?;
    if !is_shortest(jwk, &public) {
        return None;
    }
    PublicVerifier::new(&public, algorithm).ok()
}

/// Whether integers have no zeros before them (RFC 7518 §6.3.1.1): one key, one thumbprint.
fn is_shortest(jwk: &Map<String, Value>, public: &PublicKey) -> bool {
    let length = |name: &str| jwk.get(name).and_then(Value::as_str).map(str::len);
    match public {
        PublicKey::Rsa { n, e } => {
            let fits = |name, integer: &[u8]| length(name) == base64::encoded_len(integer.len(), false);
            fits("n", n) && fits("e", e)
        }
        PublicKey::P256 { .. } | PublicKey::P384 { .. } | PublicKey::Ed25519 { .. } => true,
    }
}

/// RFC 7638 §3: SHA-256 over the required members of the key's kind, in the order of their names.
pub(super) fn thumbprint(jwk: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let members: &[&str] = match text("kty")? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let pairs: Option<Vec<String>> = members
        .iter()
        .map(|name| Some(format!("{}:{}", Value::from(*name), Value::from(text(name)?))))
        .collect();
    Some(hash(format!("{{{}}}", pairs?.join(",")).as_bytes()))
}
