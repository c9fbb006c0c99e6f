//! The introspection endpoint (RFC 7662).

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use domicile_iam::query::Consistency;
use domicile_oidc::introspection::{self, RefreshTokenFacts};
use domicile_oidc::opaque::Mint as _;
use domicile_oidc::signed::{self, Parties};
use domicile_oidc::{accept, phantom};

use super::answer;
use super::client::ClientRequest;
use super::error::{ApiError, Fault};
use super::state::{PublicState, bounded, token_reads};

/// POST.
pub async fn post(State(state): State<PublicState>, request: ClientRequest) -> Response {
    answered(&state, &request).await.map_or_else(ApiError::into_response, answer::plain)
}

/// The forms of an answer; of those that a caller weighs the same the first is given.
const FORMS: [&str; 3] = ["application/json", signed::INTROSPECTION, phantom::JWT];

/// What the caller prefers (RFC 9110 §12.5.1). Who takes none of them gets JSON.
fn wanted(headers: &HeaderMap) -> Option<&'static str> {
    let lines: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    accept::preferred(&lines.join(","), &FORMS)
}

/// The answer, signed for those who ask for that (RFC 9701 §4), or the JWT of the token.
async fn answered(state: &PublicState, request: &ClientRequest) -> Result<domicile_oidc::Response, ApiError> {
    let form = wanted(&request.headers);
    if form == Some(phantom::JWT) {
        return Ok(the_jwt(state, request).await?.with("vary", "accept"));
    }
    let plain = introspect(state, request).await?;
    if form != Some(signed::INTROSPECTION) {
        return Ok(plain.with("vary", "accept"));
    }
    let ClientRequest { tenant, client, .. } = request;
    let algorithm = client.metadata.introspection_signed_response_alg.unwrap_or_default();
    let key = state.signing_key(tenant, algorithm).await?;
    let (tenant, client, signer, now) = (tenant.clone(), client.clone(), key.clone(), state.clock.now());
    let sign = move || {
        let parties = Parties { issuer: &tenant.issuer, client_id: &client.client_id, now };
        signed::introspection(&plain, parties, &*signer)
    };
    Ok(state.signing.run(&[&key], sign).await?.with("vary", "accept"))
}

/// The token as an `at+jwt`, for a resource server that it is meant for.
async fn the_jwt(state: &PublicState, request: &ClientRequest) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, form, .. } = request;
    let token = introspection::parse(form, client)?;
    let Some(opened) = state.open_token(tenant, token).await? else { return Ok(phantom::none()) };
    if !phantom::is_for(&opened.claims, client) {
        return Ok(phantom::withheld(&opened.claims, client));
    }
    let reads = bounded(phantom::read_bound_ms(&tenant.settings));
    if !state.counts(tenant, token, &opened, &reads).await? {
        return Ok(phantom::none());
    }
    let claims = opened.claims;
    let mint = state.jwt_mint(tenant, &claims).await?;
    let (tenant, maker, now) = (tenant.clone(), mint.clone(), state.clock.now());
    let sign = move || {
        let token = maker.mint(&claims)?;
        Ok(phantom::response(token, &claims, &tenant.settings, now))
    };
    Ok(state.signing.run(&mint.keys(), sign).await?)
}

async fn introspect(
    state: &PublicState,
    request: &ClientRequest,
) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, form, .. } = request;
    let token = introspection::parse(form, client)?;
    let Some(opened) = state.open_token(tenant, token).await? else {
        return refresh_token(state, request, token).await;
    };
    if state.counts(tenant, token, &opened, &token_reads(tenant)).await? {
        Ok(introspection::access_token(&opened.claims, client).map_err(|_| Fault::Internal)?)
    } else {
        Ok(introspection::inactive())
    }
}

async fn refresh_token(
    state: &PublicState,
    request: &ClientRequest,
    token: &str,
) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, .. } = request;
    let found = state.iam.inspect_refresh_token(tenant.id, token, &token_reads(tenant)).await?;
    let Some(found) = found.filter(|found| found.client == client.id) else {
        return Ok(introspection::inactive());
    };
    let Some(user) = state.iam.get_user(tenant.id, found.user, &Consistency::Local).await? else {
        return Ok(introspection::inactive());
    };
    let facts = RefreshTokenFacts {
        client: found.client,
        subject: state.subject(tenant, client, &user)?,
        scopes: found.scopes,
        issued_at: found.issued_at,
        expires_at: found.expires_at,
    };
    Ok(introspection::refresh_token(&facts, &tenant.issuer, client))
}
