//! Bearer tokens in requests, and what is answered when one is not good (RFC 6750).

use serde_json::json;

use domicile_iam::model::AccessTokenClaims;

use crate::dpop::{self, ProofFault};
use crate::error::{ErrorCode, OAuthError};
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
    /// As [`BearerError::InvalidToken`], of one that is bound to a key, or was sent as if it were.
    #[error("the access token is not valid with this key")]
    InvalidBoundToken,
    /// The proof that must come with the token is not good (RFC 9449 §7.1).
    #[error("the DPoP proof is not valid")]
    Proof(ProofFault),
    /// Valid, but without this scope.
    #[error("the access token lacks scope `{0}`")]
    InsufficientScope(&'static str),
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750: whoever has it may use it.
    Bearer,
    /// RFC 9449 §7.1: along with a proof of possession.
    Dpop,
}

/// A token as it was sent. Nothing is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Presented<'a> {
    /// The token.
    pub token: &'a str,
    /// By which scheme.
    pub scheme: Scheme,
}

impl Presented<'_> {
    /// Whether a token of these claims may be used like this, given the key that the request showed to
    /// hold (RFC 9449 §7.1, §7.2): a bound one with its key only, another one by nobody who has a key to
    /// show.
    ///
    /// # Errors
    /// [`BearerError::InvalidBoundToken`]; [`BearerError::Proof`] for the scheme without a proof.
    pub fn check(&self, claims: &AccessTokenClaims, jkt: Option<&str>) -> Result<(), BearerError> {
        let bound = claims.confirmation.as_ref().map(|confirmation| confirmation.jkt.as_str());
        match (self.scheme, bound, jkt) {
            (Scheme::Bearer, None, _) => Ok(()),
            (Scheme::Dpop, _, None) => Err(BearerError::Proof(ProofFault::Malformed)),
            (Scheme::Dpop, Some(bound), Some(shown)) if bound == shown => Ok(()),
            (Scheme::Bearer, Some(_), _) | (Scheme::Dpop, _, Some(_)) => Err(BearerError::InvalidBoundToken),
        }
    }
}

/// The one token of a request, by either scheme: in the header, or as a bearer token in a POST body.
///
/// # Errors
/// As [`token`].
pub fn presented<'a>(
    authorization: Option<&'a str>,
    body: Option<&'a Form>,
) -> Result<Presented<'a>, BearerError> {
    let by_dpop = authorization.and_then(|header| {
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("dpop").then(|| token.trim_matches(' '))
    });
    match by_dpop {
        None => Ok(Presented { token: token(authorization, body)?, scheme: Scheme::Bearer }),
        Some(_) if body.is_some_and(|form| form.has("access_token")) => Err(BearerError::InvalidRequest),
        Some(token) if is_b64token(token) => Ok(Presented { token, scheme: Scheme::Dpop }),
        Some(_) => Err(BearerError::InvalidRequest),
    }
}

/// The one bearer token of a request: in the header (§2.1) or in a POST body (§2.2). Query parameters are not
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

/// Which proofs are understood (RFC 9449 §7.1).
fn dpop_challenge() -> String {
    format!("DPoP algs=\"{}\"", dpop::algorithm_names().join(" "))
}

fn dpop_response(error: OAuthError) -> Response {
    let OAuthError { code, description } = error;
    let challenge =
        format!("{}, error=\"{}\", error_description=\"{description}\"", dpop_challenge(), code.as_str());
    let body = json!({ "error": code.as_str(), "error_description": description });
    Response::json(401, &body).with("www-authenticate", challenge)
}

impl BearerError {
    /// The answer with its challenge (§3).
    pub fn response(self) -> Response {
        let (code, description, scope) = match self {
            Self::Missing => {
                // §3: the scheme has a parameter at least, and there is no error to name.
                let challenge = format!("Bearer realm=\"domicile\", {}", dpop_challenge());
                return Response::empty(401).with("www-authenticate", challenge);
            }
            Self::Proof(fault) => return dpop_response(fault.into()),
            Self::InvalidBoundToken => {
                let description = "the access token is not valid with this key";
                return dpop_response(OAuthError::new(ErrorCode::InvalidToken, description));
            }
            Self::InvalidRequest => {
                (ErrorCode::InvalidRequest, "the access token is not sent as RFC 6750 says", None)
            }
            Self::InvalidToken => (ErrorCode::InvalidToken, "the access token is not valid", None),
            Self::InsufficientScope(scope) => {
                (ErrorCode::InsufficientScope, "the access token lacks a scope", Some(scope))
            }
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
        assert_eq!(
            challenge(BearerError::Missing),
            (401, "Bearer realm=\"domicile\", DPoP algs=\"RS256 PS256 ES256 ES384 EdDSA\"".to_owned())
        );
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

    #[test]
    fn rfc9449_s7_1_a_token_is_used_by_the_scheme_that_it_was_issued_for() {
        use Scheme::{Bearer, Dpop};
        let tenant = crate::testing::tenant();
        let claims = |jkt: Option<&str>| {
            let issue = domicile_iam::model::Issue {
                dpop_jkt: jkt.map(str::to_owned),
                ..crate::testing::issue(&["openid"])
            };
            crate::access_token::for_user(&tenant, &crate::testing::client(), &issue, &crate::testing::user())
        };
        let malformed = BearerError::Proof(ProofFault::Malformed);
        for (rule, scheme, bound, shown, expects) in [
            ("§7.1", Dpop, Some("k"), Some("k"), Ok(())),
            ("§7.1", Dpop, Some("k"), Some("other"), Err(BearerError::InvalidBoundToken)),
            ("§7.1", Dpop, Some("k"), None, Err(malformed)),
            ("§7.2", Bearer, Some("k"), None, Err(BearerError::InvalidBoundToken)),
            ("§7.2", Bearer, Some("k"), Some("k"), Err(BearerError::InvalidBoundToken)),
            ("§7.1", Dpop, None, Some("k"), Err(BearerError::InvalidBoundToken)),
            ("6750", Bearer, None, None, Ok(())),
        ] {
            let presented = Presented { token: "t", scheme };
            assert_eq!(
                presented.check(&claims(bound), shown),
                expects,
                "{rule} {scheme:?} {bound:?} {shown:?}"
            );
        }
    }

    #[test]
    fn rfc9449_s7_1_the_scheme_is_read_from_the_header_alone() {
        let read = |header, body: Option<&Form>| {
            presented(header, body).map(|presented| (presented.token.to_owned(), presented.scheme))
        };
        assert_eq!(read(Some("DPoP a.b"), None), Ok(("a.b".to_owned(), Scheme::Dpop)));
        assert_eq!(read(Some("dpop  a.b "), None), Ok(("a.b".to_owned(), Scheme::Dpop)));
        assert_eq!(read(Some("Bearer a.b"), None), Ok(("a.b".to_owned(), Scheme::Bearer)));
        assert_eq!(read(Some("DPoP"), None), Err(BearerError::Missing));
        assert_eq!(read(Some("DPoP a b"), None), Err(BearerError::InvalidRequest));
        let body = crate::testing::form(&[("access_token", "x")]);
        assert_eq!(read(Some("DPoP a.b"), Some(&body)), Err(BearerError::InvalidRequest));
    }
}
