//! The public key that a proof brings (RFC 7517), its thumbprint (RFC 7638), and what it verifies.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::proof::hash;

/// Members of a JWK that hold private or symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// RFC 7518 §3.3 asks for 2048 bits at least; over 8192 a key costs more than it gives.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// How a proof is signed (RFC 7518 §3.1, RFC 8037 §3.1): by a private key, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All, as metadata lists them (RFC 9449 §5.1).
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The `alg` value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of an `alg` value; `None` for all that is not supported, `none` above all.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A key of the kind that an algorithm needs, its parts decoded and of the right length.
pub(super) enum Key {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point (SEC 1 §2.3.3), or the 32 bytes of Ed25519.
    Other(Vec<u8>),
}

impl Key {
    /// Reads a public key for `algorithm`; `None` for a private one and for every other kind.
    pub(super) fn parse(jwk: &Map<String, Value>, algorithm: Algorithm) -> Option<Self> {
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return None;
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        // Each coordinate has the curve's full length (RFC 7518 §6.2.1.2).
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == length && y.len() == length).then(|| Self::Other([vec![4], x, y].concat()))
        };
        match (algorithm, text("kty")?, text("crv")) {
            (Algorithm::Rs256 | Algorithm::Ps256, "RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                (RSA_BYTES.contains(&n.len()) && n.first() != Some(&0)).then_some(Self::Rsa { n, e })
            }
            (Algorithm::Es256, "EC", Some("P-256")) => point(32),
            (Algorithm::Es384, "EC", Some("P-384")) => point(48),
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => {
                bytes("x").filter(|x| x.len() == 32).map(Self::Other)
            }
            (_, _, _) => None,
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (self, algorithm) {
            (Self::Rsa { n, e }, Algorithm::Rs256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Self::Rsa { n, e }, Algorithm::Ps256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Self::Other(key), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
            (Self::Other(key), Algorithm::Es384) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key).verify(message, signature)
            }
            (Self::Other(key), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            (Self::Rsa { .. }, Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa)
            | (Self::Other(_), Algorithm::Rs256 | Algorithm::Ps256) => return false,
        };
        verified.is_ok()
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
