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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::{ErrorCode, OAuthError};
    use crate::testing::ISSUER;

    fn target(redirect_uri: &str, mode: ResponseMode, state: Option<&str>) -> Target {
        Target { redirect_uri: redirect_uri.to_owned(), mode, state: state.map(str::to_owned) }
    }

    #[test]
    fn rfc6749_s4_1_2_and_rfc9207_s2_a_code_travels_with_state_and_issuer() {
        let target = target("https://app.example/cb", ResponseMode::Query, Some("a b&c"));
        let wanted =
            "https://app.example/cb?code=SplxlO&state=a+b%26c&iss=https%3A%2F%2Fid.example%2Ft%2Facme";
        assert_eq!(code(&target, ISSUER, "SplxlO"), AuthorizationResponse::Redirect(wanted.to_owned()));
    }

    #[test]
    fn rfc6749_s3_1_2_a_query_of_the_redirect_uri_is_kept_as_it_is() {
        let fields = [("code", "c".to_owned())];
        for (uri, wanted) in [
            ("https://a.example/cb?x=%7e&y", "https://a.example/cb?x=%7e&y&code=c"),
            ("https://a.example/cb?", "https://a.example/cb?code=c"),
            ("https://a.example", "https://a.example?code=c"),
            ("com.example.app:/cb", "com.example.app:/cb?code=c"),
            ("https://a.example/cb#f", "https://a.example/cb?code=c"),
        ] {
            assert_eq!(with_query(uri, &fields), wanted);
        }
    }

    #[test]
    fn form_post_s2_fields_are_given_to_a_form() {
        let refusal = RedirectError {
            target: target("https://app.example/cb", ResponseMode::FormPost, None),
            error: OAuthError::new(ErrorCode::LoginRequired, "log in"),
        };
        let fields = vec![
            ("error", "login_required".to_owned()),
            ("error_description", "log in".to_owned()),
            ("iss", ISSUER.to_owned()),
        ];
        let action = "https://app.example/cb".to_owned();
        assert_eq!(error(&refusal, ISSUER), AuthorizationResponse::FormPost { action, fields });
    }

    proptest! {
        #[test]
        fn no_state_changes_where_the_answer_goes_or_what_else_it_says(state in "\\PC{1,60}") {
            let target = target("https://app.example/cb?x=1", ResponseMode::Query, Some(&state));
            let AuthorizationResponse::Redirect(location) = code(&target, ISSUER, "c") else {
                panic!("not a redirect");
            };
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
            let url = url::Url::parse(&location).unwrap();
            prop_assert_eq!(url.host_str(), Some("app.example"));
            let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            prop_assert_eq!(pairs, vec![pair("x", "1"), pair("code", "c"), pair("state", &state), pair("iss", ISSUER)]);
        }
    }
}
