//! Problem documents (RFC 9457): how the admin API and the server itself say what went wrong.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// A problem document. `kind` is stable for programs; the other texts are for people and never
/// repeat personal data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// `urn:domicile:problem:<kind>`.
    #[serde(rename = "type")]
    kind: String,
    /// Short and the same for each kind.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Extension members (RFC 9457 §3.2).
    #[serde(flatten)]
    extension: Map<String, Value>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
    /// Boxed, so that what may fail stays small.
    #[serde(skip)]
    headers: Option<Box<HeaderMap>>,
}

impl Problem {
    /// A problem of `kind` (kebab case).
    pub fn new(status: StatusCode, kind: &str, title: &'static str) -> Self {
        let kind = format!("urn:domicile:problem:{kind}");
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: None,
            extension: Map::new(),
            retry_after_s: None,
            headers: None,
        }
    }

    /// Says what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds an extension member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extension.insert(name.to_owned(), value.into());
        self
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.get_or_insert_default().insert(name, HeaderValue::from_static(value));
        self
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// 400: the request does not fit the interface.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request is malformed").detail(detail)
    }

    /// 401: no or no valid bearer token.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A valid bearer token is needed")
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here")
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This method is not offered here")
    }

    /// 408 (RFC 9110 §15.5.9).
    pub fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "The body came too slowly")
            .detail("the request's time was over before its body was here; nothing was done")
    }

    /// 409: the state does not allow it (a name that is taken, a revision that moved).
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The current state does not allow this").detail(detail)
    }

    /// 413.
    pub fn too_large(limit_bytes: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
            .with("limit_bytes", limit_bytes)
    }

    /// 421: this node does not serve that host (RFC 9110 §15.5.20).
    pub fn misdirected() -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", "This host is not served here")
    }

    /// 422: well formed, but its values break a rule.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", "A value breaks a rule").detail(detail)
    }

    /// 429.
    pub fn too_many(retry_after_s: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
            .retry_after(retry_after_s)
    }

    /// 500: a fault of ours; the log has it under the request id.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed")
    }

    /// 503: try again later.
    pub fn unavailable(retry_after_s: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now")
            .retry_after(retry_after_s)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        // Serialising plain maps, texts and numbers cannot fail; an empty body would still say the status.
        let mut response = Response::new(Body::from(serde_json::to_vec(&self).unwrap_or_default()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if let Some(added) = self.headers.take() {
            headers.extend(*added);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"domicile\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9457_s3_members_and_headers() {
        let problem = Problem::too_many(7).detail("slow down").with("limit", 60);
        assert_eq!(
            serde_json::to_value(&problem).unwrap(),
            serde_json::json!({
                "type": "urn:domicile:problem:too-many-requests",
                "title": "Too many requests",
                "status": 429,
                "detail": "slow down",
                "limit": 60,
            })
        );
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "7");
    }

    #[test]
    fn rfc6750_s3_a_401_names_the_scheme_and_what_it_is_for() {
        let response = Problem::unauthorized().into_response();
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"domicile\"");
    }
}
