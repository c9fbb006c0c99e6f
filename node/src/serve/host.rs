//! Which hosts this node answers for. All others get 421, and who names none as HTTP asks for it 400.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use arc_swap::ArcSwap;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, Version, header};

/// The authorities served: the public origin, tenants' own hosts, and names of loopback where requests of this
/// machine are meant to come.
pub struct Hosts {
    served: ArcSwap<BTreeSet<String>>,
    /// The port under which loopback names are served too, with its colon.
    loopback_port: Option<String>,
    default_port: &'static str,
}

impl Hosts {
    /// Of a listener at `listens`. Names of loopback are served on a listener that is on loopback, and on one
    /// that `administers`: the command line asks the node of its own host by them.
    pub fn at(listens: SocketAddr, administers: bool, secure: bool) -> Self {
        let by_loopback = administers || listens.ip().to_canonical().is_loopback();
        Self::new(secure, by_loopback.then_some(listens.port()))
    }

    /// `secure` decides the port that may be left out.
    pub fn new(secure: bool, loopback_port: Option<u16>) -> Self {
        let default_port = if secure { ":443" } else { ":80" };
        Self {
            served: ArcSwap::default(),
            loopback_port: loopback_port.map(|port| format!(":{port}")),
            default_port,
        }
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
        let one = headers.get_all(header::HOST).iter().nth(1).is_none();
        one && authority(uri, headers).is_some_and(|host| self.serves_authority(host))
    }

    fn serves_authority(&self, authority: &str) -> bool {
        // Most clients write it as it is served: nothing to copy then.
        let lowercase = if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(authority.to_ascii_lowercase())
        } else {
            Cow::Borrowed(authority)
        };
        let authority = lowercase.strip_suffix(self.default_port).unwrap_or(&lowercase);
        self.served.load().contains(authority) || self.is_loopback(authority)
    }

    fn is_loopback(&self, authority: &str) -> bool {
        let Some(port) = &self.loopback_port else { return false };
        let named = authority.strip_suffix(port.as_str()).unwrap_or(authority);
        let bare = port == self.default_port;
        (named.len() < authority.len() || bare) && matches!(named, "localhost" | "127.0.0.1" | "[::1]")
    }
}

/// Whether `Host` is sent as it must be (RFC 9112 §3.2): once, in HTTP/1.1 always. HTTP/2 has `:authority`.
pub(super) fn is_named_once(version: Version, headers: &HeaderMap) -> bool {
    let mut sent = headers.get_all(header::HOST).iter();
    match (sent.next(), sent.next()) {
        (Some(_), None) => true,
        (Some(_), Some(_)) => false,
        (None, _) => version != Version::HTTP_11,
    }
}

/// Whether what is sent as `Host`, if anything, is a host and no more than that. It may be empty.
pub(super) fn is_well_formed(headers: &HeaderMap) -> bool {
    headers.get_all(header::HOST).iter().all(|sent| {
        let is_host = |text: &str| !text.contains('@') && text.parse::<Authority>().is_ok();
        sent.to_str().is_ok_and(|text| text.is_empty() || is_host(text))
    })
}

fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match (uri.authority(), headers.get(header::HOST)) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, Some(host)) => host.to_str().ok(),
        (None, None) => None,
    }
}

/// Whether the request names this machine: `localhost`, a name below it (RFC 6761 §6.3) or a loopback
/// address. Other programs serve the same names, so nothing may be pinned to them.
pub(super) fn of_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(authority) = authority(uri, headers) else { return false };
    let named = authority.to_ascii_lowercase();
    if let Some(address) = named.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    let name = named.split(':').next().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
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
    fn a_listener_for_others_answers_to_no_name_of_this_machine() {
        for (listens, administers, expects) in [
            ("0.0.0.0:8443", false, false),
            ("[::]:8443", false, false),
            ("192.0.2.7:8443", false, false),
            ("127.0.0.1:8443", false, true),
            ("[::ffff:127.0.0.1]:8443", false, true),
            ("0.0.0.0:8443", true, true),
        ] {
            let hosts = Hosts::at(listens.parse().unwrap(), administers, true);
            hosts.serve(&"https://id.example.org".parse().unwrap());
            for host in ["localhost:8443", "127.0.0.1:8443", "[::1]:8443"] {
                assert_eq!(serves(&hosts, host), expects, "{host} at {listens}");
            }
            assert!(serves(&hosts, "id.example.org"));
        }
    }

    #[test]
    fn loopback_names_are_served_at_their_port() {
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
    fn names_of_this_machine_are_known_as_such() {
        for (host, expects) in [
            ("localhost", true),
            ("LOCALHOST:8443", true),
            ("app.localhost:8443", true),
            ("127.0.0.1:8443", true),
            ("127.8.8.8", true),
            ("[::1]:8443", true),
            ("id.example.org", false),
            ("localhost.example.org", false),
            ("127.0.0.1.example.org", false),
            ("[2001:db8::1]", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            assert_eq!(of_this_machine(&Uri::from_static("/"), &headers), expects, "{host}");
        }
    }

    #[test]
    fn rfc9112_s3_2_a_host_is_sent_once_and_is_one() {
        let headers = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_static(host));
            }
            headers
        };
        for (version, hosts, expects) in [
            (Version::HTTP_11, &["a.example"][..], true),
            (Version::HTTP_11, &[][..], false),
            (Version::HTTP_11, &["a.example", "a.example"][..], false),
            (Version::HTTP_10, &[][..], true),
            (Version::HTTP_10, &["a.example", "b.example"][..], false),
            (Version::HTTP_2, &[][..], true),
        ] {
            assert_eq!(is_named_once(version, &headers(hosts)), expects, "{version:?} {hosts:?}");
        }
        for (host, expects) in [
            ("", true),
            ("a.example:8080", true),
            ("[::1]:8080", true),
            ("me@a.example", false),
            ("a.example/path", false),
            ("a b", false),
        ] {
            assert_eq!(is_well_formed(&headers(&[host])), expects, "{host}");
        }
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
