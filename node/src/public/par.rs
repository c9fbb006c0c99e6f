//! The pushed authorization request endpoint (RFC 9126 §2).

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use domicile_iam::commands::{AuthorizeRefusal, CARRIED_BYTES_MAX, PUSHED_REQUEST_MS};
use domicile_oidc::authorize::Context;
use domicile_oidc::{OAuthError, endpoint, par, resource};

use super::client::ClientRequest;
use super::dpop;
use super::error::{self, ApiError};
use super::state::PublicState;
use super::{answer, cors, resources};

/// POST.
pub async fn post(State(state): State<PublicState>, request: ClientRequest) -> Response {
    let response = push(&state, &request).await.map_or_else(ApiError::into_response, answer::plain);
    cors::readable_by(response, &request.headers, &request.client)
}

async fn push(state: &PublicState, request: &ClientRequest) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, form, .. } = request;
    let keys = state.hint_keys(tenant, form).await?;
    let shown = dpop::shown(state, tenant, &request.headers, ("POST", endpoint::PAR), None)?;
    let shown = shown.map_err(ApiError::Proof)?;
    let context = Context { tenant, keys: &keys, now: state.clock.now(), pushed: true };
    if !resources::are_registered(state, tenant, &resource::read(form)?)? {
        return Err(resource::invalid().into());
    }
    let form = par::request(form, client, context, shown.jkt())?;
    let reference = if par::is_public(client) {
        // Nobody proved anything, so nothing is written: the reference carries the request.
        if form.len() > CARRIED_BYTES_MAX {
            return Err(OAuthError::invalid_request("the request is too long for a public client").into());
        }
        state.iam.carry_request(tenant.id, client.id, form.as_bytes())?
    } else {
        let pushed = state.iam.push_request(&request.context(), client.id, form.as_bytes()).await;
        error::refusal(pushed)?.map_err(refused)?.reply
    };
    Ok(shown.with_nonce(state, par::response(&reference, PUSHED_REQUEST_MS)))
}

fn refused(refusal: AuthorizeRefusal) -> OAuthError {
    match refusal {
        AuthorizeRefusal::ClientRefused
        | AuthorizeRefusal::SessionOver
        | AuthorizeRefusal::ConsentNeeded
        | AuthorizeRefusal::RequestTaken => OAuthError::invalid_client(),
    }
}
