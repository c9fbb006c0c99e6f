//! Signing keys: `/v1/tenants/{slug}/keys`.

use std::sync::Arc;

use axum::extract::State;
use domicile_iam::keys::{Jwk, Jwks};
use domicile_iam::model::SigningAlgorithm;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::error::{refused, unread};
use super::request::{Segments, Write};
use super::state::AdminState;
use super::tenants::tenant;
use crate::problem::Problem;

/// The keys of a tenant; there are few, so that one page holds them all.
#[derive(Serialize)]
pub(super) struct KeyList {
    items: Vec<Jwk>,
    next_page_token: Option<String>,
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
/// The public halves of those published, active and retired, as JWKs (RFC 7517).
#[utoipa::path(
    get, path = "/tenants/{slug}/keys", tag = "keys",
    responses((status = 200, body = ref("#/components/schemas/KeyPage")))
)]
pub(super) async fn list_keys(
    State(state): State<AdminState>,
    Segments(slug): Segments<String>,
) -> Result<Answer<KeyList>, Problem> {
    let tenant = tenant(&state, &slug).await?.id;
    let Jwks { keys } = Arc::unwrap_or_clone(state.iam.jwks(tenant).await.map_err(|error| unread(&error))?);
    Ok(Answer::ok(KeyList { items: keys, next_page_token: None }))
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
