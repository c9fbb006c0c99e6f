//! From a published key set back to keys that verify: what a node without the tenant's keys has.

use std::sync::Arc;

use serde_json::Value;

use super::{KeyFault, VerificationKey, read_public_key};
use crate::model::SigningAlgorithm;

/// Keys of a set that are looked at.
const KEYS_MAX: usize = 256;

/// The keys of a JWK Set (RFC 7517 §5) that we wrote, such as a tenant's directory entry holds. Keys of
/// other kinds are left out (§5: unknown ones are ignored).
///
/// # Errors
/// [`KeyFault`] if it is no key set.
pub fn published_keys(json: &str) -> Result<Vec<Arc<VerificationKey>>, KeyFault> {
    let set: Value = serde_json::from_str(json).map_err(|_| KeyFault)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyFault)?;
    Ok(keys.iter().take(KEYS_MAX).filter_map(key).map(Arc::new).collect())
}

fn key(jwk: &Value) -> Option<VerificationKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let alg = text("alg")?;
    let algorithm = SigningAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == alg)?;
    let public = read_public_key(jwk.as_object()?)?;
    VerificationKey::new(text("kid")?.parse().ok()?, algorithm, &public).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Id as _, SigningKeyId};
    use crate::keys::{Jwk, Jwks, SigningKey, generate};

    #[test]
    fn rfc7517_s5_what_is_published_verifies_and_what_is_foreign_is_left_out() {
        let mut jwks = Jwks::default();
        let mut signed = Vec::new();
        for (number, algorithm) in [
            (1, SigningAlgorithm::ES256),
            (2, SigningAlgorithm::EdDSA),
            (3, SigningAlgorithm::PS256),
            (4, SigningAlgorithm::ES384),
        ] {
            let id = SigningKeyId::from_bytes([number; 16]);
            let made = generate(algorithm).unwrap();
            jwks.keys.push(Jwk::new(id, algorithm, &made.public_key));
            let key = SigningKey::from_pkcs8(id, algorithm, &made.private_pkcs8).unwrap();
            signed.push(key.sign(b"message").unwrap());
        }
        let mut set = serde_json::to_value(&jwks).unwrap();
        set["keys"].as_array_mut().unwrap().push(serde_json::json!({"kty": "oct", "alg": "HS256"}));
        let keys = published_keys(&set.to_string()).unwrap();
        assert_eq!(keys.len(), 4);
        for (key, signature) in keys.iter().zip(&signed) {
            assert!(key.verify(b"message", signature) && !key.verify(b"another", signature));
        }
        assert!(!keys[0].verify(b"message", &signed[1]));
        for broken in ["", "{}", "[]", "{\"keys\": 1}"] {
            assert!(published_keys(broken).is_err(), "{broken}");
        }
    }
}
