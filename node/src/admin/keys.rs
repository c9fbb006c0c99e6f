//! Signing keys: `/v1/tenants/{slug}/keys`.

use axum::extract::State;
use domicile_iam::ids::SigningKeyId;
use domicile_iam::keys::Jwk;
use domicile_iam::model::{JWKS_CACHE_MS, SigningAlgorithm};
use domicile_iam::service::SigningKeyView;
use domicile_iam::streams::signing_key::KeyPhase;
use domicile_raft::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::error::{refused, unread};
use super::instant;
use super::request::{Fresh, Segments, Write, parse_id};
use super::state::AdminState;
use super::tenants::{barrier, tenant};
use crate::problem::Problem;

/// The keys of a tenant; there are few, so that one page holds them all.
#[derive(Serialize)]
pub(super) struct KeyList {
    items: Vec<Key>,
    next_page_token: Option<String>,
    schedule: Schedule,
}

/// The tenant's settings of this, and what they are measured against.
#[derive(Serialize)]
#[allow(clippy::struct_field_names, reason = "as the settings are called")]
struct Schedule {
    key_publish_ahead_ms: u64,
    key_active_ms: u64,
    key_retired_ms: u64,
    key_set_cache_ms: u64,
}

/// A public key as a JWK, with its life beside it.
#[derive(Serialize)]
struct Key {
    #[serde(flatten)]
    jwk: Jwk,
    phase: KeyPhase,
    #[serde(serialize_with = "instant::serialize")]
    phase_since: Timestamp,
    #[serde(serialize_with = "instant::serialize")]
    created_at: Timestamp,
    next_phase: Option<KeyPhase>,
    next_phase_at: Option<String>,
}

impl From<SigningKeyView> for Key {
    fn from(key: SigningKeyView) -> Self {
        let SigningKeyView { jwk, phase, phase_since, created_at, next } = key;
        let (next_phase, next_phase_at) = next.map(|(phase, at)| (phase, instant::rfc3339(at))).unzip();
        Self { jwk, phase, phase_since, created_at, next_phase, next_phase_at }
    }
}

/// A key that was just made and signs from now on.
#[derive(Serialize, ToSchema)]
pub(super) struct RotatedKey {
    /// Its id, `kid` in the key set.
    kid: String,
    /// What it signs with.
    #[schema(value_type = String)]
    alg: SigningAlgorithm,
}

/// A key that is gone.
#[derive(Serialize, ToSchema)]
pub(super) struct RevokedKey {
    /// Its id.
    kid: String,
    /// The key that signs in its place; null where it did not sign.
    successor: Option<String>,
}

/// Lists signing keys
///
/// The public halves as JWKs (RFC 7517), each with the phase of its life and what comes next, and the
/// tenant's settings of the schedule. A removed key is listed no more; the audit log says when it was removed.
#[utoipa::path(
    get, path = "/tenants/{slug}/keys", tag = "keys",
    responses((status = 200, body = ref("#/components/schemas/KeyPage")))
)]
pub(super) async fn list_keys(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    Fresh(consistency): Fresh,
) -> Result<Answer<KeyList>, Problem> {
    let id = tenant(&state, &slug).await?.id;
    barrier(&state, id, &consistency).await?;
    let keys = state.iam.signing_keys(id).await.map_err(|error| unread(&error))?;
    let context = tenant(&state, &slug).await?;
    let settings = &context.settings;
    let schedule = Schedule {
        key_publish_ahead_ms: settings.key_publish_ahead_ms,
        key_active_ms: settings.key_active_ms,
        key_retired_ms: settings.key_retired_ms,
        key_set_cache_ms: JWKS_CACHE_MS,
    };
    let items = keys.into_iter().map(Key::from).collect();
    Ok(Answer::ok(KeyList { items, next_page_token: None, schedule }))
}

/// Replaces a signing key
///
/// The new key signs at once; the one before is published until what it signed has expired. With
/// `revoke`, for a key that leaked, all others of the algorithm are destroyed and nothing that they
/// signed verifies any more.
#[utoipa::path(
    post, path = "/tenants/{slug}/keys/rotate", tag = "keys",
    request_body(content = ref("#/components/schemas/KeyRotation"), content_type = "application/json"),
    responses((status = 201, body = RotatedKey))
)]
pub(super) async fn rotate_keys(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    write: Write,
) -> Result<Answer<RotatedKey>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    write.unconditional()?;
    let mut members = write.members_if_any()?;
    let alg = members.take("alg", "`RS256`, `PS256`, `ES256`, `ES384` or `EdDSA`")?.unwrap_or_default();
    let revoke = members.take("revoke", "true or false")?.unwrap_or_default();
    members.finish(["alg", "revoke"])?;
    let rotated = state.iam.rotate_signing_keys(&write.context(tenant), alg, revoke).await;
    let written = rotated.map_err(|error| refused(&error))?;
    Ok(Answer::created(RotatedKey { kid: written.reply.to_string(), alg }, None).written(&written))
}

/// Revokes a signing key
///
/// For a key that leaked: it leaves the key set at once, its private half is destroyed, and nothing that it
/// signed verifies any more. Where it signs, a new key does from now on. Others may keep the key set for 5
/// minutes, and validate tokens offline as long.
#[utoipa::path(
    delete, path = "/tenants/{slug}/keys/{kid}", tag = "keys",
    responses((status = 200, body = RevokedKey))
)]
pub(super) async fn revoke_key(
    State(state): State<AdminState>,
    Segments((slug, kid)): Segments<(String, String)>,
    write: Write,
) -> Result<Answer<RevokedKey>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    write.unconditional()?;
    let id: SigningKeyId = parse_id(&kid)?;
    let revoked = state.iam.revoke_signing_key(&write.context(tenant), id).await;
    let written = revoked.map_err(|error| refused(&error))?;
    let successor = written.reply.map(|id| id.to_string());
    Ok(Answer::ok(RevokedKey { kid, successor }).written(&written))
}
