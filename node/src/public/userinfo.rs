//! The UserInfo endpoint (OpenID Connect Core §5.3), GET and POST.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse as _, Response};
use domicile_iam::model::{AccessTokenClaims, ClientView, TenantContext};
use domicile_iam::query::Consistency;
use domicile_oidc::bearer::{self, BearerError, Scheme};
use domicile_oidc::signed::{self, Parties};
use domicile_oidc::{Form, endpoint, userinfo};

use super::dpop::{self, Shown};
use super::error::ApiError;
use super::state::{PublicState, profile_reads};
use super::{answer, body, cors, tenant};

/// GET, and HEAD, whose proof of possession names it (RFC 9449 §4.3 (8)): the token is in the header.
pub async fn get(
    State(state): State<PublicState>,
    Path(slug): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    answered(claims(&state, &slug, method.as_str(), &headers, None).await, &headers)
}

/// POST: the token is in the header or in a form (RFC 6750 §2.2).
pub async fn post(State(state): State<PublicState>, Path(slug): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let form = match form(&parts.headers, body).await {
        Ok(form) => form,
        Err(error) => return error.into_response(),
    };
    answered(claims(&state, &slug, "POST", &parts.headers, form.as_ref()).await, &parts.headers)
}

async fn form(headers: &HeaderMap, body: Body) -> Result<Option<Form>, ApiError> {
    if !body::is_form(headers) {
        return Ok(None);
    }
    body::form(headers, body).await.map(Some).map_err(|_| BearerError::InvalidRequest.into())
}

/// An answer, and the client it is for.
type Answered = (domicile_oidc::Response, Option<Arc<ClientView>>);

fn answered(outcome: Result<Answered, ApiError>, headers: &HeaderMap) -> Response {
    match outcome {
        Ok((response, Some(client))) => cors::readable_by(answer::plain(response), headers, &client),
        Ok((response, None)) => answer::plain(response),
        Err(error) => error.into_response(),
    }
}

async fn claims(
    state: &PublicState,
    slug: &str,
    method: &str,
    headers: &HeaderMap,
    form: Option<&Form>,
) -> Result<Answered, ApiError> {
    let tenant = tenant::serving(state, slug).await?;
    let authorization = body::authorization(headers).map_err(|_| BearerError::InvalidRequest)?;
    let presented = bearer::presented(authorization, form)?;
    let shown = match presented.scheme {
        Scheme::Bearer => None,
        Scheme::Dpop => {
            let request = (method, endpoint::USERINFO);
            let shown = dpop::shown(state, &tenant, headers, request, Some(presented.token))?;
            Some(shown.map_err(ApiError::BearerProof)?)
        }
    };
    let opened = state.open_token(&tenant, presented.token).await?.ok_or(BearerError::InvalidToken)?;
    presented.check(&opened.claims, shown.as_ref().and_then(Shown::jkt))?;
    if !state.counts(&tenant, presented.token, &opened, &profile_reads(&tenant)).await? {
        return Err(BearerError::InvalidToken.into());
    }
    let token = opened.claims;
    let user = userinfo::user_of(&token)?;
    // Read after the wait above; what is here now is no older.
    let user = state.iam.get_user(tenant.id, user, &Consistency::Local).await?;
    let response = userinfo::response(&token, &user.ok_or(BearerError::InvalidToken)?);
    let response = signed_if_registered(state, &tenant, &token, response).await?;
    let response = match shown {
        Some(shown) => shown.with_nonce(state, response),
        None => response,
    };
    if !headers.contains_key(header::ORIGIN) {
        return Ok((response, None));
    }
    let client = state.iam.client_by_id(tenant.id, token.client, &Consistency::Local).await?;
    Ok((response, client))
}

/// The answer as its client registered it (OpenID Connect Core §5.3.2).
async fn signed_if_registered(
    state: &PublicState,
    tenant: &Arc<TenantContext>,
    token: &AccessTokenClaims,
    plain: domicile_oidc::Response,
) -> Result<domicile_oidc::Response, ApiError> {
    let client = state.iam.client(tenant.id, &token.client_id).await?.ok_or(BearerError::InvalidToken)?;
    let Some(algorithm) = client.metadata.userinfo_signed_response_alg else { return Ok(plain) };
    let key = state.signing_key(tenant, algorithm).await?;
    let (tenant, signer, now) = (tenant.clone(), key.clone(), state.clock.now());
    let sign = move || {
        let parties = Parties { issuer: &tenant.issuer, client_id: &client.client_id, now };
        signed::userinfo(&plain, parties, &*signer)
    };
    Ok(state.signing.run(&[&key], sign).await?)
}
