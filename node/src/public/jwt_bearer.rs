//! A trusted issuer's assertion for an access token (RFC 7523 §2.1). Nothing is written.

use std::collections::BTreeSet;

use domicile_iam::model::TrustedIssuer;
use domicile_oidc::access_token::Terms;
use domicile_oidc::assertion::{Assertion, AssertionFault};
use domicile_oidc::{OAuthError, jwt_bearer, token};

use super::client::ClientRequest;
use super::client_keys::NoKeys;
use super::error::{ApiError, Fault};
use super::state::{PublicState, token_reads};
use crate::limit::OnceError;
use crate::problem::Problem;

/// Seconds until a key set may be asked for again, or uses are forgotten.
const RETRY_S: u64 = 10;

/// Answers the grant.
pub async fn issue(
    state: &PublicState,
    request: &ClientRequest,
    assertion: &str,
    asked: Option<BTreeSet<String>>,
    terms: Terms,
) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, .. } = request;
    let mint = state.access_mint(tenant, client, &terms.resources).await?;
    let assertion = Assertion::parse(assertion).map_err(|fault| refused(request, fault))?;
    let judged = jwt_bearer::judge(&assertion, client, tenant, state.clock.now());
    let (issuer, once) = judged.map_err(|fault| refused(request, fault))?;
    let scopes = jwt_bearer::scopes(asked, &issuer, client, tenant)?;
    verify(state, request, &issuer, &assertion).await?;
    let reads = token_reads(tenant);
    let user = state.iam.user_named(tenant.id, issuer.subject, assertion.subject(), &reads).await?;
    let user = user.filter(|user| !user.disabled);
    let mut user = user.ok_or_else(|| refused(request, AssertionFault::Party))?;
    user.subject = state.subject(tenant, client, &user)?;
    if let Some(once) = once {
        let who = (tenant.id, issuer.issuer.as_str());
        let now_s = state.clock.now().seconds();
        match state.used.take(who, &once.jti, once.until_s, request.scope.id, now_s) {
            Ok(()) => {}
            Err(OnceError::Used) => return Err(refused(request, AssertionFault::Jti).into()),
            Err(OnceError::Full) => return Err(ApiError::TooMany(Problem::too_many(RETRY_S))),
        }
    }
    // Of the store, not the wall: what revokes this token later must be later.
    let stamp = (state.token_id(), state.iam.now(tenant.id)?);
    let (tenant, client, maker) = (tenant.clone(), client.clone(), mint.clone());
    let sign = move || token::asserted(&tenant, &client, &user, &*maker, &scopes, stamp, &terms);
    Ok(state.signing.run(&mint.keys(), sign).await?)
}

async fn verify(
    state: &PublicState,
    request: &ClientRequest,
    issuer: &TrustedIssuer,
    assertion: &Assertion,
) -> Result<(), ApiError> {
    let keys = state.client_keys.of_issuer(request.tenant.id, &request.client, issuer, assertion).await;
    let keys = keys.map_err(|NoKeys| Fault::Unavailable { retry_after_s: RETRY_S })?;
    Ok(assertion.verify(&keys).map_err(|fault| refused(request, fault))?)
}

/// RFC 7523 §3.1: one code for all of it.
fn refused(request: &ClientRequest, fault: AssertionFault) -> OAuthError {
    tracing::info!(client = %request.client.id, cause = %fault, "an assertion for a grant is refused");
    OAuthError::invalid_grant()
}
