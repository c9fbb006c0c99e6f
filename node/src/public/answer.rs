//! Answers of `oidc`, copied out.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use crate::serve::HEADERS_ADDED;

/// Status, headers and body as they are. A header that HTTP does not allow cannot come from `oidc`;
/// should one, the answer is 500 rather than half of what was meant.
pub fn plain(response: domicile_oidc::Response) -> Response {
    let mut out = Response::new(Body::from(response.body));
    let mut whole = true;
    *out.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // With room for what every answer gets: a map that grows allocates anew and hashes all names again.
    *out.headers_mut() = HeaderMap::with_capacity(response.headers.len() + HEADERS_ADDED);
    for (name, value) in response.headers {
        let value = match value {
            Cow::Borrowed(value) => Bytes::from_static(value.as_bytes()),
            Cow::Owned(value) => Bytes::from(value),
        };
        match HeaderValue::from_maybe_shared(value) {
            Ok(value) => drop(out.headers_mut().append(HeaderName::from_static(name), value)),
            Err(_) => whole = false,
        }
    }
    if !whole {
        tracing::error!("an answer held a header that HTTP does not allow");
        return Response::builder().status(500).body(Body::empty()).unwrap_or_default();
    }
    out
}

/// 303 to one of our own pages or to a checked address.
pub fn see_other(location: String) -> Response {
    plain(domicile_oidc::Response::see_other(location))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_would_break_http_is_not_sent() {
        let response = plain(domicile_oidc::Response::see_other("https://a.example/\r\nx: y".to_owned()));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.headers().is_empty());
    }
}
