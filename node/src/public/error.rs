//! What goes wrong on the public surface, and how it is said: the one place that knows what the
//! faults of `iam` mean to the outside.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domicile_iam::execute::{ExecuteError, Written};
use domicile_iam::query::QueryError;
use domicile_oidc::authorize::Fatal;
use domicile_oidc::bearer::BearerError;
use domicile_oidc::error::{ErrorCode, OAuthError};
use domicile_oidc::logout::LogoutError;

use super::body::BodyError;
use super::{answer, dpop};
use crate::cookie::{CsrfRefusal, OpenError};
use crate::problem::Problem;
use crate::serve::standing;

/// After something that is full.
const RETRY_SOON_S: u64 = 1;

/// What stands on our side between a good request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No such tenant.
    #[error("no such tenant")]
    NoTenant,
    /// The tenant is disabled.
    #[error("the tenant is disabled")]
    TenantDisabled,
    /// No quorum, no leader, or overload: nothing was done; come back.
    #[error("not available now")]
    Unavailable {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// Something is full, the disk for one: nothing was done; come back.
    #[error("not available now: {0}")]
    Overloaded(&'static str),
    /// It may have been done, or may yet be.
    #[error("it may have happened")]
    Unknown,
    /// Ours to fix; logged where it happened.
    #[error("internal fault")]
    Internal,
}

impl Fault {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoTenant => StatusCode::NOT_FOUND,
            Self::TenantDisabled => StatusCode::FORBIDDEN,
            Self::Unavailable { .. } | Self::Overloaded(_) | Self::Unknown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What a client is told in OAuth's words.
    pub fn oauth(self) -> OAuthError {
        match self {
            Self::NoTenant | Self::TenantDisabled => {
                OAuthError::new(ErrorCode::UnauthorizedClient, "this issuer serves nobody")
            }
            Self::Unavailable { .. } => OAuthError::new(ErrorCode::TemporarilyUnavailable, "try again later"),
            Self::Overloaded(what) => OAuthError::new(ErrorCode::TemporarilyUnavailable, what),
            Self::Unknown => OAuthError::new(ErrorCode::TemporarilyUnavailable, "it may have happened"),
            Self::Internal => OAuthError::new(ErrorCode::ServerError, "the request could not be completed"),
        }
    }

    /// `Retry-After`, in seconds.
    pub fn retry_after_s(self) -> Option<u64> {
        match self {
            Self::Unavailable { retry_after_s } => Some(retry_after_s.max(1)),
            Self::Overloaded(_) | Self::Unknown => Some(RETRY_SOON_S),
            Self::NoTenant | Self::TenantDisabled | Self::Internal => None,
        }
    }
}

impl From<QueryError> for Fault {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::NotLeader { leader, .. } => {
                standing::elsewhere(leader);
                Self::Unavailable { retry_after_s: 1 }
            }
            QueryError::Elsewhere { .. } => {
                standing::elsewhere(None);
                Self::Unavailable { retry_after_s: 1 }
            }
            QueryError::Unavailable { retry_after_s } => {
                standing::unconfirmed();
                Self::Unavailable { retry_after_s }
            }
            QueryError::UnknownTenant | QueryError::Erased => Self::NoTenant,
            QueryError::InvalidPageToken | QueryError::ForeignToken => Self::Internal,
            QueryError::Fault(cause) => {
                tracing::error!(cause, "a read failed");
                Self::Internal
            }
        }
    }
}

/// Divides what the domain refuses, which each endpoint says in its own words, from what is our fault.
///
/// An unknown outcome is never told as a refusal, nor as if nothing was done: the write may have happened.
///
/// # Errors
/// [`Fault`].
pub fn refusal<T, R>(outcome: Result<Written<T>, ExecuteError<R>>) -> Result<Result<Written<T>, R>, Fault> {
    match outcome {
        Ok(written) => {
            standing::wrote();
            Ok(Ok(written))
        }
        Err(ExecuteError::Refused(refusal)) => Ok(Err(refusal)),
        Err(ExecuteError::Unavailable { retry_after_s, .. }) => {
            standing::unconfirmed();
            Err(Fault::Unavailable { retry_after_s: retry_after_s.into() })
        }
        Err(ExecuteError::NotLeader { leader, .. }) => {
            standing::elsewhere(leader);
            Err(Fault::Unavailable { retry_after_s: 1 })
        }
        Err(ExecuteError::Unknown) => {
            standing::unknown();
            Err(Fault::Unknown)
        }
        Err(ExecuteError::TenantErased) => Err(Fault::NoTenant),
        // The key of a person was destroyed between the read and the write: the next try sees that.
        Err(ExecuteError::KeyGone) => Err(Fault::Unavailable { retry_after_s: 1 }),
        Err(ExecuteError::Overloaded(what)) => {
            tracing::warn!(what, "a write was refused");
            Err(Fault::Overloaded(what))
        }
        Err(ExecuteError::IdempotencyMismatch) => Err(Fault::Internal),
        Err(ExecuteError::Fault(cause)) => {
            tracing::error!(cause, "a write failed");
            Err(Fault::Internal)
        }
    }
}

/// Why an endpoint for programs answers with an error.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiError {
    /// In OAuth's words.
    OAuth(OAuthError),
    /// For a bearer token.
    Bearer(BearerError),
    /// For a client whose proof of possession is not good.
    Proof(dpop::Refused),
    /// The same for one that presents an access token along.
    BearerProof(dpop::Refused),
    /// As it is.
    Answered(domicile_oidc::Response),
    /// Our side.
    Fault(Fault),
    /// Over a rate limit.
    TooMany(Problem),
}

impl From<OAuthError> for ApiError {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl From<BearerError> for ApiError {
    fn from(error: BearerError) -> Self {
        Self::Bearer(error)
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let told = OAuthError::from(error);
        if error != BodyError::ContentCoding {
            return Self::OAuth(told);
        }
        // RFC 9110 §15.5.16.
        let mut response = told.response().with("accept-encoding", "identity");
        response.status = StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16();
        Self::Answered(response)
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::Fault(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::OAuth(error) => answer::plain(error.response()),
            Self::Answered(response) => answer::plain(response),
            Self::Bearer(error) => answer::plain(error.response()),
            Self::Proof(refused) => refused.with_nonce(answer::plain(refused.error().response())),
            Self::BearerProof(refused) => {
                refused.with_nonce(answer::plain(BearerError::Proof(refused.fault).response()))
            }
            // Also where what was asked for was written, and only the answer could not be made.
            Self::Fault(fault) if fault.retry_after_s().is_some() && standing::is_touched() => {
                outcome_unknown()
            }
            Self::Fault(Fault::Unknown) => outcome_unknown(),
            Self::Fault(fault) => {
                retry_after(with_status(fault.oauth(), fault.status()), fault.retry_after_s())
            }
            Self::TooMany(problem) => {
                // RFC 6749 has no code for this; status and header say what happened.
                let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, "too many requests");
                retry_after(with_status(error, StatusCode::TOO_MANY_REQUESTS), wait_s(problem))
            }
        }
    }
}

/// As the way between nodes says it (docs/consistency.md): every other 503 says that nothing was done.
fn outcome_unknown() -> Response {
    let OAuthError { code, description } = Fault::Unknown.oauth();
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", "Whether it happened is not known")
        .detail(description)
        .with("error", code.as_str())
        .with("error_description", description)
        .retry_after(RETRY_SOON_S)
        .into_response()
}

fn with_status(error: OAuthError, status: StatusCode) -> Response {
    let mut response = answer::plain(error.response());
    *response.status_mut() = status;
    response
}

/// `response` with `Retry-After`.
pub fn retry_after(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What a 429 asks to wait.
pub fn wait_s(problem: Problem) -> Option<u64> {
    problem.into_response().headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

/// Why a person sees an error page. Nothing is redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// An authorization request without a safe way back (RFC 6749 §4.1.2.1).
    Authorize(Fatal),
    /// A logout request that is not followed.
    Logout(LogoutError),
    /// A form of ours that cannot be read.
    Body(BodyError),
    /// A form that is not from our page in this browser.
    Csrf(CsrfRefusal),
    /// A form whose interaction does not open.
    Interaction(OpenError),
    /// A page of ours that was called up without what leads to it.
    OutOfPlace,
    /// Our side.
    Fault(Fault),
}

impl PageError {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Body(BodyError::ContentCoding) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Authorize(_)
            | Self::Logout(_)
            | Self::Body(_)
            | Self::Interaction(_)
            | Self::OutOfPlace => StatusCode::BAD_REQUEST,
            Self::Csrf(_) => StatusCode::FORBIDDEN,
            Self::Fault(fault) => fault.status(),
        }
    }

    /// The code and the text for the client's developer. Fixed texts: nothing that was sent.
    pub fn detail(self) -> (Option<&'static str>, String) {
        let code = |code: ErrorCode| Some(code.as_str());
        match self {
            Self::Authorize(error @ Fatal::PushedRequest) => {
                (code(ErrorCode::InvalidRequestUri), error.to_string())
            }
            Self::Authorize(error) => (code(ErrorCode::InvalidRequest), error.to_string()),
            Self::Logout(error) => (code(ErrorCode::InvalidRequest), error.to_string()),
            Self::Body(error) => (None, error.to_string()),
            Self::Csrf(error) => (None, error.to_string()),
            Self::Interaction(error) => (None, error.to_string()),
            Self::OutOfPlace => {
                (None, "this page is one step of signing in; start in your application".to_owned())
            }
            Self::Fault(Fault::NoTenant) => (None, Fault::NoTenant.to_string()),
            Self::Fault(fault) => (code(fault.oauth().code), fault.to_string()),
        }
    }
}

impl From<Fatal> for PageError {
    fn from(error: Fatal) -> Self {
        Self::Authorize(error)
    }
}

impl From<LogoutError> for PageError {
    fn from(error: LogoutError) -> Self {
        Self::Logout(error)
    }
}

impl From<BodyError> for PageError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<CsrfRefusal> for PageError {
    fn from(error: CsrfRefusal) -> Self {
        Self::Csrf(error)
    }
}

impl From<OpenError> for PageError {
    fn from(error: OpenError) -> Self {
        Self::Interaction(error)
    }
}

impl From<Fault> for PageError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<QueryError> for PageError {
    fn from(error: QueryError) -> Self {
        Self::Fault(error.into())
    }
}

#[cfg(test)]
mod tests {
    use domicile_iam::commands::TokenRefusal;

    use super::*;

    async fn told(fault: Fault) -> (StatusCode, serde_json::Value) {
        let response = ApiError::from(fault).into_response();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn only_what_may_have_been_done_is_told_as_unknown() {
        let unknown = |body: &serde_json::Value| body["type"] == "urn:domicile:problem:outcome-unknown";
        let (status, body) = told(Fault::Unknown).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"temporarily_unavailable".into())
        );
        assert!(unknown(&body), "{body}");
        let later = Fault::Unavailable { retry_after_s: 1 };
        let (_, body) = told(later).await;
        assert!(!unknown(&body), "nothing was done: {body}");
        let ((status, body), _) = standing::watch(async {
            standing::wrote();
            told(later).await
        })
        .await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(unknown(&body), "it was written, and the answer was lost: {body}");
        let ((status, _), _) = standing::watch(async {
            standing::wrote();
            told(Fault::Internal).await
        })
        .await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn rfc6749_s5_2_an_unknown_outcome_is_no_fault_of_the_code() {
        let unsure: Result<Written<()>, ExecuteError<TokenRefusal>> = Err(ExecuteError::Unknown);
        let fault = refusal(unsure).unwrap_err();
        let response = ApiError::from(fault).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(fault.oauth().code, ErrorCode::TemporarilyUnavailable);
    }

    #[test]
    fn what_is_full_is_named_to_the_client() {
        let full: Result<Written<()>, ExecuteError<TokenRefusal>> =
            Err(ExecuteError::Overloaded("disk full"));
        let fault = refusal(full).unwrap_err();
        let told = fault.oauth();
        assert_eq!((told.code, told.description), (ErrorCode::TemporarilyUnavailable, "disk full"));
        let response = ApiError::from(fault).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "1");
    }

    #[test]
    fn rfc9110_s15_5_16_a_coded_body_is_415_in_oauths_form() {
        let response = ApiError::from(BodyError::ContentCoding).into_response();
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(response.headers()["accept-encoding"], "identity");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(ApiError::from(BodyError::Cut).into_response().status(), StatusCode::BAD_REQUEST);
        assert_eq!(PageError::from(BodyError::ContentCoding).status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    #[test]
    fn a_rate_limit_is_429_in_oauths_form() {
        let response = ApiError::TooMany(Problem::too_many(7)).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}
