//! Documents that are the same for everybody: made once, sent with a validator.

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::serve::HEADERS_ADDED;

/// An answer ready to be sent many times.
pub struct Document {
    headers: HeaderMap,
    body: Bytes,
    etag: HeaderValue,
}

impl Document {
    /// Keeps `response`. Its status is 200.
    pub fn new(response: domicile_oidc::Response) -> Self {
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, &response.body));
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        let mut headers: HeaderMap = response
            .headers
            .into_iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
            })
            .collect();
        headers.insert(header::ETAG, etag.clone());
        Self { headers, body: Bytes::from(response.body), etag }
    }

    /// The answer: 304 if the client has these bytes (RFC 9110 §13.1.2).
    pub fn answer(&self, request: &HeaderMap) -> Response {
        let known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|tag| {
                matches!(tag.trim(), "*")
                    || tag.trim().trim_start_matches("W/").as_bytes() == self.etag.as_bytes()
            });
        let mut response = Response::new(if known { Body::empty() } else { Body::from(self.body.clone()) });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        // A clone would have no room for what every answer gets, and grow twice.
        let mut headers = HeaderMap::with_capacity(self.headers.len() + HEADERS_ADDED);
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        *response.headers_mut() = headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_s13_1_2_a_client_that_has_the_bytes_gets_304() {
        let document = Document::new(domicile_oidc::Response::public_json(&serde_json::json!({"a": 1}), 60));
        let mut request = HeaderMap::new();
        let first = document.answer(&request);
        assert_eq!(first.status(), StatusCode::OK);
        let etag = first.headers()["etag"].clone();
        request.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
        assert_eq!(document.answer(&request).status(), StatusCode::OK);
        for known in [
            etag.to_str().unwrap().to_owned(),
            format!("\"x\", W/{}", etag.to_str().unwrap()),
            "*".to_owned(),
        ] {
            request.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&known).unwrap());
            let answer = document.answer(&request);
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(answer.headers()["cache-control"], "public, max-age=60");
        }
    }
}
