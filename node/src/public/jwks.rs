//! The JWK set (RFC 7517 §5).

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::state::PublicState;

/// GET. Also of a disabled tenant.
pub async fn get(State(state): State<PublicState>, Path(slug): Path<String>, request: Request) -> Response {
    match state.jwks_of(&slug).await {
        Ok(document) => document.answer(request.headers()),
        Err(fault) => ApiError::from(fault).into_response(),
    }
}
