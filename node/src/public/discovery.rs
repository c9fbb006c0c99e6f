//! The discovery document, at both of its paths (OpenID Connect Discovery §4, RFC 8414 §3).

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::state::PublicState;

/// GET. Also of a disabled tenant, so that what it issued before can be looked at.
pub async fn get(State(state): State<PublicState>, Path(slug): Path<String>, request: Request) -> Response {
    match state.discovery_of(&slug).await {
        Ok(document) => document.answer(request.headers()),
        Err(fault) => ApiError::from(fault).into_response(),
    }
}
