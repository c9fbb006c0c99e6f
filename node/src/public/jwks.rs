//! The JWK set (RFC 7517 §5).

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::state::PublicState;
use super::tenant;

/// GET.
pub async fn get(State(state): State<PublicState>, Path(slug): Path<String>, request: Request) -> Response {
    let found = async {
        let tenant = tenant::known(&state, &slug).await?;
        state.keys(&tenant).await
    };
    match found.await {
        Ok(keys) => keys.document.answer(request.headers()),
        Err(fault) => ApiError::from(fault).into_response(),
    }
}
