//! A client proves itself to the token, introspection or revocation endpoint.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, Path, Request};
use axum::http::HeaderMap;
use domicile_iam::execute::RequestContext;
use domicile_iam::model::{ClientView, TenantContext};
use domicile_oidc::client_auth::{self, Proof};
use domicile_oidc::{Form, OAuthError};

use super::context::{self, Caller};
use super::error::{ApiError, Fault};
use super::state::PublicState;
use super::{body, tenant};
use crate::serve::RequestScope;

/// A request of an authenticated client. An extractor.
pub struct ClientRequest {
    /// The tenant asked.
    pub tenant: Arc<TenantContext>,
    /// The client.
    pub client: Arc<ClientView>,
    /// The parameters.
    pub form: Form,
    scope: RequestScope,
    headers: HeaderMap,
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
        let proven = found.ok_or(OAuthError::invalid_client()).and_then(|client| {
            let by_secret = match presented.proof(&client)? {
                Proof::Public => false,
                Proof::Secret(secret) if state.iam.verify_client_secret(&client, secret) => true,
                Proof::Secret(_) => return Err(OAuthError::invalid_client()),
            };
            Ok((client, by_secret))
        });
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
