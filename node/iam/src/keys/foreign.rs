//! Public keys that others published (RFC 7517), to verify what they signed.

use serde_json::Value;

use super::{KeyFault, PublicVerifier, read_public_key};
use crate::model::AssertionAlgorithm;

/// Keys of a set that are looked at.
pub const KEYS_MAX: usize = 32;
/// Bytes of a `kid` at most.
const KID_MAX: usize = 256;
/// Keys of one `kid` that are tried: names are not unique (RFC 7517 §4.5).
const SAME_KID_MAX: usize = 4;

/// A key set of somebody else. What cannot verify a supported signature is left out (RFC 7517 §5).
#[derive(Debug, Default)]
pub struct ForeignKeys(Vec<ForeignKey>);

struct ForeignKey {
    kid: Option<String>,
    /// One for each algorithm that the key may be used with.
    parsed: Vec<(AssertionAlgorithm, PublicVerifier)>,
}

impl std::fmt::Debug for ForeignKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let algorithms: Vec<_> = self.parsed.iter().map(|(algorithm, _)| algorithm).collect();
        write!(f, "ForeignKey({:?}, {algorithms:?})", self.kid)
    }
}

impl ForeignKeys {
    /// Reads a key set: the first [`KEYS_MAX`] keys, and of those the usable ones.
    ///
    /// # Errors
    /// [`KeyFault`] if it is no key set.
    pub fn parse(set: &Value) -> Result<Self, KeyFault> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyFault)?;
        Ok(Self(keys.iter().take(KEYS_MAX).filter_map(ForeignKey::parse).collect()))
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key for this header is there. If not, a set that was fetched may be out of date.
    pub fn has(&self, kid: Option<&str>, algorithm: AssertionAlgorithm) -> bool {
        !self.candidates(kid, algorithm).is_empty()
    }

    /// Whether `signature` is of a key that the header names. Without a `kid` the set must have only one key
    /// that fits (OpenID Connect Core §10.1).
    pub fn verify(
        &self,
        kid: Option<&str>,
        algorithm: AssertionAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let candidates = self.candidates(kid, algorithm);
        if kid.is_none() && candidates.len() > 1 {
            return false;
        }
        candidates.iter().take(SAME_KID_MAX).any(|key| key.verify(message, signature))
    }

    fn candidates(&self, kid: Option<&str>, algorithm: AssertionAlgorithm) -> Vec<&PublicVerifier> {
        let named = |key: &&ForeignKey| kid.is_none() || key.kid.as_deref() == kid;
        let fits = |key: &'_ ForeignKey| key.parsed.iter().position(|(of, _)| *of == algorithm);
        self.0
            .iter()
            .filter(named)
            .filter_map(|key| key.parsed.get(fits(key)?).map(|(_, parsed)| parsed))
            .collect()
    }
}

impl ForeignKey {
    fn parse(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let for_signatures = match (jwk.get("use"), jwk.get("key_ops")) {
            (Some(usage), _) if usage != "sig" => false,
            (_, Some(ops)) => ops.as_array()?.iter().any(|op| op == "verify"),
            (Some(_) | None, None) => true,
        };
        let kid = text("kid").map(str::to_owned);
        if !for_signatures || kid.as_ref().is_some_and(|kid| kid.len() > KID_MAX) {
            return None;
        }
        let public = read_public_key(jwk.as_object()?)?;
        let verifier =
            |algorithm| PublicVerifier::new(&public, algorithm).ok().map(|verifier| (algorithm, verifier));
        let mut parsed: Vec<_> = AssertionAlgorithm::ASYMMETRIC.into_iter().filter_map(verifier).collect();
        if let Some(alg) = jwk.get("alg") {
            let alg = AssertionAlgorithm::from_name(alg.as_str()?)?;
            parsed.retain(|(of, _)| *of == alg);
        }
        (!parsed.is_empty()).then_some(Self { kid, parsed })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::{Id as _, SigningKeyId};
    use crate::keys::{Jwk, SigningKey, generate};
    use crate::model::SigningAlgorithm;

    fn made(algorithm: SigningAlgorithm, number: u8) -> (SigningKey, Value) {
        let id = SigningKeyId::from_bytes([number; 16]);
        let made = generate(algorithm).unwrap();
        let jwk = serde_json::to_value(Jwk::new(id, algorithm, &made.public_key)).unwrap();
        (SigningKey::from_pkcs8(id, algorithm, &made.private_pkcs8).unwrap(), jwk)
    }

    fn keys(list: &[Value]) -> ForeignKeys {
        ForeignKeys::parse(&json!({ "keys": list })).unwrap()
    }

    #[test]
    fn rfc7517_s5_unusable_keys_are_left_out() {
        let (_, good) = made(SigningAlgorithm::ES256, 1);
        let with = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            key
        };
        let unusable = [
            json!("text"),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("alg", json!("ES384")),
            with("alg", json!("none")),
            with("x", json!("AAAA")),
            with("crv", json!("P-521")),
            with("kid", json!("k".repeat(257))),
        ];
        assert!(keys(&unusable).is_empty());
        assert_eq!(keys(&[good.clone(), with("key_ops", json!(["verify"]))]).len(), 2);
        for no_set in [json!({}), json!([]), json!({"keys": {}}), json!(null)] {
            assert!(ForeignKeys::parse(&no_set).is_err(), "{no_set}");
        }
    }

    #[test]
    fn a_signature_fits_its_own_key_algorithm_and_message_only() {
        for (number, (own, foreign)) in [
            (SigningAlgorithm::ES256, AssertionAlgorithm::ES256),
            (SigningAlgorithm::EdDSA, AssertionAlgorithm::EdDSA),
            (SigningAlgorithm::RS256, AssertionAlgorithm::RS256),
            (SigningAlgorithm::PS256, AssertionAlgorithm::PS256),
            (SigningAlgorithm::ES384, AssertionAlgorithm::ES384),
        ]
        .into_iter()
        .enumerate()
        {
            let (signer, jwk) = made(own, u8::try_from(number).unwrap());
            let (_, other) = made(SigningAlgorithm::ES256, 9);
            let keys = keys(&[other, jwk]);
            let signature = signer.sign(b"m").unwrap();
            assert!(keys.verify(Some(signer.kid()), foreign, b"m", &signature), "{own:?}");
            assert!(!keys.verify(Some(signer.kid()), foreign, b"n", &signature));
            assert!(!keys.verify(Some("another"), foreign, b"m", &signature));
            for wrong in AssertionAlgorithm::ASYMMETRIC.into_iter().filter(|wrong| *wrong != foreign) {
                assert!(!keys.verify(Some(signer.kid()), wrong, b"m", &signature), "{own:?} {wrong:?}");
            }
        }
    }

    #[test]
    fn oidc_core_s10_1_without_a_kid_only_one_key_may_fit() {
        let ((signer, one), (_, two)) = (made(SigningAlgorithm::EdDSA, 1), made(SigningAlgorithm::EdDSA, 2));
        let signature = signer.sign(b"m").unwrap();
        let fits = |keys: &ForeignKeys| keys.verify(None, AssertionAlgorithm::EdDSA, b"m", &signature);
        assert!(fits(&keys(&[one.clone(), made(SigningAlgorithm::ES256, 3).1])));
        assert!(!fits(&keys(&[one, two])));
    }
}
