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

/// Where a client's answer may send the browser on to, besides where it was sent itself: an app that
/// waits on loopback behind a client on the web is no rarity.
const ONWARD_FROM_HTTPS: &str = "https: http://localhost:* http://127.0.0.1:*";
/// The same for a client without TLS: in development, or on a network of its own.
const ONWARD_FROM_HTTP: &str = "https: http:";

/// Where the forms of a page may lead. Chrome holds every redirect that follows a form to this, also
/// those that others make later on the way (docs/adr/0007-form-action.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormAction {
    /// The page has no form.
    Nowhere,
    /// To us, and no further.
    Own,
    /// To us, then by redirect to this validated URI, and from there to wherever its owner goes on.
    OwnThenRedirect(String),
}

/// The policy of a page without scripts.
pub(super) fn policy(forms: &FormAction) -> String {
    let forms = match forms {
        FormAction::Nowhere => "'none'".to_owned(),
        FormAction::Own => "'self'".to_owned(),
        FormAction::OwnThenRedirect(uri) => match onward(uri) {
            Some(sources) => format!("'self' {sources}"),
            None => "'self'".to_owned(),
        },
    };
    assemble(&forms, None)
}

/// The policy of the form-post page.
pub(super) fn form_post_policy(redirect_uri: &str) -> String {
    let forms = onward(redirect_uri).unwrap_or_else(|| "'none'".to_owned());
    assemble(&forms, Some(&SCRIPT_SOURCE))
}

/// The sources for `uri` and what follows it. An app's own scheme ends the way.
fn onward(uri: &str) -> Option<String> {
    let source = form_action_source(uri)?;
    let beyond = if source.starts_with("https:") {
        ONWARD_FROM_HTTPS
    } else if source.starts_with("http:") {
        ONWARD_FROM_HTTP
    } else {
        return Some(source);
    };
    Some(format!("{source} {beyond}"))
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
        assert!(policy.ends_with("; frame-ancestors 'none'; base-uri 'none'"), "{policy}");
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        assert!(super::policy(&FormAction::Nowhere).contains("form-action 'none'"));
        assert!(super::policy(&FormAction::Own).contains("form-action 'self';"));
        assert!(form_post_policy("https://app.example/cb").contains("; script-src 'sha256-"));
    }

    #[test]
    fn csp3_s6_4_1_a_form_may_lead_past_the_client_by_the_clients_own_redirects() {
        for (uri, expects) in [
            ("https://app.example/cb", "https://app.example https: http://localhost:* http://127.0.0.1:*"),
            ("http://127.0.0.1:9999/cb", "http://127.0.0.1:9999 https: http:"),
            ("http://[::1]:4711/cb", "http: https: http:"),
            ("com.example.app:/oauth2", "com.example.app:"),
        ] {
            let redirect = FormAction::OwnThenRedirect(uri.to_owned());
            assert!(policy(&redirect).contains(&format!("; form-action 'self' {expects};")), "{uri}");
            assert!(form_post_policy(uri).contains(&format!("; form-action {expects};")), "{uri}");
        }
        assert!(policy(&FormAction::OwnThenRedirect("/cb".to_owned())).contains("form-action 'self';"));
        assert!(form_post_policy("/cb").contains("form-action 'none';"));
    }
}
