//! Bearer tokens in requests, and what is answered when one is not good (RFC 6750).

use serde_json::json;

use crate::error::ErrorCode;
use crate::form::Form;
use crate::response::Response;

/// Why a protected request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// No token at all: no error code is given (RFC 6750 §3.1).
    #[error("no access token")]
    Missing,
    /// Malformed, or sent in two ways.
    #[error("the access token is not sent as RFC 6750 says")]
    InvalidRequest,
    /// Expired, revoked, foreign or broken: no difference is shown.
    #[error("the access token is not valid")]
    InvalidToken,
    /// Valid, but without this scope.
    #[error("the access token lacks scope `{0}`")]
    InsufficientScope(&'static str),
}

/// The one token of a request: in the header (§2.1) or in a POST body (§2.2). Query parameters are not
/// looked at (RFC 9700 §4.3.2).
///
/// # Errors
/// [`BearerError::Missing`] or [`BearerError::InvalidRequest`].
pub fn token<'a>(authorization: Option<&'a str>, body: Option<&'a Form>) -> Result<&'a str, BearerError> {
    let in_body = match body {
        Some(form) => form.get("access_token").map_err(|_| BearerError::InvalidRequest)?,
        None => None,
    };
    let in_header = authorization.map(from_header).transpose()?;
    match (in_header, in_body) {
        (Some(token), None) => Ok(token),
        (None, Some(token)) if is_b64token(token) => Ok(token),
        (Some(_) | None, Some(_)) => Err(BearerError::InvalidRequest),
        (None, None) => Err(BearerError::Missing),
    }
}

fn from_header(header: &str) -> Result<&str, BearerError> {
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(BearerError::Missing);
    }
    let token = token.trim_matches(' ');
    if is_b64token(token) { Ok(token) } else { Err(BearerError::InvalidRequest) }
}

/// `b64token` of RFC 6750 §2.1.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

impl BearerError {
    /// The answer with its challenge (§3).
    pub fn response(self) -> Response {
        let (code, scope) = match self {
            Self::Missing => return Response::empty(401).with("www-authenticate", "Bearer"),
            Self::InvalidRequest => (ErrorCode::InvalidRequest, None),
            Self::InvalidToken => (ErrorCode::InvalidToken, None),
            Self::InsufficientScope(scope) => (ErrorCode::InsufficientScope, Some(scope)),
        };
        let description = match self {
            Self::Missing | Self::InvalidRequest => "the access token is not sent as RFC 6750 says",
            Self::InvalidToken => "the access token is not valid",
            Self::InsufficientScope(_) => "the access token lacks a scope",
        };
        let mut challenge =
            format!("Bearer error=\"{}\", error_description=\"{description}\"", code.as_str());
        if let Some(scope) = scope {
            challenge.push_str(", scope=\"");
            challenge.push_str(scope);
            challenge.push('"');
        }
        let body = json!({ "error": code.as_str(), "error_description": description });
        Response::json(code.status(), &body).with("www-authenticate", challenge)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::form;

    struct Case {
        rfc: &'static str,
        header: Option<&'static str>,
        body: &'static [(&'static str, &'static str)],
        expects: Result<&'static str, BearerError>,
    }

    #[test]
    fn a_token_is_taken_from_exactly_one_place() {
        let cases = [
            Case {
                rfc: "6750 §2.1",
                header: Some("Bearer mF_9.B5f-4.1JqM"),
                body: &[],
                expects: Ok("mF_9.B5f-4.1JqM"),
            },
            Case { rfc: "9110 §11.1", header: Some("bearer a.b.c"), body: &[], expects: Ok("a.b.c") },
            Case { rfc: "6750 §2.2", header: None, body: &[("access_token", "a.b")], expects: Ok("a.b") },
            Case {
                rfc: "6750 §2",
                header: Some("Bearer a"),
                body: &[("access_token", "a")],
                expects: Err(BearerError::InvalidRequest),
            },
            Case {
                rfc: "6750 §2.2",
                header: None,
                body: &[("access_token", "a"), ("access_token", "a")],
                expects: Err(BearerError::InvalidRequest),
            },
            Case {
                rfc: "6750 §2.1",
                header: Some("Bearer a b"),
                body: &[],
                expects: Err(BearerError::InvalidRequest),
            },
            Case {
                rfc: "6750 §2.1",
                header: Some("Bearer"),
                body: &[],
                expects: Err(BearerError::InvalidRequest),
            },
            Case {
                rfc: "6750 §2.2",
                header: None,
                body: &[("access_token", "a\"b")],
                expects: Err(BearerError::InvalidRequest),
            },
            Case {
                rfc: "6750 §3",
                header: Some("Basic YTpi"),
                body: &[],
                expects: Err(BearerError::Missing),
            },
            Case { rfc: "6750 §3", header: None, body: &[], expects: Err(BearerError::Missing) },
        ];
        for case in cases {
            let body = form(case.body);
            assert_eq!(token(case.header, Some(&body)), case.expects, "RFC {} {:?}", case.rfc, case.header);
        }
    }

    #[test]
    fn rfc6750_s3_1_each_refusal_has_its_status_and_challenge() {
        let challenge = |error: BearerError| {
            let response = error.response();
            (response.status, response.header("www-authenticate").unwrap_or_default().to_owned())
        };
        assert_eq!(challenge(BearerError::Missing), (401, "Bearer".to_owned()));
        let (status, text) = challenge(BearerError::InvalidRequest);
        assert!(status == 400 && text.contains("error=\"invalid_request\""), "{text}");
        let (status, text) = challenge(BearerError::InvalidToken);
        assert!(status == 401 && text.starts_with("Bearer error=\"invalid_token\""), "{text}");
        let (status, text) = challenge(BearerError::InsufficientScope("openid"));
        assert!(
            status == 403 && text.contains("insufficient_scope") && text.ends_with("scope=\"openid\""),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(header in "(?i)(bearer ?)?\\PC{0,60}") {
            let _ = token(Some(&header), None);
        }
    }
}
