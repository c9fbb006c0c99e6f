//! The discovery document, at both of its paths (OpenID Connect Discovery §4, RFC 8414 §3).

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::state::PublicState;
use super::tenant;

/// GET.
pub async fn get(State(state): State<PublicState>, Path(slug): Path<String>, headers: HeaderMap) -> Response {
    match tenant::known(&state, &slug).await {
        Ok(tenant) => state.discovery(&tenant).answer(&headers),
        Err(fault) => ApiError::from(fault).into_response(),
    }
}
