//! A client proves itself to the token, introspection or revocation endpoint.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, Path, Request};
use axum::http::HeaderMap;
use domicile_iam::execute::RequestContext;
use domicile_iam::ids::RequestId;
use domicile_iam::model::{ClientView, TenantContext};
use domicile_oidc::assertion::AssertionFault;
use domicile_oidc::client_auth::{self, Presented, Proof};
use domicile_oidc::{Form, OAuthError};

use super::client_keys::NoKeys;
use super::context::{self, Caller};
use super::error::{ApiError, Fault};
use super::state::PublicState;
use super::{body, tenant};
use crate::limit::OnceError;
use crate::problem::Problem;
use crate::serve::RequestScope;

/// Seconds until a key set may be asked for again.
const KEYS_RETRY_S: u64 = 10;

/// A request of an authenticated client. An extractor.
pub struct ClientRequest {
    /// The tenant asked.
    pub tenant: Arc<TenantContext>,
    /// The client.
    pub client: Arc<ClientView>,
    /// The parameters.
    pub form: Form,
    /// Where it came from, and its id.
    pub scope: RequestScope,
    /// What it said.
    pub headers: HeaderMap,
}

impl FromRequest<PublicState> for ClientRequest {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &PublicState) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let scope = RequestScope::from_request_parts(&mut parts, state).await.map_err(|_| Fault::Internal)?;
        let slug = Path::<String>::from_request_parts(&mut parts, state).await;
        let Path(slug) = slug.map_err(|_| Fault::NoTenant)?;
        Self::read(state, &slug, scope, parts.headers, body).await
    }
}

impl ClientRequest {
    /// Reads the form, finds the client and lets it prove itself.
    async fn read(
        state: &PublicState,
        slug: &str,
        scope: RequestScope,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Self, ApiError> {
        state.limits.token(scope.address).map_err(ApiError::TooMany)?;
        let tenant = tenant::serving(state, slug).await?;
        let form = body::form(&headers, body).await?;
        let presented = client_auth::parse(body::authorization(&headers)?, &form)?;
        let found = state.iam.client(tenant.id, &presented.client_id).await?;
        let proven = match found {
            Some(client) => prove(state, &tenant, &presented, client, scope.id).await,
            None => Err(OAuthError::invalid_client().into()),
        };
        let within = match &proven {
            Ok((_, true)) => state.limits.proven_client(tenant.id, &presented.client_id),
            Ok((_, false)) | Err(_) => {
                state.limits.unproven_client(scope.address, tenant.id, &presented.client_id)
            }
        };
        within.map_err(ApiError::TooMany)?;
        let (client, _) = proven?;
        Ok(Self { tenant, client, form, scope, headers })
    }

    /// The context of a command of this client.
    pub fn context(&self) -> RequestContext {
        context::context(self.tenant.id, self.scope, &self.headers, Caller::Client(self.client.id))
    }
}

/// Lets the client prove that it is who it says. Whether it did so, or is a public one that need not.
async fn prove(
    state: &PublicState,
    tenant: &TenantContext,
    presented: &Presented,
    client: Arc<ClientView>,
    request: RequestId,
) -> Result<(Arc<ClientView>, bool), ApiError> {
    let now = state.clock.now();
    let refused = |fault: AssertionFault| {
        tracing::info!(client = %client.id, cause = %fault, "a client's assertion is refused");
        OAuthError::invalid_client()
    };
    let used = match presented.proof(&client, &tenant.issuer, now)? {
        Proof::Public => return Ok((client, false)),
        Proof::Secret(secret) if state.iam.verify_client_secret(&client, secret) => {
            return Ok((client, true));
        }
        Proof::Secret(_) => return Err(OAuthError::invalid_client().into()),
        Proof::SecretAssertion(assertion, used) => {
            assertion.verify_hmac(&state.iam.hmac_secrets(tenant.id, &client)?).map_err(refused)?;
            used
        }
        Proof::KeyAssertion(assertion, used) => {
            let keys = state.client_keys.of(tenant.id, &client, assertion).await;
            let keys = keys.map_err(|NoKeys| Fault::Unavailable { retry_after_s: KEYS_RETRY_S })?;
            assertion.verify(&keys).map_err(refused)?;
            used
        }
    };
    let who = (tenant.id, client.client_id.as_str());
    match state.used.take(who, &used.jti, used.until_s, request, now.seconds()) {
        Ok(()) => Ok((client, true)),
        Err(OnceError::Used) => {
            tracing::info!(client = %client.id, "a client's assertion was used before");
            Err(OAuthError::invalid_client().into())
        }
        Err(OnceError::Full) => Err(ApiError::TooMany(Problem::too_many(KEYS_RETRY_S))),
    }
}
