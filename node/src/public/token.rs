//! The token endpoint (RFC 6749 §3.2).

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use domicile_iam::commands::{RedeemCode, RotateRefreshToken, TokenRefusal};
use domicile_iam::execute::{ExecuteError, Written};
use domicile_iam::model::Issue;
use domicile_iam::query::Consistency;
use domicile_oidc::access_token::Terms;
use domicile_oidc::dpop as dpop_rules;
use domicile_oidc::error::ErrorCode;
use domicile_oidc::token::{self, Issuer, TokenRequest};
use domicile_oidc::{OAuthError, endpoint, resource};

use super::client::ClientRequest;
use super::dpop::{self, Shown};
use super::error::{self, ApiError, Fault};
use super::mint::AccessMint;
use super::sign::Place;
use super::state::PublicState;
use super::{answer, cors, device, exchange, jwt_bearer, resources};

/// POST.
pub async fn post(State(state): State<PublicState>, request: ClientRequest) -> Response {
    let response = issue(&state, &request).await.map_or_else(ApiError::into_response, answer::plain);
    cors::readable_by(response, &request.headers, &request.client)
}

async fn issue(state: &PublicState, request: &ClientRequest) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, form, .. } = request;
    let shown = dpop::shown(state, tenant, &request.headers, ("POST", endpoint::TOKEN), None)?;
    let shown = shown.map_err(ApiError::Proof)?;
    let wanted = token::parse(form, client, tenant)?;
    if client.metadata.dpop_bound_access_tokens && shown.proof.is_none() {
        return Err(OAuthError::invalid_request("the client must send a DPoP proof").into());
    }
    let response = match wanted {
        TokenRequest::AuthorizationCode { code, redirect_uri, verifier, resources } => {
            let keys = Keys::of(state, request).await?;
            let command = RedeemCode {
                client: client.id,
                code: code.to_owned(),
                redirect_uri: redirect_uri.map(str::to_owned),
                verifier: verifier.map(str::to_owned),
                proof: shown.key(),
                resources,
            };
            let redeemed = state.iam.redeem(&request.context(), &command).await;
            for_user(state, request, keys, redeemed).await
        }
        TokenRequest::DeviceCode { device_code, resources } => {
            for_device(state, request, &shown, device_code, resources).await
        }
        TokenRequest::RefreshToken { refresh_token, scopes, resources } => {
            let keys = Keys::of(state, request).await?;
            let token = refresh_token.to_owned();
            let proof = shown.key();
            let command = RotateRefreshToken { client: client.id, token, scopes, proof, resources };
            let rotated = state.iam.rotate(&request.context(), &command).await;
            for_user(state, request, keys, rotated).await
        }
        TokenRequest::JwtBearer { assertion, scopes, resources } => {
            let terms = terms(state, request, &shown, resources)?;
            jwt_bearer::issue(state, request, assertion, scopes, terms).await
        }
        TokenRequest::Exchange(wanted) => exchange::issue(state, request, &wanted, &shown).await,
        TokenRequest::ClientCredentials { scopes, resources } => {
            let terms = terms(state, request, &shown, resources)?;
            let mint = state.access_mint(tenant, client, &terms.resources).await?;
            let (tenant, client, maker) = (tenant.clone(), client.clone(), mint.clone());
            // Of the store, not the wall: what revokes this token later must be later.
            let (token_id, now) = (state.token_id(), state.iam.now(request.tenant.id)?);
            let sign = move || {
                token::client_credentials(&tenant, &client, &*maker, &scopes, (token_id, now), &terms)
            };
            state.signing.run(&mint.keys(), sign).await.map_err(ApiError::from)
        }
    }?;
    Ok(shown.with_nonce(state, response))
}

async fn for_device(
    state: &PublicState,
    request: &ClientRequest,
    shown: &Shown,
    device_code: &str,
    resources: BTreeSet<String>,
) -> Result<domicile_oidc::Response, ApiError> {
    let keys = Keys::of(state, request).await?;
    let allowed = device::allowed(state, request, device_code).await?;
    let command = RedeemCode {
        client: request.client.id,
        code: allowed.code,
        redirect_uri: Some(allowed.redirect_uri),
        verifier: Some(allowed.verifier),
        proof: shown.key(),
        resources,
    };
    for_user(state, request, keys, state.iam.redeem(&request.context(), &command).await).await
}

/// What a token is bound to and for, where no grant says it.
fn terms(
    state: &PublicState,
    request: &ClientRequest,
    shown: &Shown,
    resources: BTreeSet<String>,
) -> Result<Terms, ApiError> {
    if !resources::are_registered(state, &request.tenant, &resources)? {
        return Err(resource::invalid().into());
    }
    Ok(Terms { dpop_jkt: shown.jkt().map(str::to_owned), resources })
}

/// Found before anything is redeemed: without keys, or where too many wait for signatures, a code or refresh token is
/// not used up.
struct Keys {
    access_token: std::sync::Arc<AccessMint>,
    id_token: std::sync::Arc<domicile_iam::keys::SigningKey>,
    place: Place,
}

impl Keys {
    async fn of(state: &PublicState, request: &ClientRequest) -> Result<Self, ApiError> {
        let metadata = &request.client.metadata;
        let access_token = state.access_mint(&request.tenant, &request.client, &BTreeSet::new()).await?;
        let id_token = state.signing_key(&request.tenant, metadata.id_token_signed_response_alg).await?;
        let mut both = access_token.keys();
        both.push(&id_token);
        let place = state.signing.place(&both)?;
        Ok(Self { access_token, id_token, place })
    }
}

async fn for_user(
    state: &PublicState,
    request: &ClientRequest,
    keys: Keys,
    outcome: Result<Written<Issue>, ExecuteError<TokenRefusal>>,
) -> Result<domicile_oidc::Response, ApiError> {
    let Written { reply: issue, consistency, .. } = error::refusal(outcome)?.map_err(refused)?;
    let seen = Consistency::AtLeast(consistency);
    signed(state, request, keys, issue, &seen).await.map_err(too_late)
}

/// What cannot be answered any more is not told as if nothing was done: who redeems a code once more loses what it gave
/// (RFC 6749 §4.1.2).
fn too_late(error: ApiError) -> ApiError {
    if let ApiError::Fault(fault) = &error
        && fault.retry_after_s().is_some()
    {
        return Fault::Unknown.into();
    }
    error
}

async fn signed(
    state: &PublicState,
    request: &ClientRequest,
    keys: Keys,
    issue: Issue,
    seen: &Consistency,
) -> Result<domicile_oidc::Response, ApiError> {
    // Erased in between: what was issued is void already.
    let mut user =
        state.iam.get_user(request.tenant.id, issue.user, seen).await?.ok_or(OAuthError::invalid_grant())?;
    user.subject = state.subject(&request.tenant, &request.client, &user)?;
    let (tenant, client) = (request.tenant.clone(), request.client.clone());
    let Keys { access_token, id_token, place } = keys;
    // Known only now what it is for.
    let access_token = state.access_mint_at(&tenant, access_token, &issue.resources)?;
    let sign = move || {
        let issuer = Issuer {
            tenant: &tenant,
            client: &client,
            access_token: &*access_token,
            id_token_key: &*id_token,
        };
        token::issued(&issuer, &issue, &user)
    };
    Ok(place.run(sign).await?)
}

fn refused(refusal: TokenRefusal) -> OAuthError {
    match refusal {
        TokenRefusal::InvalidGrant(cause) => {
            tracing::info!(%cause, "a grant is invalid");
            OAuthError::invalid_grant()
        }
        TokenRefusal::ProofUsed => dpop_rules::invalid_proof(),
        TokenRefusal::InvalidTarget => resource::invalid(),
        TokenRefusal::InvalidScope => OAuthError::new(ErrorCode::InvalidScope, "more than was granted"),
        TokenRefusal::UnauthorizedClient => {
            OAuthError::new(ErrorCode::UnauthorizedClient, "the client is not registered for this grant_type")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_once_a_grant_is_used_up_does_not_invite_to_try_again() {
        for fault in [Fault::Unavailable { retry_after_s: 1 }, Fault::Overloaded("disk full"), Fault::Unknown]
        {
            assert_eq!(too_late(fault.into()), ApiError::Fault(Fault::Unknown), "{fault}");
        }
        assert_eq!(too_late(Fault::Internal.into()), ApiError::Fault(Fault::Internal));
        let gone = ApiError::from(OAuthError::invalid_grant());
        assert_eq!(too_late(gone.clone()), gone);
    }
}
