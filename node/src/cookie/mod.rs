//! Cookies, and the sealed values and form tokens that are bound to them.
//!
//! Two cookies a tenant: the session (`dom-<tenant>`) and the browser (`dom-<tenant>-b`), a random
//! value that binds interactions and form tokens to one browser. Under TLS both carry `__Host-`.

mod csrf;
#[cfg(test)]
mod hostile;
mod sealed;

use axum::http::{HeaderMap, HeaderValue, header};
use domicile_iam::ids::TenantId;

pub use csrf::{CsrfRefusal, FormTokens, check_same_origin};
pub use sealed::{InteractionSealer, OpenError, Scope, SealError};

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieKind {
    /// The login session: id and secret.
    Session,
    /// Binds interactions and form tokens to this browser.
    Browser,
}

/// How long a cookie is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until the browser ends.
    BrowserSession,
    /// This many seconds.
    Seconds(u64),
}

/// The name of a tenant's cookie. `secure` is whether browsers reach the node over TLS; `__Host-`
/// then makes them refuse one set by a sibling host or without `Secure` (RFC 6265bis §4.1.3.2).
pub fn name(kind: CookieKind, tenant: TenantId, secure: bool) -> String {
    let prefix = if secure { "__Host-" } else { "" };
    match kind {
        CookieKind::Session => format!("{prefix}dom-{tenant}"),
        CookieKind::Browser => format!("{prefix}dom-{tenant}-b"),
    }
}

/// A `Set-Cookie` value. `value` must be base64url text or made of id characters: `None` if it holds
/// anything a cookie may not.
pub fn set(
    kind: CookieKind,
    tenant: TenantId,
    secure: bool,
    value: &str,
    lifetime: Lifetime,
) -> Option<HeaderValue> {
    if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return None;
    }
    let mut text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", name(kind, tenant, secure));
    if secure {
        text.push_str("; Secure");
    }
    if let Lifetime::Seconds(seconds) = lifetime {
        text.push_str("; Max-Age=");
        text.push_str(&seconds.to_string());
    }
    HeaderValue::from_str(&text).ok()
}

/// A `Set-Cookie` value that removes the cookie.
pub fn clear(kind: CookieKind, tenant: TenantId, secure: bool) -> Option<HeaderValue> {
    set(kind, tenant, secure, "", Lifetime::Seconds(0))
}

/// The cookie's value in a request, over all `Cookie` headers (HTTP/2 may split them, RFC 9113
/// §8.2.3). Of two with one name the first counts; an empty one is none.
pub fn get(headers: &HeaderMap, kind: CookieKind, tenant: TenantId, secure: bool) -> Option<&str> {
    let wanted = name(kind, tenant, secure);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use domicile_iam::ids::Id;

    use super::*;

    fn tenant() -> TenantId {
        TenantId::from_bytes([7; 16])
    }

    #[test]
    fn rfc6265bis_host_prefix_means_secure_root_path_and_no_domain() {
        let value = set(CookieKind::Session, tenant(), true, "abc-_.1", Lifetime::BrowserSession).unwrap();
        let expects = format!("__Host-dom-{}=abc-_.1; Path=/; HttpOnly; SameSite=Lax; Secure", tenant());
        assert_eq!(value, expects);
    }

    #[test]
    fn plain_loopback_has_no_prefix_and_is_not_secure() {
        let value = set(CookieKind::Browser, tenant(), false, "x", Lifetime::Seconds(600)).unwrap();
        let expects = format!("dom-{}-b=x; Path=/; HttpOnly; SameSite=Lax; Max-Age=600", tenant());
        assert_eq!(value, expects);
        let cleared = clear(CookieKind::Session, tenant(), false).unwrap();
        assert!(cleared.to_str().unwrap().ends_with("Max-Age=0"));
    }

    #[test]
    fn a_value_that_would_break_the_header_is_refused() {
        for value in ["a;b", "a\r\nb", "a b", "a=b", "ä"] {
            assert_eq!(
                set(CookieKind::Session, tenant(), true, value, Lifetime::BrowserSession),
                None,
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_in_any_header() {
        let mut headers = HeaderMap::new();
        let line = format!("a=1; x__Host-dom-{}=no;  __Host-dom-{}=yes", tenant(), tenant());
        headers.append(header::COOKIE, HeaderValue::from_static("other=2"));
        headers.append(header::COOKIE, HeaderValue::from_str(&line).unwrap());
        assert_eq!(get(&headers, CookieKind::Session, tenant(), true), Some("yes"));
        assert_eq!(get(&headers, CookieKind::Browser, tenant(), true), None);
        assert_eq!(get(&headers, CookieKind::Session, tenant(), false), None);
    }
}
