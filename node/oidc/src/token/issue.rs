//! What is given (RFC 6749 §5.1; OpenID Connect Core §3.1.3.3).

use std::collections::BTreeSet;

use domicile_iam::ids::TokenId;
use domicile_iam::model::{AccessTokenClaims, ClientView, Issue, TenantContext, UserView};
use serde::Serialize;

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
    let claims = issuer.access_token.narrowed(claims);
    let access_token = issuer.access_token.mint(&claims)?;
    let id_token = if issue.scopes.contains(scope::OPENID) {
        let algorithm = issuer.id_token_key.algorithm();
        let claims = id_token::claims(issuer.tenant, issuer.client, issue, user, &access_token, algorithm);
        Some(jws::sign(issuer.id_token_key, TokenType::IdToken, &claims)?)
    } else {
        None
    };
    let refresh_token = issue.refresh_token.as_deref();
    let id_token = id_token.as_deref();
    Granted { id_token, refresh_token, ..Granted::of(&claims, &access_token) }.answer()
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
    let claims = access_token::for_client(tenant, client, scopes, token_id, now);
    let claims = mint.narrowed(terms.apply(claims));
    let access_token = mint.mint(&claims)?;
    Granted::of(&claims, &access_token).answer()
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
    let claims = access_token::for_subject(tenant, client, user, scopes, (token_id, now));
    let claims = mint.narrowed(terms.apply(claims));
    let access_token = mint.mint(&claims)?;
    Granted::of(&claims, &access_token).answer()
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
    let claims = mint.narrowed(access_token::exchanged(tenant, client, subject, given, stamp));
    let access_token = mint.mint(&claims)?;
    let issued_token_type = Some(exchange::ACCESS_TOKEN);
    Granted { issued_token_type, ..Granted::of(&claims, &access_token) }.answer()
}

/// The members of an answer, in the order of their names.
#[derive(Serialize)]
struct Granted<'a> {
    access_token: &'a str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    /// What the token has (RFC 6749 §5.1), which may be less than was granted: other tokens of the same grant, for
    /// other resources, may have the rest. A token without any scope has no member: §3.3 has no way to write an empty
    /// list, also where §5.1 wants one for having been asked for more. Such a client sees it at introspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    token_type: &'static str,
}

impl<'a> Granted<'a> {
    fn of(claims: &'a AccessTokenClaims, access_token: &'a str) -> Self {
        Self {
            access_token,
            expires_in: claims.exp.saturating_sub(claims.iat),
            id_token: None,
            issued_token_type: None,
            refresh_token: None,
            scope: claims.scope.as_deref().filter(|scope| !scope.is_empty()),
            token_type: access_token::token_type(claims),
        }
    }

    fn answer(&self) -> Result<Response, SignFault> {
        Response::json_of(200, self).map_err(|_| SignFault::Claims)
    }
}
