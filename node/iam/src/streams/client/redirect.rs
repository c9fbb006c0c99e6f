//! Which redirect URIs may be registered (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1).

use std::net::IpAddr;

use url::{Host, Url};

use crate::commands::ClientRefusal;
use crate::model::{ApplicationType, AuthMethod, ClientMetadata};

const URI_BYTES_MAX: usize = 2048;

/// Absolute, without fragment; `https`, or `http` to loopback or `localhost` (for web clients see
/// [`web_over_http`]), or for native clients a private scheme with a dot (RFC 8252 §7.1).
///
/// # Errors
/// [`ClientRefusal::InvalidRedirectUri`].
pub(super) fn check_redirect_uri(uri: &str, application: ApplicationType) -> Result<(), ClientRefusal> {
    rule_broken(uri, application)
        .map_or(Ok(()), |rule| Err(ClientRefusal::InvalidRedirectUri { uri: uri.to_owned(), rule }))
}

/// What `uri` breaks, if anything.
pub(super) fn rule_broken(uri: &str, application: ApplicationType) -> Option<&'static str> {
    if uri.len() > URI_BYTES_MAX {
        return Some("is longer than 2048 bytes");
    }
    if !uri.bytes().all(|b| b.is_ascii_graphic()) {
        return Some("has characters outside printable ASCII");
    }
    if uri.contains('*') {
        return Some("has a wildcard, and is compared exactly");
    }
    let Ok(url) = Url::parse(uri) else { return Some("is not an absolute URI") };
    if uri.contains('#') {
        return Some("has a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("has user information");
    }
    match url.scheme() {
        "https" if url.has_host() => None,
        "https" => Some("has no host"),
        "http" if is_loopback(&url) => None,
        "http" => Some("is http and not to loopback"),
        scheme if application == ApplicationType::Native && scheme.contains('.') => None,
        _ if application == ApplicationType::Native => Some("has a private scheme without a dot"),
        _ => Some("is not https"),
    }
}

/// A redirect URI by which a web client's answers would go over `http`: for native clients only (RFC 9700 §2.6),
/// but where [`is_on_loopback`] holds for the issuer. One that the web client had `before` stays.
pub fn web_over_http<'a>(metadata: &'a ClientMetadata, before: Option<&ClientMetadata>) -> Option<&'a str> {
    if metadata.application_type == ApplicationType::Native {
        return None;
    }
    let before = before.filter(|before| before.application_type == ApplicationType::Web);
    let had = |uri: &String| before.is_some_and(|before| before.redirect_uris.contains(uri));
    let plain = |uri: &str| Url::parse(uri).is_ok_and(|url| url.scheme() == "http");
    metadata.redirect_uris.iter().find(|uri| plain(uri) && !had(uri)).map(String::as_str)
}

/// Whether an issuer is this machine, as in `dev` and `demo`: web clients in development are there too.
pub fn is_on_loopback(issuer: &str) -> bool {
    Url::parse(issuer).is_ok_and(|url| is_loopback(&url))
}

/// Whether others may pass for the client at this registered address, so that its user has to agree each time (RFC
/// 8252 §8.6, RFC 6749 §10.2): it proves itself by nothing, and any program on a device may listen at a loopback port or
/// take an app's own scheme. A web client in development, on the machine of the `issuer` itself, is not bothered.
pub fn is_open_to_impersonation(metadata: &ClientMetadata, redirect_uri: &str, issuer: &str) -> bool {
    let in_development = metadata.application_type == ApplicationType::Web && is_on_loopback(issuer);
    metadata.token_endpoint_auth_method == AuthMethod::None
        && !redirect_uri.starts_with("https:")
        && !in_development
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rfc6749_s3_1_2_a_redirect_uri_is_absolute_and_has_no_fragment() {
        for bad in ["/cb", "cb", "https://rp.example/cb#x", "https://rp.example/cb#", "https:///cb#"] {
            assert!(rule_broken(bad, ApplicationType::Web).is_some(), "{bad}");
        }
        assert_eq!(rule_broken("https://rp.example/cb?x=1", ApplicationType::Web), None);
    }

    #[test]
    fn rfc9700_s2_1_no_redirect_uri_is_a_pattern() {
        for bad in ["https://*.rp.example/cb", "https://rp.example/*", "https://*/cb"] {
            assert!(rule_broken(bad, ApplicationType::Web).is_some(), "{bad}");
        }
    }

    #[test]
    fn rfc8252_s7_3_plain_http_goes_to_loopback_only() {
        for good in ["http://127.0.0.1:9999/cb", "http://[::1]/cb", "http://localhost:3000/callback"] {
            assert_eq!(rule_broken(good, ApplicationType::Web), None, "{good}");
        }
        for bad in ["http://rp.example/cb", "http://127.0.0.1.example/cb"] {
            assert!(rule_broken(bad, ApplicationType::Native).is_some(), "{bad}");
        }
    }

    #[test]
    fn rfc8252_s7_1_private_schemes_are_for_native_clients_and_have_a_dot() {
        assert_eq!(rule_broken("com.example.app:/cb", ApplicationType::Native), None);
        assert!(rule_broken("com.example.app:/cb", ApplicationType::Web).is_some());
        for bad in ["myapp:/cb", "javascript:alert(1)", "data:text/html,x"] {
            assert!(rule_broken(bad, ApplicationType::Native).is_some(), "{bad}");
        }
    }

    #[test]
    fn rfc8252_s8_6_a_public_client_is_known_by_nothing_but_a_claimed_https_address() {
        let client = |method: &str, kind: &str| -> ClientMetadata {
            let metadata = json!({ "token_endpoint_auth_method": method, "application_type": kind });
            serde_json::from_value(metadata).unwrap()
        };
        let (native, confidential) = (client("none", "native"), client("client_secret_basic", "native"));
        let remote = "https://id.example/t/acme";
        for open in
            ["http://127.0.0.1:5123/cb", "http://[::1]/cb", "http://localhost/cb", "com.example.app:/cb"]
        {
            assert!(is_open_to_impersonation(&native, open, remote), "{open}");
            assert!(!is_open_to_impersonation(&confidential, open, remote), "{open}: it has a secret");
        }
        assert!(!is_open_to_impersonation(&native, "https://app.example.org/cb", remote));
        let web = client("none", "web");
        assert!(is_open_to_impersonation(&web, "http://localhost:3000/cb", remote));
        assert!(!is_open_to_impersonation(&web, "http://localhost:3000/cb", "http://localhost:8080/t/demo"));
        assert!(is_open_to_impersonation(&native, "http://127.0.0.1/cb", "http://localhost:8080/t/demo"));
    }
}
