//! Answers of `oidc`, copied out.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

/// Status, headers and body as they are. A header that HTTP does not allow cannot come from `oidc`;
/// should one, the answer is 500 rather than half of what was meant.
pub fn plain(response: domicile_oidc::Response) -> Response {
    let mut out = Response::new(Body::from(response.body));
    let mut whole = true;
    *out.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        match HeaderValue::from_str(&value) {
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
