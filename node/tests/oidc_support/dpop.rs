//! Proofs of possession (RFC 9449 §4.2).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::assertion::{Key, seconds};

/// A proof for one request; `more` claims come over the usual ones.
pub fn proof(key: &Key, method: &str, url: &str, more: &Value) -> String {
    let mut random = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut random).unwrap();
    let mut claims =
        json!({"jti": URL_SAFE_NO_PAD.encode(random), "htm": method, "htu": url, "iat": seconds()});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut jwk = key.jwk();
    jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
    key.sign_as(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}), &claims)
}

/// `ath`: what binds a proof to an access token.
pub fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()))
}

/// The key's thumbprint (RFC 7638).
pub fn thumbprint(key: &Key) -> String {
    let jwk = key.jwk();
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}
