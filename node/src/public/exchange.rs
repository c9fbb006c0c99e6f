//! Token exchange (RFC 8693). Nothing is written.

use std::sync::Arc;

use domicile_iam::model::AccessTokenClaims;
use domicile_iam::query::Consistency;
use domicile_oidc::exchange::{self, Brought, Exchange};
use domicile_oidc::{OAuthError, resource, token};

use super::client::ClientRequest;
use super::dpop::Shown;
use super::error::ApiError;
use super::resources;
use super::state::{PublicState, token_reads};

/// Answers the grant.
pub async fn issue(
    state: &PublicState,
    request: &ClientRequest,
    exchange: &Exchange<'_>,
    shown: &Shown,
) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, .. } = request;
    if !resources::are_registered(state, tenant, &exchange.resources)? {
        return Err(resource::invalid().into());
    }
    let subject = live(state, request, exchange.subject_token).await?;
    let actor = match exchange.actor_token {
        Some(actor) => Some(live(state, request, actor).await?),
        None => None,
    };
    let brought = Brought { subject: &subject, actor: actor.as_ref(), jkt: shown.jkt() };
    let given = exchange::decide(exchange, brought, client, tenant)?;
    let issued = (state.token_id(), state.iam.now(tenant.id)?);
    let named = &given.terms.resources;
    let audience = if named.is_empty() { subject.aud.iter().cloned().collect() } else { named.clone() };
    let mint = state.exchange_mint(tenant, client, &audience, &given.sources).await?;
    tracing::info!(client = %client.id, subject = %subject.jti, token = %issued.0, "a token is exchanged");
    let (tenant, client, maker) = (tenant.clone(), client.clone(), mint.clone());
    let sign = move || token::exchanged(&tenant, &client, &*maker, &subject, given, issued);
    Ok(state.signing.run(&mint.keys(), sign).await?)
}

/// A token of ours that counts now, with the `sub` by which the client that exchanges knows its user.
async fn live(
    state: &PublicState,
    request: &ClientRequest,
    token: &str,
) -> Result<AccessTokenClaims, ApiError> {
    let ClientRequest { tenant, client, .. } = request;
    let refused = || OAuthError::invalid_request("a token is not valid");
    let opened = state.open_token(tenant, token).await?.ok_or_else(refused)?;
    if !state.counts(tenant, token, &opened, &token_reads(tenant)).await? {
        return Err(refused().into());
    }
    let mut claims = Arc::unwrap_or_clone(opened.claims);
    if let Some(user) = claims.user {
        // Read after the wait above; what is here now is no older.
        let user = state.iam.get_user(tenant.id, user, &Consistency::Local).await?.ok_or_else(refused)?;
        claims.sub = state.subject(tenant, client, &user)?;
    }
    Ok(claims)
}
