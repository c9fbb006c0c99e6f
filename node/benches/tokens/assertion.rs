//! JWTs of others: of clients that prove themselves by a key, and of issuers that clients trust.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_raft::{Clock as _, SystemClock};
use serde_json::{Value, json};

/// What they are signed with: ES256.
pub struct Key {
    pair: EcdsaKeyPair,
    made: AtomicUsize,
}

impl Key {
    /// A new one.
    pub fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { pair, made: AtomicUsize::new(0) }
    }

    /// As it is registered.
    pub fn jwks(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": text(x), "y": text(y)}] })
    }

    /// What `issuer` says about `subject` to `audience`: good for a minute, and once.
    pub fn assertion(&self, issuer: &str, subject: &str, audience: &Value) -> String {
        let (now, number) = (SystemClock::new().now().seconds(), self.made.fetch_add(1, Ordering::Relaxed));
        let claims = json!({
            "iss": issuer, "sub": subject, "aud": audience, "exp": now + 60, "jti": number.to_string(),
        });
        let header = json!({"alg": "ES256", "kid": "k"}).to_string();
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}
