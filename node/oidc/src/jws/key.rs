//! The keys that `iam` keeps, as this crate uses them.

use std::sync::Arc;

use domicile_iam::keys::{Jwks, SigningKey, VerificationKey};
use domicile_iam::model::{JWKS_CACHE_MS, SigningAlgorithm};
use serde_json::json;

use super::{SignFault, Signer};
use crate::response::Response;

/// How long others may keep the key set, in seconds. Keys are published longer than that before use, and
/// after (`TenantSettings::check`).
#[allow(clippy::cast_possible_truncation, reason = "300")]
const JWKS_MAX_AGE_S: u32 = (JWKS_CACHE_MS / 1_000) as u32;

impl Signer for SigningKey {
    fn algorithm(&self) -> SigningAlgorithm {
        self.alg()
    }

    fn kid(&self) -> &str {
        Self::kid(self)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFault> {
        Self::sign(self, message).map_err(|_| SignFault::Key)
    }
}

/// A tenant's public keys: published, active and retired ones.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Arc<VerificationKey>>);

impl FromIterator<Arc<VerificationKey>> for KeySet {
    fn from_iter<I: IntoIterator<Item = Arc<VerificationKey>>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl KeySet {
    /// The key of this id.
    pub fn key(&self, kid: &str) -> Option<&VerificationKey> {
        self.0.iter().find(|key| key.kid() == kid).map(Arc::as_ref)
    }
}

/// The answer of the JWKS endpoint (RFC 7517 §5). The same bytes for the same keys: keep it.
pub fn jwks_response(jwks: &Jwks) -> Response {
    Response::public_json(&json!({ "keys": jwks.keys }), JWKS_MAX_AGE_S)
}

/// The same from a key set as JSON, such as a tenant's directory entry holds; `None` for what is none.
pub fn published_jwks_response(json: &str) -> Option<Response> {
    let keys = serde_json::from_str::<serde_json::Value>(json).ok()?.get_mut("keys")?.take();
    keys.is_array().then(|| Response::public_json(&json!({ "keys": keys }), JWKS_MAX_AGE_S))
}
