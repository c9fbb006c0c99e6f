//! Access tokens of operators: of the tenant `system`, with the scope `domicile:admin` (RFC 9068). Opaque ones, and those
//! with sealed members, are opened in `opaque_operators.rs`.
//!
//! The signature is verified here, on any node, with the tenant's key set: of the replica here while it is
//! fresh, else of the tenant's verified directory entry. Whether the token was revoked is looked up within
//! the staleness that userinfo has: on the replica here, else on another node as a userinfo request. **Past
//! the bound nobody is let in**: a node that can confirm nothing answers 503.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use domicile_iam::commands::SYSTEM_SLUG;
use domicile_iam::ids::TenantId;
use domicile_iam::keys::published_keys;
use domicile_iam::model::{ADMIN_SCOPE, AccessTokenClaims};
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::query::QueryError;
use domicile_iam::service::{Iam, Route, TokenStatus};
use domicile_oidc::jws::{KeySet, TokenFault};
use domicile_oidc::{access_token, endpoint, opaque, scope};
use domicile_raft::Clock;
use tokio::sync::Semaphore;
use url::Url;

use super::opaque_operators::{self, OpaqueOperators};
use crate::public::cached::TenantCache;
use crate::public::profile_reads;
use crate::serve::RequestScope;

/// How fresh a replica must be for keys to come from it and not from the directory's entry.
const KEYS_STALENESS_MS: u64 = 5_000;
/// How long the proof of that may take.
const KEYS_WAIT: Duration = Duration::from_millis(250);
/// How long the replica here may take to say whether a token counts.
const HERE_WAIT: Duration = Duration::from_millis(500);
/// How long another node may take: what the token is for comes after it, within 5 s.
const ELSEWHERE_WAIT: Duration = Duration::from_millis(1_500);
/// Sealed tokens that other nodes are asked about at the same time. Anybody can make one up, and only a node with the
/// keys can tell.
const OPAQUE_ASKED_MAX: usize = 32;

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Foreign, forged, expired or revoked: no difference is shown.
    #[error("the access token is not valid")]
    Invalid,
    /// Good, but of nobody who may administer.
    #[error("the access token lacks the scope `domicile:admin`")]
    Scope,
    /// Whether it was revoked cannot be found out now.
    #[error("the access token cannot be checked now")]
    Unconfirmed,
}

impl From<QueryError> for TokenRefusal {
    fn from(error: QueryError) -> Self {
        tracing::warn!(%error, "an operator's token cannot be checked");
        Self::Unconfirmed
    }
}

/// Who a token stands for, in the words of the audit log, or why it opens nothing.
pub(super) type Judged = Result<ActorRef, TokenRefusal>;

/// Checks operators' tokens. Shared by all handlers.
pub struct OperatorTokens {
    iam: Iam,
    clock: Arc<dyn Clock>,
    opaque: Arc<OpaqueOperators>,
    opaque_places: Semaphore,
    published: TenantCache<Route, KeySet>,
    /// The public routes, followed to the node that can answer.
    elsewhere: OnceLock<Router>,
}

impl OperatorTokens {
    /// Over the replicas of this node alone.
    pub fn new(iam: Iam, clock: Arc<dyn Clock>) -> Arc<Self> {
        let opaque = OpaqueOperators::new(iam.clone(), clock.clone());
        let opaque_places = Semaphore::new(OPAQUE_ASKED_MAX);
        let published = TenantCache::default();
        Arc::new(Self { iam, clock, opaque, opaque_places, published, elsewhere: OnceLock::new() })
    }

    /// What nodes ask each other of tokens, and nobody else.
    pub fn peer_routes(&self) -> Router {
        opaque_operators::routes(self.opaque.clone())
    }

    /// Asks through `routes`, the public ones and those between nodes with forwarding around them, what cannot be told
    /// here. Once.
    pub fn ask_through(&self, routes: Router) {
        let _ = self.elsewhere.set(routes);
    }

    /// Who the token stands for, in the words of the audit log.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub async fn check(&self, token: &str, scope: RequestScope) -> Result<ActorRef, TokenRefusal> {
        if opaque::is_opaque(token) {
            return self.check_opaque(token, scope).await;
        }
        let route = self.iam.route(SYSTEM_SLUG)?.ok_or(TokenRefusal::Invalid)?;
        let keys = self.keys(&route).await?;
        let claims = access_token::open(token, &route.entry.issuer, &keys, self.clock.now());
        if claims == Err(TokenFault::Sealed) {
            return self.check_opaque(token, scope).await;
        }
        let claims = claims.map_err(|_| TokenRefusal::Invalid)?;
        fits(&claims, &route)?;
        let status = self.status(route.tenant, &claims, token, scope).await;
        judged(&claims, status.ok_or(TokenRefusal::Unconfirmed)?)
    }

    /// What is sealed is opened where the tenant's keys are: here, or on a node that has a replica.
    async fn check_opaque(&self, token: &str, scope: RequestScope) -> Judged {
        let here = tokio::time::timeout(HERE_WAIT, self.opaque.judge(token)).await;
        if let Ok(Ok(judged)) = here {
            return judged;
        }
        // Held until the answer was read. Who finds no place comes again.
        let _place = self.opaque_places.try_acquire().map_err(|_| TokenRefusal::Unconfirmed)?;
        let asked = self.ask_elsewhere(&opaque_operators::path(), token, scope).await;
        opaque_operators::told(asked.ok_or(TokenRefusal::Unconfirmed)?).await
    }

    async fn keys(&self, route: &Arc<Route>) -> Result<Arc<KeySet>, TokenRefusal> {
        let tenant = route.tenant;
        if self.iam.is_fresh_here(tenant, KEYS_STALENESS_MS, KEYS_WAIT).await {
            return Ok(self.opaque.keys(tenant).await?);
        }
        if let Some(keys) = self.published.get(tenant, route) {
            return Ok(keys);
        }
        let documents = self.iam.public_documents(tenant)?.ok_or(TokenRefusal::Invalid)?;
        let jwks = documents.jwks.ok_or(TokenRefusal::Unconfirmed)?;
        let keys = published_keys(&jwks).map_err(|_| TokenRefusal::Unconfirmed)?;
        Ok(self.published.put(tenant, route, keys.into_iter().collect()))
    }

    /// Whether the token counts; `None` where nobody can tell within the bound.
    async fn status(
        &self,
        tenant: TenantId,
        claims: &AccessTokenClaims,
        token: &str,
        scope: RequestScope,
    ) -> Option<TokenStatus> {
        let here = tokio::time::timeout(HERE_WAIT, self.status_here(tenant, claims)).await;
        if let Ok(Ok(status)) = here {
            return Some(status);
        }
        let userinfo = format!("/t/{SYSTEM_SLUG}{}", endpoint::USERINFO);
        told(&self.ask_elsewhere(&userinfo, token, scope).await?)
    }

    /// The answer of a node that can tell; `None` if none does within the time that this may take.
    async fn ask_elsewhere(&self, path: &str, token: &str, scope: RequestScope) -> Option<Response> {
        let mut routes = self.elsewhere.get()?.clone();
        // Nothing is forwarded without the authority that it is meant for.
        let issuer = Url::parse(&self.iam.route(SYSTEM_SLUG).ok()??.entry.issuer).ok()?;
        let mut request = Request::get(format!("{}{path}", issuer.origin().ascii_serialization()))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .ok()?;
        let deadline = scope.deadline.min(ELSEWHERE_WAIT);
        request.extensions_mut().insert(RequestScope { deadline, ..scope });
        let asked = tower::Service::call(&mut routes, request);
        tokio::time::timeout(deadline, asked).await.ok()?.ok()
    }

    async fn status_here(
        &self,
        tenant: TenantId,
        claims: &AccessTokenClaims,
    ) -> Result<TokenStatus, QueryError> {
        let context = self.iam.tenant(tenant).await?.ok_or(QueryError::UnknownTenant)?;
        self.iam.check_access_token(tenant, claims, &profile_reads(&context)).await
    }
}

/// Whether an authentic token of the tenant's issuer is one for the admin API. One that is bound to a key is of no use
/// as a bearer token (RFC 9449 §7.2).
pub(super) fn fits(claims: &AccessTokenClaims, route: &Route) -> Result<(), TokenRefusal> {
    let for_us = claims.aud.contains(&route.entry.issuer);
    if for_us && claims.confirmation.is_none() && !route.entry.disabled {
        Ok(())
    } else {
        Err(TokenRefusal::Invalid)
    }
}

/// What comes of a token of this standing.
pub(super) fn judged(claims: &AccessTokenClaims, status: TokenStatus) -> Judged {
    match status {
        TokenStatus::Inactive => return Err(TokenRefusal::Invalid),
        TokenStatus::Active => {}
    }
    if !scope::holds(claims.scope.as_deref(), ADMIN_SCOPE) {
        return Err(TokenRefusal::Scope);
    }
    let id = claims.user.map_or_else(|| claims.client.to_string(), |user| user.to_string());
    Ok(ActorRef { kind: ActorKind::Operator, id })
}

/// What userinfo says of a token whose signature is good: a service's has no `openid`, which is said only
/// of one that counts.
fn told(answer: &Response) -> Option<TokenStatus> {
    let challenge = answer.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let lacks_scope = challenge.is_some_and(|text| text.contains("insufficient_scope"));
    match answer.status() {
        StatusCode::OK => Some(TokenStatus::Active),
        StatusCode::FORBIDDEN if lacks_scope => Some(TokenStatus::Active),
        StatusCode::UNAUTHORIZED => Some(TokenStatus::Inactive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use domicile_oidc::bearer::BearerError;

    use super::*;
    use crate::public::ApiError;

    fn answer(error: BearerError) -> Response {
        axum::response::IntoResponse::into_response(ApiError::from(error))
    }

    #[test]
    fn rfc6750_s3_1_what_userinfo_says_of_a_token_is_understood() {
        assert_eq!(told(&Response::new(Body::empty())), Some(TokenStatus::Active));
        assert_eq!(told(&answer(BearerError::InsufficientScope("openid"))), Some(TokenStatus::Active));
        assert_eq!(told(&answer(BearerError::InvalidToken)), Some(TokenStatus::Inactive));
        for status in [403, 421, 500, 503] {
            assert_eq!(told(&Response::builder().status(status).body(Body::empty()).unwrap()), None);
        }
    }
}
