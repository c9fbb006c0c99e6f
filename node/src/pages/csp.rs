//! The content security policy of a page (CSP Level 3): nothing but what the page itself holds.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use super::STYLE;

/// Sends the form-post page's form. Fixed, so that its hash allows it and nothing else.
pub(super) const SUBMIT_SCRIPT: &str = "document.getElementById(\"f\").submit()";

static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| hash_source(STYLE));
static SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| hash_source(SUBMIT_SCRIPT));

fn hash_source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// Where the forms of a page may lead. Chrome holds redirects that follow a form to this too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormAction {
    /// The page has no form.
    Nowhere,
    /// To us, and no further.
    Own,
    /// To us and then by redirect to this validated URI.
    OwnThenRedirect(String),
}

/// The policy of a page without scripts.
pub(super) fn policy(forms: &FormAction) -> String {
    let forms = match forms {
        FormAction::Nowhere => "'none'".to_owned(),
        FormAction::Own => "'self'".to_owned(),
        FormAction::OwnThenRedirect(uri) => match form_action_source(uri) {
            Some(source) => format!("'self' {source}"),
            None => "'self'".to_owned(),
        },
    };
    assemble(&forms, None)
}

/// The policy of the form-post page.
pub(super) fn form_post_policy(redirect_uri: &str) -> String {
    let forms = form_action_source(redirect_uri).unwrap_or_else(|| "'none'".to_owned());
    assemble(&forms, Some(&SCRIPT_SOURCE))
}

fn assemble(forms: &str, script: Option<&str>) -> String {
    let style: &str = &STYLE_SOURCE;
    let script = script.map(|source| format!(" script-src {source};")).unwrap_or_default();
    format!(
        "default-src 'none'; style-src {style};{script} img-src data:; form-action {forms}; \
         frame-ancestors 'none'; base-uri 'none'"
    )
}

/// The source expression that lets `uri` through: its origin, or its scheme where CSP has no way to
/// write the host (an IPv6 literal, an app's own scheme). `None` if it is no absolute URI.
pub fn form_action_source(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    let scheme = url.scheme();
    match url.host() {
        Some(Host::Domain(_) | Host::Ipv4(_)) if matches!(scheme, "http" | "https") => {
            Some(url.origin().ascii_serialization())
        }
        Some(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_)) | None => Some(format!("{scheme}:")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csp3_s2_3_1_a_redirect_becomes_a_source_expression() {
        for (uri, expects) in [
            ("https://app.example.org/cb?x=1", Some("https://app.example.org")),
            ("http://127.0.0.1:9999/cb", Some("http://127.0.0.1:9999")),
            ("http://localhost:3000/callback", Some("http://localhost:3000")),
            ("http://[::1]:4711/cb", Some("http:")),
            ("com.example.app:/oauth2", Some("com.example.app:")),
            ("myapp://cb", Some("myapp:")),
            ("https://b\u{fc}cher.example/cb", Some("https://xn--bcher-kva.example")),
            ("/relative", None),
        ] {
            assert_eq!(form_action_source(uri).as_deref(), expects, "{uri}");
        }
    }

    #[test]
    fn a_policy_allows_only_what_the_page_holds() {
        let policy = policy(&FormAction::OwnThenRedirect("https://app.example/cb".to_owned()));
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(
            policy.contains(
                "; form-action 'self' https://app.example; frame-ancestors 'none'; base-uri 'none'"
            )
        );
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        assert!(super::policy(&FormAction::Nowhere).contains("form-action 'none'"));
        assert!(super::policy(&FormAction::Own).contains("form-action 'self';"));
        assert!(form_post_policy("https://app.example/cb").contains("; script-src 'sha256-"));
    }
}
