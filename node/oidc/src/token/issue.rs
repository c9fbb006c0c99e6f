//! What is given (RFC 6749 §5.1; OpenID Connect Core §3.1.3.3).

use std::collections::BTreeSet;

use domicile_iam::ids::TokenId;
use domicile_iam::model::{AccessTokenClaims, ClientView, Issue, TenantContext, UserView};
use serde_json::{Map, Value};

use crate::access_token::Terms;
use crate::exchange::{self, Exchanged};
use crate::jws::{self, SignFault, Signer, TokenType};
use crate::opaque::Mint;
use crate::response::Response;
use crate::{Timestamp, access_token, id_token, scope};

/// What tokens of a client are made with.
pub struct Issuer<'a> {
    /// The tenant.
    pub tenant: &'a TenantContext,
    /// The client.
    pub client: &'a ClientView,
    /// What makes access tokens.
    pub access_token: &'a dyn Mint,
    /// Key for ID tokens: of `id_token_signed_response_alg`.
    pub id_token_key: &'a dyn Signer,
}

/// The answer to a redeemed code or a rotated refresh token.
///
/// # Errors
/// [`SignFault`]: nothing is answered; for a refresh the client may ask again.
pub fn issued(issuer: &Issuer<'_>, issue: &Issue, user: &UserView) -> Result<Response, SignFault> {
    let claims = access_token::for_user(issuer.tenant, issuer.client, issue, user);
    let access_token = issuer.access_token.mint(&claims)?;
    let mut body = granted(&claims, &access_token);
    if issue.scopes.contains(scope::OPENID) {
        let algorithm = issuer.id_token_key.algorithm();
        let claims = id_token::claims(issuer.tenant, issuer.client, issue, user, &access_token, algorithm);
        let id_token = jws::sign(issuer.id_token_key, TokenType::IdToken, &claims)?;
        body.insert("id_token".to_owned(), id_token.into());
    }
    if let Some(refresh_token) = &issue.refresh_token {
        body.insert("refresh_token".to_owned(), refresh_token.as_str().into());
    }
    Ok(Response::json(200, &Value::Object(body)))
}

/// The answer to client credentials (RFC 6749 §4.4.3): never a refresh token.
///
/// # Errors
/// [`SignFault`].
pub fn client_credentials(
    tenant: &TenantContext,
    client: &ClientView,
    mint: &dyn Mint,
    scopes: &BTreeSet<String>,
    (token_id, now): (TokenId, Timestamp),
    terms: &Terms,
) -> Result<Response, SignFault> {
    let claims = terms.apply(access_token::for_client(tenant, client, scopes, token_id, now));
    let access_token = mint.mint(&claims)?;
    Ok(Response::json(200, &Value::Object(granted(&claims, &access_token))))
}

/// The answer to a JWT bearer grant (RFC 7523 §2.1): never a refresh token (RFC 7521 §4.1).
///
/// # Errors
/// [`SignFault`].
pub fn asserted(
    tenant: &TenantContext,
    client: &ClientView,
    user: &UserView,
    mint: &dyn Mint,
    scopes: &BTreeSet<String>,
    (token_id, now): (TokenId, Timestamp),
    terms: &Terms,
) -> Result<Response, SignFault> {
    let claims = terms.apply(access_token::for_subject(tenant, client, user, scopes, (token_id, now)));
    let access_token = mint.mint(&claims)?;
    Ok(Response::json(200, &Value::Object(granted(&claims, &access_token))))
}

/// The answer to a token exchange (RFC 8693 §2.2.1).
///
/// # Errors
/// [`SignFault`].
pub fn exchanged(
    tenant: &TenantContext,
    client: &ClientView,
    mint: &dyn Mint,
    subject: &AccessTokenClaims,
    given: Exchanged,
    stamp: (TokenId, Timestamp),
) -> Result<Response, SignFault> {
    let claims = access_token::exchanged(tenant, client, subject, given, stamp);
    let access_token = mint.mint(&claims)?;
    let mut body = granted(&claims, &access_token);
    body.insert("issued_token_type".to_owned(), exchange::ACCESS_TOKEN.into());
    Ok(Response::json(200, &Value::Object(body)))
}

/// `scope` is what the token has (RFC 6749 §5.1), which may be less than was granted: other tokens of the same grant,
/// for other resources, may have the rest.
fn granted(claims: &AccessTokenClaims, access_token: &str) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("access_token".to_owned(), access_token.into());
    body.insert("token_type".to_owned(), access_token::token_type(claims).into());
    body.insert("expires_in".to_owned(), claims.exp.saturating_sub(claims.iat).into());
    body.insert("scope".to_owned(), claims.scope.as_deref().unwrap_or_default().into());
    body
}
