//! ID tokens (OpenID Connect Core §2, §3.1.3.6, §12.2).

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::{ClientView, Issue, SigningAlgorithm, TenantContext, UserView};
use serde_json::{Map, Value};

use crate::userinfo;

/// Claims of an ID token.
///
/// The audience is the client alone, so there is no `azp` (§2: it is for other audiences). Claims of
/// scopes are given at userinfo (§5.4: a code flow has an access token); here are only those that the
/// `claims` parameter asked for here.
pub fn claims(
    tenant: &TenantContext,
    client: &ClientView,
    issue: &Issue,
    user: &UserView,
    access_token: &str,
    algorithm: SigningAlgorithm,
) -> Map<String, Value> {
    let mut claims = Map::new();
    for name in issue.claims.id_token.keys() {
        userinfo::give(&mut claims, user, name, &issue.claims.locales);
    }
    let expires_at = issue.issued_at.plus_ms(tenant.settings.id_token_lifetime_ms);
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", tenant.issuer.as_str().into());
    put("sub", user.subject.as_str().into());
    put("aud", client.client_id.as_str().into());
    put("exp", expires_at.seconds().into());
    put("iat", issue.issued_at.seconds().into());
    put("at_hash", at_hash(access_token, algorithm).into());
    if issue.auth_time_wanted || client.metadata.require_auth_time {
        put("auth_time", issue.auth_time.seconds().into());
    }
    for (name, value) in [("nonce", &issue.nonce), ("acr", &issue.acr), ("sid", &issue.sid)] {
        if let Some(value) = value {
            put(name, value.as_str().into());
        }
    }
    if !issue.amr.is_empty() {
        put("amr", issue.amr.clone().into());
    }
    claims
}

/// The left half of the access token's hash, by the hash of the ID token's algorithm (§3.1.3.6);
/// Ed25519 hashes with SHA-512 (RFC 8032 §5.1).
pub fn at_hash(access_token: &str, algorithm: SigningAlgorithm) -> String {
    let hash = match algorithm {
        SigningAlgorithm::RS256 | SigningAlgorithm::PS256 | SigningAlgorithm::ES256 => &SHA256,
        SigningAlgorithm::ES384 => &SHA384,
        SigningAlgorithm::EdDSA => &SHA512,
    };
    let whole = digest(hash, access_token.as_bytes());
    let half = whole.as_ref().get(..hash.output_len() / 2).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(half)
}
