//! The limit: axum handlers that do the cryptography of a path and nothing else: no store, no parsing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Segment, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::any;
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// How often a request hashes, verifies and signs, and the bytes that it sends.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Work {
    /// SHA-256 of secrets and tokens.
    pub hashes: usize,
    /// ES256.
    pub verifies: usize,
    /// ES256.
    pub signs: usize,
    /// AES-256-GCM of a token's claims, with a key made by HMAC-SHA-256 for it.
    pub seals: usize,
    /// Sent beside the signatures.
    pub body: String,
}

struct Bare {
    work: RwLock<BTreeMap<String, Work>>,
    random: SystemRandom,
    key: EcdsaKeyPair,
    public: ParsedPublicKey,
    sealing: hmac::Key,
    message: Vec<u8>,
    signature: Vec<u8>,
}

/// Serves until killed; writes its address to `file`.
pub fn serve(file: impl AsRef<Path>) {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let random = SystemRandom::new();
    let message = vec![b'x'; 700];
    let signature = key.sign(&random, &message).unwrap().as_ref().to_vec();
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref()).unwrap();
    let sealing = hmac::Key::new(hmac::HMAC_SHA256, &message);
    let bare = Arc::new(Bare { work: RwLock::default(), random, key, public, sealing, message, signature });
    let app = Router::new()
        .route("/do/{name}", any(work))
        .route("/set/{name}", axum::routing::put(set))
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

async fn set(State(bare): State<Arc<Bare>>, Segment(name): Segment<String>, body: Bytes) {
    bare.work.write().unwrap().insert(name, serde_json::from_slice(&body).unwrap());
}

async fn work(
    State(bare): State<Arc<Bare>>,
    Segment(name): Segment<String>,
    form: Bytes,
) -> impl IntoResponse {
    let work = bare.work.read().unwrap()[&name].clone();
    let mut out = work.body;
    for _ in 0..work.hashes {
        std::hint::black_box(digest(&SHA256, &form));
    }
    for _ in 0..work.verifies {
        bare.public.verify_sig(&bare.message, &bare.signature).unwrap();
    }
    for _ in 0..work.seals {
        let key = hmac::sign(&bare.sealing, &form);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
        let mut sealed = bare.message.clone();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut sealed)
            .unwrap();
        std::hint::black_box(&sealed);
    }
    for _ in 0..work.signs {
        let signature = bare.key.sign(&bare.random, &bare.message).unwrap();
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut out);
    }
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], out)
}
