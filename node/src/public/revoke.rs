//! The revocation endpoint (RFC 7009).

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use domicile_oidc::revocation;

use super::client::ClientRequest;
use super::error::{self, ApiError};
use super::state::PublicState;
use super::{answer, cors};

/// POST.
pub async fn post(State(state): State<PublicState>, request: ClientRequest) -> Response {
    let response = revoke(&state, &request).await.map_or_else(ApiError::into_response, answer::plain);
    cors::readable_by(response, &request.headers, &request.client)
}

/// Tokens that are unknown, over, or another client's are answered as if they had been revoked (§2.2):
/// nothing is learned about them here.
async fn revoke(state: &PublicState, request: &ClientRequest) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, form, .. } = request;
    let token = revocation::parse(form)?;
    let keys = state.keys(tenant).await?;
    let revoked = match state.open_access_token(tenant, &keys, token)? {
        Ok(claims) if claims.client == client.id => {
            state.iam.revoke_access_token(&request.context(), &claims).await
        }
        Ok(_) => return Ok(revocation::done()),
        Err(_) => state.iam.revoke_refresh_token(&request.context(), client, token).await,
    };
    let _refusals_say_nothing = error::refusal(revoked)?;
    Ok(revocation::done())
}
