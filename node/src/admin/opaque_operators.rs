//! Access tokens of operators that are opaque, or have sealed members. Only a node with a replica of the tenant `system`
//! has the keys that open them; another node asks one of those, on a connection between nodes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use domicile_iam::commands::SYSTEM_SLUG;
use domicile_iam::ids::TenantId;
use domicile_iam::keys::Jwks;
use domicile_iam::model::{AccessTokenClaims, TenantContext};
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::query::QueryError;
use domicile_iam::service::Iam;
use domicile_oidc::access_token::{self, Authentic};
use domicile_oidc::jws::KeySet;
use domicile_oidc::opaque::{self, OpaqueTokens};
use domicile_raft::Clock;
use serde::{Deserialize, Serialize};

use super::auth;
use super::error::unread;
use super::operator_tokens::{Judged, TokenRefusal, fits, judged};
use crate::public::cached::TenantCache;
use crate::public::profile_reads;

/// Where a node asks another one. On no listener.
pub(crate) const OPERATOR_TOKEN_PATH: &str = "/peer/{tenant}/operator-token";
/// Of an answer.
const ANSWER_BYTES_MAX: usize = 1_024;
/// For an answer that has begun to come.
const ANSWER_WAIT: Duration = Duration::from_millis(250);

/// What nodes say of a good token.
#[derive(Serialize, Deserialize)]
struct Said {
    /// Of the operator, or of the client that acts for itself.
    id: String,
}

/// Judges tokens by the replica of this node.
pub(super) struct OpaqueOperators {
    iam: Iam,
    clock: Arc<dyn Clock>,
    tokens: TenantCache<TenantContext, OpaqueTokens>,
    keys: TenantCache<Jwks, KeySet>,
}

impl OpaqueOperators {
    pub(super) fn new(iam: Iam, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { iam, clock, tokens: TenantCache::default(), keys: TenantCache::default() })
    }

    /// Who a token stands for, by the same checks as one that is readable.
    ///
    /// # Errors
    /// [`QueryError`]: this node cannot tell.
    pub(super) async fn judge(&self, token: &str) -> Result<Judged, QueryError> {
        let invalid = Ok(Err(TokenRefusal::Invalid));
        let Some(route) = self.iam.route(SYSTEM_SLUG)? else { return invalid };
        let context = self.iam.tenant(route.tenant).await?.ok_or(QueryError::UnknownTenant)?;
        let Some(claims) = self.open(&context, token).await? else { return invalid };
        if access_token::of_issuer(&claims, &route.entry.issuer, self.clock.now()).is_err() {
            return invalid;
        }
        if let Err(refusal) = fits(&claims, &route) {
            return Ok(Err(refusal));
        }
        let reads = profile_reads(&context);
        let status = self.iam.check_access_token(route.tenant, &claims, &reads).await?;
        Ok(judged(&claims, status))
    }

    async fn open(
        &self,
        context: &Arc<TenantContext>,
        token: &str,
    ) -> Result<Option<AccessTokenClaims>, QueryError> {
        let tokens = self.tokens(context)?;
        if opaque::is_opaque(token) {
            return Ok(tokens.open(token));
        }
        // A replica may lag: a key that was just made is waited for as what else is asked about the token is.
        self.iam.get_tenant(context.id, &profile_reads(context)).await?;
        let keys = self.keys(context.id).await?;
        Ok(match access_token::authentic(token, &keys) {
            Ok(Authentic::Clear(claims)) => Some(*claims),
            Ok(Authentic::Sealed(members)) => tokens.open_members(members),
            Err(_) => None,
        })
    }

    /// The tenant's public keys, by the replica of this node.
    ///
    /// # Errors
    /// [`QueryError`].
    pub(super) async fn keys(&self, tenant: TenantId) -> Result<Arc<KeySet>, QueryError> {
        let jwks = self.iam.jwks(tenant).await?;
        if let Some(keys) = self.keys.get(tenant, &jwks) {
            return Ok(keys);
        }
        let mut keys = Vec::with_capacity(jwks.keys.len());
        for jwk in &jwks.keys {
            keys.extend(self.iam.verification_key(tenant, &jwk.kid).await?);
        }
        Ok(self.keys.put(tenant, &jwks, keys.into_iter().collect()))
    }

    fn tokens(&self, context: &Arc<TenantContext>) -> Result<Arc<OpaqueTokens>, QueryError> {
        if let Some(tokens) = self.tokens.get(context.id, context) {
            return Ok(tokens);
        }
        let secret = self.iam.opaque_token_secret(context.id)?;
        Ok(self.tokens.put(context.id, context, OpaqueTokens::new(&secret, context.id)))
    }
}

/// What other nodes ask.
pub(super) fn routes(operators: Arc<OpaqueOperators>) -> Router {
    Router::new().route(OPERATOR_TOKEN_PATH, get(answer)).with_state(operators)
}

/// Where to ask.
pub(super) fn path() -> String {
    OPERATOR_TOKEN_PATH.replace("{tenant}", SYSTEM_SLUG)
}

async fn answer(
    State(operators): State<Arc<OpaqueOperators>>,
    Path(slug): Path<String>,
    headers: HeaderMap,
) -> Response {
    // Forwarding goes by the name in the path: it must be the one that is answered for.
    let Some(token) = auth::sent(&headers).filter(|_| slug == SYSTEM_SLUG) else {
        return auth::refusal(TokenRefusal::Invalid);
    };
    match operators.judge(token).await {
        Ok(Ok(operator)) => Json(Said { id: operator.id }).into_response(),
        Ok(Err(refusal)) => auth::refusal(refusal),
        Err(error) => unread(&error).into_response(),
    }
}

/// What another node's answer says.
pub(super) async fn told(answer: Response) -> Judged {
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(TokenRefusal::Invalid),
        StatusCode::FORBIDDEN => return Err(TokenRefusal::Scope),
        _ => return Err(TokenRefusal::Unconfirmed),
    }
    let body = tokio::time::timeout(ANSWER_WAIT, to_bytes(answer.into_body(), ANSWER_BYTES_MAX)).await;
    let said = body.ok().and_then(Result::ok).and_then(|body| serde_json::from_slice::<Said>(&body).ok());
    let Said { id } = said.ok_or(TokenRefusal::Unconfirmed)?;
    Ok(ActorRef { kind: ActorKind::Operator, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_another_node_says_of_a_token_is_what_it_found() {
        let operator = ActorRef { kind: ActorKind::Operator, id: "usr_1".to_owned() };
        let said = Json(Said { id: operator.id.clone() }).into_response();
        assert_eq!(told(said).await, Ok(operator));
        for refusal in [TokenRefusal::Invalid, TokenRefusal::Scope, TokenRefusal::Unconfirmed] {
            assert_eq!(told(auth::refusal(refusal)).await, Err(refusal));
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_understood_lets_nobody_in() {
        for (status, body) in
            [(200, ""), (200, "{}"), (200, "{\"id\":7}"), (204, "{\"id\":\"usr_1\"}"), (421, ""), (500, "")]
        {
            let answer = Response::builder().status(status).body(axum::body::Body::from(body)).unwrap();
            assert_eq!(told(answer).await, Err(TokenRefusal::Unconfirmed), "{status} {body}");
        }
    }
}
