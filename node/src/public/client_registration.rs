//! Client registration (RFC 7591) and its management (RFC 7592).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domicile_iam::commands::{RegistrationAuthority, RegistrationRefusal, RegistrationReply};
use domicile_iam::execute::{ExecuteError, Written};
use domicile_iam::model::{ClientMetadata, ClientView, TenantContext};
use domicile_oidc::bearer::{self, BearerError};
use domicile_oidc::registration::{
    Access, BYTES_MAX, RegistrationError, RegistrationRequest, deleted, information,
};
use domicile_oidc::{ErrorCode, OAuthError};
use url::Url;
use zeroize::Zeroizing;

use super::context::{self, Caller};
use super::error::{self, ApiError, Fault};
use super::state::PublicState;
use super::{answer, body, cors, tenant};
use crate::egress::{Fetch, SectorFault, check_sector};
use crate::serve::RequestScope;

/// A request to the registration endpoints. An extractor.
pub struct Registering {
    asked: Asked,
    body: Body,
}

/// Who asks for what, without the body.
struct Asked {
    tenant: Arc<TenantContext>,
    /// In the path, at the client configuration endpoint.
    client_id: String,
    token: Option<Zeroizing<String>>,
    scope: RequestScope,
    headers: HeaderMap,
}

impl FromRequest<PublicState> for Registering {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &PublicState) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let scope = RequestScope::from_request_parts(&mut parts, state).await.map_err(|_| Fault::Internal)?;
        state.limits.token(scope.address).map_err(ApiError::TooMany)?;
        let path = Path::<Vec<(String, String)>>::from_request_parts(&mut parts, state).await;
        let Path(segments) = path.map_err(|_| Fault::NoTenant)?;
        let mut segments = segments.into_iter().map(|(_, value)| value);
        let (slug, client_id) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let tenant = tenant::serving(state, &slug).await?;
        let authorization = body::authorization(&parts.headers).map_err(|_| BearerError::InvalidRequest)?;
        let token = match bearer::token(authorization, None) {
            Ok(token) => Some(Zeroizing::new(token.to_owned())),
            Err(BearerError::Missing) => None,
            Err(error) => return Err(error.into()),
        };
        let asked = Asked { tenant, client_id, token, scope, headers: parts.headers };
        Ok(Self { asked, body })
    }
}

/// Why a registration came to nothing.
enum Stop {
    Refused(RegistrationError),
    Api(ApiError),
}

impl<E: Into<ApiError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Api(error.into())
    }
}

impl From<RegistrationError> for Stop {
    fn from(error: RegistrationError) -> Self {
        Self::Refused(error)
    }
}

type Outcome = Result<Response, Stop>;

fn answered(outcome: Outcome) -> Response {
    match outcome {
        Ok(response) => response,
        Err(Stop::Refused(error)) => answer::plain(error.response()),
        Err(Stop::Api(error)) => error.into_response(),
    }
}

/// POST: a new client (RFC 7591 §3.1).
pub async fn post(State(state): State<PublicState>, Registering { asked, body }: Registering) -> Response {
    // Who holds an initial access token was let in by somebody.
    let limited = asked.token.is_none().then(|| state.limits.registration(asked.scope.address));
    if let Some(Err(problem)) = limited {
        return ApiError::TooMany(problem).into_response();
    }
    cors::readable_by_whoever_asked(answered(register(&state, &asked, body).await))
}

/// GET: what is registered (RFC 7592 §2.1).
pub async fn get(State(state): State<PublicState>, Registering { asked, .. }: Registering) -> Response {
    answered(read(&state, &asked).await)
}

/// PUT: other metadata (RFC 7592 §2.2).
pub async fn put(State(state): State<PublicState>, Registering { asked, body }: Registering) -> Response {
    answered(update(&state, &asked, body).await)
}

/// DELETE: the end of the client (RFC 7592 §2.3).
pub async fn delete(State(state): State<PublicState>, Registering { asked, .. }: Registering) -> Response {
    answered(end(&state, &asked).await)
}

impl Asked {
    fn context(&self, caller: Caller) -> domicile_iam::execute::RequestContext {
        context::context(self.tenant.id, self.scope, &self.headers, caller)
    }

    /// The body, which must be JSON of bounded size.
    async fn read(&self, body: Body) -> Result<RegistrationRequest, Stop> {
        let sent = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = sent.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(RegistrationError::metadata("Content-Type", "is not application/json").into());
        }
        let bytes = axum::body::to_bytes(body, BYTES_MAX).await;
        let bytes = bytes.map_err(|_| RegistrationError::metadata("the body", "is cut, or over 64 KiB"))?;
        Ok(RegistrationRequest::parse(&bytes)?)
    }

    /// Its metadata, with what others vouch for looked up.
    async fn metadata(
        &self,
        state: &PublicState,
        request: RegistrationRequest,
    ) -> Result<ClientMetadata, Stop> {
        let issuers = &self.tenant.settings.registration_policy.software_statement_issuers;
        let metadata = request.metadata(issuers, state.clock.now())?;
        if !keys_are_fetched_safely(state.fetch.as_ref(), &metadata) {
            return Err(RegistrationError::metadata("jwks_uri", "is not an https URL").into());
        }
        let sector = check_sector(state.fetch.as_ref(), self.tenant.id, &metadata).await;
        sector.map_err(|fault| RegistrationError::metadata(SectorFault::MEMBER, fault.rule()))?;
        Ok(metadata)
    }
}

/// OpenID Connect Registration §2: `jwks_uri` is https, but where the settings let this node ask in clear. What is no
/// URL at all the domain refuses.
fn keys_are_fetched_safely(fetch: &dyn Fetch, metadata: &ClientMetadata) -> bool {
    let url = metadata.jwks_uri().and_then(|uri| Url::parse(uri).ok());
    url.is_none_or(|url| url.scheme() != "http" || fetch.may_be_plain(&url))
}

async fn register(state: &PublicState, request: &Asked, body: Body) -> Outcome {
    if request.tenant.settings.registration.is_closed() {
        return Err(closed());
    }
    let sent = request.read(body).await?;
    if request.token.is_none()
        && request.tenant.settings.registration != domicile_iam::model::Registration::Open
    {
        return Err(BearerError::Missing.into());
    }
    let metadata = request.metadata(state, sent).await?;
    let authority =
        request.token.clone().map_or(RegistrationAuthority::Nobodys, RegistrationAuthority::Token);
    let context = request.context(Caller::Anonymous);
    let registered = state.iam.register_by_request(&context, metadata, authority).await;
    let (client, reply) = done(registered)?;
    Ok(answer::plain(information(&request.tenant.issuer, &client, access(&reply), true)))
}

fn access(reply: &RegistrationReply) -> Access<'_> {
    Access { secret: reply.secret.as_deref(), token: &reply.registration_token }
}

/// The client that the token manages, and the token. One that is gone and one that the token is not for look
/// the same; also who sends none is refused on what is known to be so now.
async fn managed(state: &PublicState, request: &Asked) -> Result<(Arc<ClientView>, Zeroizing<String>), Stop> {
    let sent = request.token.as_ref().map_or("", |token| token.as_str());
    let found = state.iam.registration(request.tenant.id, &request.client_id, sent).await?;
    let token = request.token.clone().ok_or(BearerError::Missing)?;
    Ok((found.ok_or(BearerError::InvalidToken)?, token))
}

async fn read(state: &PublicState, request: &Asked) -> Outcome {
    let (client, token) = managed(state, request).await?;
    // Only hashes are kept: the secret is not shown again, and the token is the one that was sent.
    let access = Access { secret: None, token: &token };
    let response = information(&request.tenant.issuer, &client, access, false);
    Ok(cors::readable_by(answer::plain(response), &request.headers, &client))
}

async fn update(state: &PublicState, request: &Asked, body: Body) -> Outcome {
    let (client, token) = managed(state, request).await?;
    let sent = request.read(body).await?;
    sent.check_update(&client.client_id)?;
    if sent.client_secret.as_deref().is_some_and(|secret| !state.iam.verify_client_secret(&client, secret)) {
        return Err(RegistrationError::metadata("client_secret", "is not this client's").into());
    }
    let metadata = request.metadata(state, sent).await?;
    let context = request.context(Caller::Client(client.id));
    let updated = state.iam.update_registration(&context, client.id, &token, metadata).await;
    let (client, reply) = done(updated)?;
    let response = information(&request.tenant.issuer, &client, access(&reply), false);
    Ok(cors::readable_by(answer::plain(response), &request.headers, &client))
}

async fn end(state: &PublicState, request: &Asked) -> Outcome {
    let (client, token) = managed(state, request).await?;
    let context = request.context(Caller::Client(client.id));
    done(state.iam.delete_registration(&context, client.id, &token).await)?;
    Ok(cors::readable_by(answer::plain(deleted()), &request.headers, &client))
}

fn closed() -> Stop {
    let error = OAuthError::new(ErrorCode::AccessDenied, "clients are registered by operators here");
    let mut response = error.response();
    response.status = StatusCode::FORBIDDEN.as_u16();
    Stop::Api(ApiError::Answered(response))
}

fn done<T>(outcome: Result<Written<T>, ExecuteError<RegistrationRefusal>>) -> Result<T, Stop> {
    let refusal = match error::refusal(outcome)? {
        Ok(written) => return Ok(written.reply),
        Err(refusal) => refusal,
    };
    Err(match &refusal {
        RegistrationRefusal::Closed | RegistrationRefusal::NotAllowed => closed(),
        RegistrationRefusal::TokenNeeded => BearerError::Missing.into(),
        RegistrationRefusal::InvalidToken | RegistrationRefusal::NotFound => BearerError::InvalidToken.into(),
        RegistrationRefusal::Invalid { field, rule } => RegistrationError::metadata(field, rule).into(),
        RegistrationRefusal::Client(refusal) => RegistrationError::from(refusal).into(),
    })
}
