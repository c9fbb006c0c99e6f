//! Access tokens: `at+jwt` (RFC 9068).

use std::collections::BTreeSet;

use domicile_iam::ids::TokenId;
use domicile_iam::model::{
    AccessTokenClaims, ClientView, Confirmation, Issue, TenantContext, TokenSource, UserView,
};
use serde_json::json;

use crate::exchange::Exchanged;
use crate::jws::{self, KeySet, TokenFault, TokenType};
use crate::sealed_members::SealedMembers;
use crate::{Timestamp, scope};

/// What a token request adds to an access token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Thumbprint of the key that it is bound to (RFC 9449 §6.1).
    pub dpop_jkt: Option<String>,
    /// What it is for (RFC 8707); none: the issuer.
    pub resources: BTreeSet<String>,
}

impl Terms {
    /// `claims` on these terms.
    #[must_use]
    pub fn apply(&self, claims: AccessTokenClaims) -> AccessTokenClaims {
        let confirmation = self.dpop_jkt.clone().map(|jkt| Confirmation { jkt });
        let aud =
            if self.resources.is_empty() { claims.aud } else { self.resources.iter().cloned().collect() };
        // RFC 9068 §2.2.3: each scope means something where the token is for. Those of OpenID Connect do here only.
        let is_ours = aud.contains(&claims.iss);
        let scope = claims.scope.and_then(|text| if is_ours { Some(text) } else { scope::elsewhere(&text) });
        AccessTokenClaims { aud, confirmation, scope, ..claims }
    }
}

/// `claims` without the scopes that mean nothing where the token is for (RFC 9068 §2.2.3): those of `known` alone.
#[must_use]
pub fn with_known_scopes(claims: AccessTokenClaims, known: &BTreeSet<String>) -> AccessTokenClaims {
    let scope = claims.scope.and_then(|text| scope::only(&text, known));
    AccessTokenClaims { scope, ..claims }
}

/// The tenant's lifetime, or the client's own where that is shorter.
fn lifetime_ms(tenant_ms: u64, client: &ClientView) -> u64 {
    client
        .metadata
        .access_token_lifetime_s()
        .map_or(tenant_ms, |own| tenant_ms.min(own.saturating_mul(1_000)))
}

/// Claims of a token that acts for a user.
pub fn for_user(
    tenant: &TenantContext,
    client: &ClientView,
    issue: &Issue,
    user: &UserView,
) -> AccessTokenClaims {
    let issued_at = issue.issued_at;
    let claims = AccessTokenClaims {
        sub: user.subject.clone(),
        exp: issued_at.plus_ms(lifetime_ms(tenant.settings.access_token_lifetime_ms, client)).seconds(),
        user: Some(issue.user),
        session: issue.session,
        grant: Some(issue.grant),
        family: Some(issue.family),
        auth_time: Some(issue.auth_time.seconds()),
        acr: issue.acr.clone(),
        amr: issue.amr.clone(),
        userinfo_claims: issue.claims.userinfo.clone(),
        claims_locales: issue.claims.locales.clone(),
        ..for_client(tenant, client, &issue.scopes, issue.token_id, issued_at)
    };
    Terms { dpop_jkt: issue.dpop_jkt.clone(), resources: issue.resources.clone() }.apply(claims)
}

/// Claims of a token that acts for its client alone (RFC 9068 §2.2: `sub` is the client).
///
/// The audience is the issuer, the default resource, unless [`Terms`] say otherwise.
pub fn for_client(
    tenant: &TenantContext,
    client: &ClientView,
    scopes: &BTreeSet<String>,
    token_id: TokenId,
    issued_at: Timestamp,
) -> AccessTokenClaims {
    AccessTokenClaims {
        iss: tenant.issuer.clone(),
        sub: client.client_id.clone(),
        aud: vec![tenant.issuer.clone()],
        exp: issued_at.plus_ms(lifetime_ms(tenant.settings.service_token_lifetime_ms, client)).seconds(),
        iat: issued_at.seconds(),
        jti: token_id,
        client_id: client.client_id.clone(),
        scope: (!scopes.is_empty()).then(|| scope::text(scopes)),
        issued_at,
        user: None,
        client: client.id,
        session: None,
        grant: None,
        family: None,
        auth_time: None,
        acr: None,
        confirmation: None,
        amr: Vec::new(),
        userinfo_claims: std::collections::BTreeMap::new(),
        act: None,
        may_act: client.metadata.may_act().map(|actor| json!({ "sub": actor })),
        sources: Vec::new(),
        claims_locales: Vec::new(),
    }
}

/// Claims of a token that acts for a user by somebody else's word: no session, grant or family stands behind it.
pub fn for_subject(
    tenant: &TenantContext,
    client: &ClientView,
    user: &UserView,
    scopes: &BTreeSet<String>,
    (token_id, issued_at): (TokenId, Timestamp),
) -> AccessTokenClaims {
    AccessTokenClaims {
        sub: user.subject.clone(),
        exp: issued_at.plus_ms(lifetime_ms(tenant.settings.access_token_lifetime_ms, client)).seconds(),
        user: Some(user.id),
        ..for_client(tenant, client, scopes, token_id, issued_at)
    }
}

/// Claims of a token that was exchanged for `subject` (RFC 8693). It stands on the tokens that were brought and
/// on all that they stand on, each by its own time of issue, so that what revokes one of them revokes it too,
/// also where that was not known yet when it was exchanged. It ends with the first of them.
pub fn exchanged(
    tenant: &TenantContext,
    client: &ClientView,
    subject: &AccessTokenClaims,
    given: Exchanged,
    (token_id, now): (TokenId, Timestamp),
) -> AccessTokenClaims {
    let own = now.plus_ms(tenant.settings.access_token_lifetime_ms).seconds();
    let claims = AccessTokenClaims {
        sub: subject.sub.clone(),
        aud: subject.aud.clone(),
        exp: given.ends_at_s.min(own),
        user: subject.user,
        auth_time: subject.auth_time,
        acr: subject.acr.clone(),
        amr: subject.amr.clone(),
        act: given.act,
        sources: given.sources,
        ..for_client(tenant, client, &given.scopes, token_id, now)
    };
    given.terms.apply(claims)
}

/// What a token that was brought as `subject` or as an actor's leaves behind in the one it is exchanged for.
#[must_use]
pub fn source(token: &AccessTokenClaims) -> TokenSource {
    TokenSource {
        jti: token.jti,
        client: token.client,
        issued_at: token.issued_at,
        user: token.user,
        session: token.session,
        grant: token.grant,
        family: token.family,
    }
}

/// `token_type`: how a token is presented (RFC 6750, RFC 9449 §5).
#[must_use]
pub fn token_type(claims: &AccessTokenClaims) -> &'static str {
    if claims.confirmation.is_some() { "DPoP" } else { "Bearer" }
}

/// What an `at+jwt` that we signed says.
#[derive(Debug)]
pub enum Authentic {
    /// All of it.
    Clear(Box<AccessTokenClaims>),
    /// What `crate::opaque::OpaqueTokens::open_members` of its tenant reads.
    Sealed(SealedMembers),
}

/// Reads a token of ours. Its issuer and its end are not looked at.
///
/// # Errors
/// [`TokenFault`].
pub fn authentic(token: &str, keys: &KeySet) -> Result<Authentic, TokenFault> {
    let payload = jws::payload(token, TokenType::AccessToken, keys)?;
    if let Ok(claims) = serde_json::from_slice(&payload) {
        return Ok(Authentic::Clear(Box::new(claims)));
    }
    SealedMembers::parse(&payload).map(Authentic::Sealed).ok_or(TokenFault::Claims)
}

/// Reads a token of ours that has not expired, with nothing but public keys. Whether it was revoked, `iam` knows.
///
/// # Errors
/// [`TokenFault`], [`TokenFault::Sealed`] if only its tenant's keys open it; clients learn only `invalid_token` or
/// `{"active":false}`.
pub fn open(
    token: &str,
    issuer: &str,
    keys: &KeySet,
    now: Timestamp,
) -> Result<AccessTokenClaims, TokenFault> {
    match authentic(token, keys)? {
        Authentic::Clear(claims) => of_issuer(&claims, issuer, now).map(|()| *claims),
        Authentic::Sealed(_) => Err(TokenFault::Sealed),
    }
}

/// Whether the claims of an authentic token are of this issuer and have not expired.
///
/// # Errors
/// [`TokenFault`].
pub fn of_issuer(claims: &AccessTokenClaims, issuer: &str, now: Timestamp) -> Result<(), TokenFault> {
    if claims.iss != issuer {
        return Err(TokenFault::Claims);
    }
    if now.seconds() >= claims.exp {
        return Err(TokenFault::Expired);
    }
    Ok(())
}
