//! The authorization response (RFC 6749 §4.1.2) with `iss` (RFC 9207), by query or form post.

use url::form_urlencoded::Serializer;

use crate::authorize::{RedirectError, ResponseMode, Target};

/// How the answer leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationResponse {
    /// Redirect there with 303 ([`crate::Response::see_other`]).
    Redirect(String),
    /// Render a page with a form that posts itself (OAuth 2.0 Form Post Response Mode §2).
    FormPost {
        /// The form's action. Not escaped for HTML.
        action: String,
        /// Hidden fields. Not escaped for HTML.
        fields: Vec<(&'static str, String)>,
    },
}

/// A code.
pub fn code(target: &Target, issuer: &str, code: &str) -> AuthorizationResponse {
    answer(target, issuer, vec![("code", code.to_owned())])
}

/// An error.
pub fn error(refusal: &RedirectError, issuer: &str) -> AuthorizationResponse {
    let error = refusal.error;
    let fields =
        vec![("error", error.code.as_str().to_owned()), ("error_description", error.description.to_owned())];
    answer(&refusal.target, issuer, fields)
}

fn answer(target: &Target, issuer: &str, mut fields: Vec<(&'static str, String)>) -> AuthorizationResponse {
    fields.extend(target.state.clone().map(|state| ("state", state)));
    fields.push(("iss", issuer.to_owned()));
    match target.mode {
        ResponseMode::Query => AuthorizationResponse::Redirect(with_query(&target.redirect_uri, &fields)),
        ResponseMode::FormPost => {
            AuthorizationResponse::FormPost { action: target.redirect_uri.clone(), fields }
        }
    }
}

/// `uri` with fields appended; what was there stays as it is (RFC 6749 §3.1.2).
pub(crate) fn with_query(uri: &str, fields: &[(&'static str, String)]) -> String {
    let query = Serializer::new(String::new()).extend_pairs(fields).finish();
    // Registration refuses fragments; should one be there, it must not swallow the answer.
    let uri = uri.split_once('#').map_or(uri, |(before, _)| before);
    let joint = match uri.split_once('?') {
        None => "?",
        Some((_, before)) if before.is_empty() || before.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{uri}{joint}{query}")
}
