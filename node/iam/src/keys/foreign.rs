//! Public keys that others published (RFC 7517), to verify what they signed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::KeyFault;
use crate::model::AssertionAlgorithm;

/// Keys of a set that are looked at.
pub const KEYS_MAX: usize = 32;
/// Bytes of a `kid` at most.
const KID_MAX: usize = 256;
/// RFC 7518 §3.3: 2048 bits at least.
const RSA_BYTES_MIN: usize = 256;
/// A longer key costs more than it gives.
const RSA_BYTES_MAX: usize = 1024;
/// Keys of one `kid` that are tried: names are not unique (RFC 7517 §4.5).
const SAME_KID_MAX: usize = 4;

/// A key set of somebody else. What cannot verify a supported signature is left out (RFC 7517 §5).
#[derive(Debug, Default)]
pub struct ForeignKeys(Vec<ForeignKey>);

struct ForeignKey {
    kid: Option<String>,
    /// One for each algorithm that the key may be used with.
    parsed: Vec<(AssertionAlgorithm, ParsedPublicKey)>,
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
        candidates.iter().take(SAME_KID_MAX).any(|key| key.verify_sig(message, signature).is_ok())
    }

    fn candidates(&self, kid: Option<&str>, algorithm: AssertionAlgorithm) -> Vec<&ParsedPublicKey> {
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
        let mut parsed = material(jwk)?;
        if let Some(alg) = jwk.get("alg") {
            let alg = AssertionAlgorithm::from_name(alg.as_str()?)?;
            parsed.retain(|(of, _)| *of == alg);
        }
        (!parsed.is_empty()).then_some(Self { kid, parsed })
    }
}

/// The key by its kind (RFC 7518 §6, RFC 8037 §2). RSA keys have 2048 to 8192 bits.
fn material(jwk: &Value) -> Option<Vec<(AssertionAlgorithm, ParsedPublicKey)>> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let magnitude = n.iter().skip_while(|byte| **byte == 0).count();
            if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&magnitude) {
                return None;
            }
            let parse = |parameters: &'static RsaParameters| {
                RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() }
                    .to_parsed_public_key(parameters)
                    .ok()
            };
            Some(vec![
                (AssertionAlgorithm::RS256, parse(&RSA_PKCS1_2048_8192_SHA256)?),
                (AssertionAlgorithm::PS256, parse(&RSA_PSS_2048_8192_SHA256)?),
            ])
        }
        ("EC", Some("P-256")) => {
            point(&ECDSA_P256_SHA256_FIXED, 32, bytes("x")?, bytes("y")?, AssertionAlgorithm::ES256)
        }
        ("EC", Some("P-384")) => {
            point(&ECDSA_P384_SHA384_FIXED, 48, bytes("x")?, bytes("y")?, AssertionAlgorithm::ES384)
        }
        ("OKP", Some("Ed25519")) => {
            let key = ParsedPublicKey::new(&ED25519, bytes("x")?).ok()?;
            Some(vec![(AssertionAlgorithm::EdDSA, key)])
        }
        _ => None,
    }
}

/// An uncompressed point (SEC 1 §2.3.3); each coordinate has the curve's full length (RFC 7518 §6.2.1.2).
fn point(
    curve: &'static dyn VerificationAlgorithm,
    length: usize,
    x: Vec<u8>,
    y: Vec<u8>,
    algorithm: AssertionAlgorithm,
) -> Option<Vec<(AssertionAlgorithm, ParsedPublicKey)>> {
    if x.len() != length || y.len() != length {
        return None;
    }
    let key = ParsedPublicKey::new(curve, [vec![4], x, y].concat()).ok()?;
    Some(vec![(algorithm, key)])
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
