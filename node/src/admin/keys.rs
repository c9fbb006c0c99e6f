//! Signing keys: `/v1/tenants/{slug}/keys`.

use axum::extract::State;
use domicile_iam::keys::Jwk;
use domicile_iam::model::SigningAlgorithm;
use domicile_iam::service::SigningKeyView;
use domicile_iam::streams::signing_key::KeyPhase;
use domicile_raft::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::error::{refused, unread};
use super::instant;
use super::request::{Fresh, Segments, Write};
use super::state::AdminState;
use super::tenants::{barrier, tenant};
use crate::problem::Problem;

/// The keys of a tenant; there are few, so that one page holds them all.
#[derive(Serialize)]
pub(super) struct KeyList {
    items: Vec<Key>,
    next_page_token: Option<String>,
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
}

impl From<SigningKeyView> for Key {
    fn from(key: SigningKeyView) -> Self {
        let SigningKeyView { jwk, phase, phase_since, created_at } = key;
        Self { jwk, phase, phase_since, created_at }
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

/// Lists signing keys
///
/// The public halves as JWKs (RFC 7517), each with the phase of its life. A removed key is listed no
/// more; the audit log says when it was removed.
#[utoipa::path(
    get, path = "/tenants/{slug}/keys", tag = "keys",
    responses((status = 200, body = ref("#/components/schemas/KeyPage")))
)]
pub(super) async fn list_keys(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
    Fresh(consistency): Fresh,
) -> Result<Answer<KeyList>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    barrier(&state, tenant, &consistency).await?;
    let keys = state.iam.signing_keys(tenant).await.map_err(|error| unread(&error))?;
    Ok(Answer::ok(KeyList { items: keys.into_iter().map(Key::from).collect(), next_page_token: None }))
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
    let alg = members.take("alg", "`RS256`, `ES256` or `EdDSA`")?.unwrap_or_default();
    let revoke = members.take("revoke", "true or false")?.unwrap_or_default();
    members.finish(["alg", "revoke"])?;
    let rotated = state.iam.rotate_signing_keys(&write.context(tenant), alg, revoke).await;
    let written = rotated.map_err(|error| refused(&error))?;
    Ok(Answer::created(RotatedKey { kid: written.reply.to_string(), alg }, None).written(&written))
}
