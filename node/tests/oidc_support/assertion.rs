//! Clients that sign assertions, and a place that publishes their keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_raft::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// `client_assertion_type` (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Claims of a good assertion of `client_id` for `audience`, each time with another `jti`.
pub fn claims(client_id: &str, audience: &str) -> Value {
    let now = seconds();
    let jti = format!("jti-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    json!({"iss": client_id, "sub": client_id, "aud": audience, "exp": now + 60, "iat": now, "jti": jti})
}

/// Now, since 1970.
pub fn seconds() -> u64 {
    SystemClock::new().now().seconds()
}

/// A P-256 key with a `kid`.
pub struct Key {
    kid: String,
    pair: EcdsaKeyPair,
}

impl Key {
    /// A fresh one.
    pub fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "x": text(x), "y": text(y)})
    }

    /// A JWS of these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": "ES256", "kid": self.kid, "typ": "JWT"}), claims)
    }

    /// The same under any header.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// A JWS under a client's secret.
pub fn hs256(secret: &str, claims: &Value) -> String {
    let message = message(&json!({"alg": "HS256"}), claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A key set over plain HTTP on loopback.
pub struct KeyServer {
    pub url: String,
    set: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    /// Publishes these keys.
    pub async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let server = Self { url, set: Arc::default(), asked: Arc::default() };
        server.publish(keys);
        let (set, asked) = (server.set.clone(), server.asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]).await;
                let body = set.lock().unwrap().to_string();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        server
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, keys: &[&Key]) {
        *self.set.lock().unwrap() = json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()});
    }

    /// How often somebody came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
