//! The limit: axum handlers that only send given bytes, or sign given bytes with a cached key.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, RwLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Segment, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

struct Bare {
    given: RwLock<BTreeMap<String, Bytes>>,
    random: SystemRandom,
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
    eddsa: Ed25519KeyPair,
}

/// Serves until killed; writes its address to `file`.
pub fn serve(file: impl AsRef<Path>) {
    let bare = Arc::new(Bare {
        given: RwLock::default(),
        random: SystemRandom::new(),
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        ecdsa: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        eddsa: Ed25519KeyPair::generate().unwrap(),
    });
    let app = Router::new()
        .route("/jwks", get(jwks).put(keep_jwks))
        .route("/token/{algorithm}", post(token))
        .route("/token/{algorithm}", put(keep_token))
        .with_state(bare);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        std::fs::write(file, format!("{}\n", listener.local_addr().unwrap())).unwrap();
        // As the node does.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, app).await.unwrap();
    });
}

impl Bare {
    fn keep(&self, name: &str, body: Bytes) {
        self.given.write().unwrap().insert(name.to_owned(), body);
    }

    fn kept(&self, name: &str) -> Bytes {
        self.given.read().unwrap()[name].clone()
    }
}

async fn keep_jwks(State(bare): State<Arc<Bare>>, body: Bytes) {
    bare.keep("jwks", body);
}

async fn jwks(State(bare): State<Arc<Bare>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], bare.kept("jwks"))
}

async fn keep_token(State(bare): State<Arc<Bare>>, Segment(algorithm): Segment<String>, body: Bytes) {
    bare.keep(&algorithm, body);
}

async fn token(
    State(bare): State<Arc<Bare>>,
    Segment(algorithm): Segment<String>,
    _form: Bytes,
) -> impl IntoResponse {
    let message = bare.kept(&algorithm);
    let signature = match algorithm.as_str() {
        "EdDSA" => bare.eddsa.sign(&message).as_ref().to_vec(),
        "ES256" => bare.ecdsa.sign(&bare.random, &message).unwrap().as_ref().to_vec(),
        "RS256" => {
            let mut signature = vec![0; bare.rsa.public_modulus_len()];
            bare.rsa.sign(&signature::RSA_PKCS1_SHA256, &bare.random, &message, &mut signature).unwrap();
            signature
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let jwt = format!("{}.{}", String::from_utf8_lossy(&message), URL_SAFE_NO_PAD.encode(signature));
    let body = json!({ "access_token": jwt, "token_type": "Bearer", "expires_in": 600 }).to_string();
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}
