//! Which hosts this node answers for. All others get 421.

use std::collections::BTreeSet;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, Uri, header};

/// The authorities served: the public origin, tenants' own hosts, and in `dev` any name of loopback.
pub struct Hosts {
    served: ArcSwap<BTreeSet<String>>,
    /// The port under which loopback names are served too.
    loopback_port: Option<u16>,
    default_port: &'static str,
}

impl Hosts {
    /// `secure` decides the port that may be left out.
    pub fn new(secure: bool, loopback_port: Option<u16>) -> Self {
        let default_port = if secure { ":443" } else { ":80" };
        Self { served: ArcSwap::default(), loopback_port, default_port }
    }

    /// Serves the host of `url` from now on.
    pub fn serve(&self, url: &url::Url) {
        let Some(host) = url.host_str() else { return };
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        self.served.rcu(|served| {
            let mut served = BTreeSet::clone(served);
            served.insert(authority.clone());
            served
        });
    }

    /// Whether the request's authority is served. The target's counts over `Host` (RFC 9112 §3.2.2);
    /// two `Host` headers, or none, are not served.
    pub fn serves(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (uri.authority(), hosts.next()) {
            (Some(authority), _) => Some(authority.as_str()),
            (None, Some(host)) => host.to_str().ok(),
            (None, None) => None,
        };
        hosts.next().is_none() && host.is_some_and(|host| self.serves_authority(host))
    }

    fn serves_authority(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        let authority = authority.strip_suffix(self.default_port).unwrap_or(&authority);
        self.served.load().contains(authority) || self.is_loopback(authority)
    }

    fn is_loopback(&self, authority: &str) -> bool {
        let Some(port) = self.loopback_port else { return false };
        let named = authority.strip_suffix(&format!(":{port}")).unwrap_or(authority);
        let bare = format!(":{port}") == self.default_port;
        (named.len() < authority.len() || bare) && matches!(named, "localhost" | "127.0.0.1" | "[::1]")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn serves(hosts: &Hosts, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        hosts.serves(&Uri::from_static("/path"), &headers)
    }

    #[test]
    fn only_the_hosts_that_were_named_are_served() {
        let hosts = Hosts::new(true, None);
        hosts.serve(&"https://id.example.org".parse().unwrap());
        hosts.serve(&"https://login.example.com:8443".parse().unwrap());
        for (host, expects) in [
            ("id.example.org", true),
            ("ID.Example.ORG", true),
            ("id.example.org:443", true),
            ("id.example.org:80", false),
            ("login.example.com:8443", true),
            ("login.example.com", false),
            ("evil.example", false),
            ("id.example.org.evil.example", false),
            ("localhost:8443", false),
            ("127.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(serves(&hosts, host), expects, "{host}");
        }
    }

    #[test]
    fn dev_serves_loopback_names_at_its_port() {
        let hosts = Hosts::new(false, Some(8080));
        for (host, expects) in [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("localhost", false),
            ("localhost:8081", false),
            ("rebound.example:8080", false),
        ] {
            assert_eq!(serves(&hosts, host), expects, "{host}");
        }
        assert!(serves(&Hosts::new(false, Some(80)), "localhost"));
    }

    #[test]
    fn rfc9112_s3_2_two_hosts_or_none_are_refused_and_the_target_wins() {
        let hosts = Hosts::new(false, Some(8080));
        let mut headers = HeaderMap::new();
        assert!(!hosts.serves(&Uri::from_static("/"), &headers));
        headers.append(header::HOST, HeaderValue::from_static("localhost:8080"));
        assert!(!hosts.serves(&Uri::from_static("http://evil.example/"), &headers));
        headers.append(header::HOST, HeaderValue::from_static("localhost:8080"));
        assert!(!hosts.serves(&Uri::from_static("/"), &headers));
    }
}
