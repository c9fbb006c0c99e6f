//! Forms in request bodies, and the one `Authorization` header.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use domicile_oidc::form::{self, FormError};
use domicile_oidc::{Form, OAuthError};

/// Why a body is no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// `Content-Type` says something else (RFC 6749 §3.2 asks for a form).
    #[error("body is not application/x-www-form-urlencoded")]
    ContentType,
    /// `Content-Encoding` says that it is compressed, or some such.
    #[error("body has a content coding; none is known here")]
    ContentCoding,
    /// The body ended early.
    #[error("body was cut")]
    Cut,
    /// A field is too long, or came twice.
    #[error("a field is too long, or came twice")]
    Field,
    /// The bytes are no form.
    #[error(transparent)]
    Form(#[from] FormError),
}

impl From<BodyError> for OAuthError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::ContentType => {
                Self::invalid_request("the body must be application/x-www-form-urlencoded")
            }
            BodyError::ContentCoding => Self::invalid_request("the body must be sent without content coding"),
            BodyError::Cut => Self::invalid_request("the body ended early"),
            BodyError::Field => Self::invalid_request("a field is too long, or came twice"),
            BodyError::Form(error) => error.into(),
        }
    }
}

/// Whether the body says it is a form.
pub fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether the body is sent as it is (RFC 9110 §8.4): no coding is undone here.
pub fn is_uncoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// The bytes of a form, at most [`form::BYTES_MAX`] of them.
///
/// # Errors
/// [`BodyError`].
pub async fn read(headers: &HeaderMap, body: Body) -> Result<axum::body::Bytes, BodyError> {
    if !is_form(headers) {
        return Err(BodyError::ContentType);
    }
    if !is_uncoded(headers) {
        return Err(BodyError::ContentCoding);
    }
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > form::BYTES_MAX) {
        return Err(FormError::TooLong.into());
    }
    // A body without a stated length that is too long fails here as a cut one would.
    axum::body::to_bytes(body, form::BYTES_MAX).await.map_err(|_| BodyError::Cut)
}

/// A form.
///
/// # Errors
/// [`BodyError`].
pub async fn form(headers: &HeaderMap, body: Body) -> Result<Form, BodyError> {
    Ok(Form::parse(&read(headers, body).await?)?)
}

/// The `Authorization` header.
///
/// # Errors
/// `invalid_request` if there are two, or one that is no text.
pub fn authorization(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next().map(|value| value.to_str());
    match (first.transpose(), values.next()) {
        (Ok(value), None) => Ok(value),
        (Ok(_) | Err(_), _) => Err(OAuthError::invalid_request("the Authorization header is malformed")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[tokio::test]
    async fn rfc6749_s3_2_only_forms_are_read_and_only_short_ones() {
        let read =
            async |content_type, body: &'static str| form(&headers(content_type), Body::from(body)).await;
        let plain = read("application/x-www-form-urlencoded", "a=1").await.unwrap();
        assert_eq!(plain.get("a"), Ok(Some("1")));
        assert!(read("Application/X-WWW-Form-Urlencoded; charset=utf-8", "a=1").await.is_ok());
        assert_eq!(read("application/json", "{}").await.map(|_| ()), Err(BodyError::ContentType));
        let damaged = read("application/x-www-form-urlencoded", "a=%").await.map(|_| ());
        assert_eq!(damaged, Err(BodyError::Form(FormError::Encoding)));
        let long = Body::from(vec![b'a'; form::BYTES_MAX + 1]);
        let long = form(&headers("application/x-www-form-urlencoded"), long).await.map(|_| ());
        assert_eq!(long, Err(BodyError::Cut));
    }

    #[tokio::test]
    async fn rfc9110_s8_4_a_body_with_a_content_coding_is_not_read_as_if_it_had_none() {
        for (coding, expects) in [
            ("gzip", Err(BodyError::ContentCoding)),
            ("identity, br", Err(BodyError::ContentCoding)),
            ("Identity", Ok(())),
        ] {
            let mut headers = headers("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            assert_eq!(form(&headers, Body::from("a=1")).await.map(|_| ()), expects, "{coding}");
        }
    }

    #[test]
    fn rfc9110_s11_6_2_two_authorization_headers_are_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(authorization(&headers), Ok(None));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(authorization(&headers), Ok(Some("Bearer a")));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert!(authorization(&headers).is_err());
    }
}
