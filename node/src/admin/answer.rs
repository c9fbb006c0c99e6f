//! Successful answers: the document, its entity tag, and the token that makes the write visible.

use axum::Json;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domicile_iam::execute::{ConsistencyToken, Written};
use serde::Serialize;

use super::precondition::etag;

/// Given by every write, taken by every read.
pub(super) const CONSISTENCY: HeaderName = HeaderName::from_static("domicile-consistency");
/// `true` on the kept answer of an earlier request with the same `Idempotency-Key`.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer in the making.
pub(super) struct Answer<T> {
    status: StatusCode,
    headers: HeaderMap,
    document: Option<T>,
}

impl<T: Serialize> Answer<T> {
    /// 200 with a document.
    pub(super) fn ok(document: T) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), document: Some(document) }
    }

    /// 201 with a document and where it is from now on, if it can be read.
    pub(super) fn created(document: T, location: Option<String>) -> Self {
        let answer = Self { status: StatusCode::CREATED, ..Self::ok(document) };
        answer.header(header::LOCATION, location.and_then(|at| HeaderValue::from_str(&at).ok()))
    }

    /// Adds `ETag`.
    pub(super) fn revision(self, revision: u64) -> Self {
        self.header(header::ETAG, etag(revision))
    }

    /// Adds what a write says beside its reply.
    pub(super) fn written<R>(self, written: &Written<R>) -> Self {
        let answer = self.consistency(&written.consistency);
        if written.replayed {
            answer.header(REPLAYED, Some(HeaderValue::from_static("true")))
        } else {
            answer
        }
    }

    fn consistency(self, token: &ConsistencyToken) -> Self {
        self.header(CONSISTENCY, HeaderValue::from_str(&token.to_string()).ok())
    }

    fn header(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        if let Some(value) = value {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Answer<()> {
    /// 202 for what others act on later.
    pub(super) fn accepted(written: &Written<()>) -> Self {
        Self { status: StatusCode::ACCEPTED, headers: HeaderMap::new(), document: None }.written(written)
    }

    /// 204 for a write that leaves nothing to show.
    pub(super) fn done(written: &Written<()>) -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), document: None }.written(written)
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match self.document {
            Some(document) => (self.status, self.headers, Json(document)).into_response(),
            None => (self.status, self.headers).into_response(),
        }
    }
}

/// Answers hold personal data and secrets: no cache may keep one.
pub(super) async fn never_stored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
