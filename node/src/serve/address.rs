//! Who is at the other end: the peer, or what trusted proxies say about it.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::{ForwardedHeader, Network};

/// The client's address. Headers count only if the peer is a trusted proxy; the chain is walked from
/// the near end, and the first address that is no trusted proxy is the client. What does not parse ends
/// the walk. The header that is not `named` is not looked at: a proxy that writes one lets the other
/// through as the client sent it.
pub fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    named: ForwardedHeader,
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let hops = match named {
        ForwardedHeader::XForwardedFor => x_forwarded_for(headers),
        ForwardedHeader::Forwarded => forwarded(headers),
    };
    for hop in hops.into_iter().rev() {
        let Some(address) = hop else { break };
        client = address.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

fn texts<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default())
}

fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    texts(headers, "x-forwarded-for").flat_map(|line| line.split(',')).map(|item| node(item.trim())).collect()
}

/// RFC 7239 §4: elements divided by commas, pairs by semicolons; `for` in any case.
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    texts(headers, "forwarded").flat_map(|line| line.split(',')).map(forwarded_for).collect()
}

fn forwarded_for(element: &str) -> Option<IpAddr> {
    element
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
        .and_then(|(_, value)| node(value.trim().trim_matches('"')))
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn check(peer: &str, sent: &[(&'static str, &'static str)], expects: &str) {
        let named = match sent.first() {
            Some(("forwarded", _)) => ForwardedHeader::Forwarded,
            Some(_) | None => ForwardedHeader::XForwardedFor,
        };
        check_named(named, peer, sent, expects);
    }

    fn check_named(named: ForwardedHeader, peer: &str, sent: &[(&'static str, &'static str)], expects: &str) {
        let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let got = client_address(peer.parse().unwrap(), &headers, &trusted, named);
        assert_eq!(got, expects.parse::<IpAddr>().unwrap(), "{peer} {sent:?}");
    }

    #[test]
    fn headers_of_a_stranger_are_ignored() {
        check("203.0.113.5", &[("x-forwarded-for", "192.0.2.1")], "203.0.113.5");
        check("203.0.113.5", &[("forwarded", "for=192.0.2.1")], "203.0.113.5");
        check("::ffff:203.0.113.5", &[], "203.0.113.5");
    }

    #[test]
    fn the_nearest_address_that_is_no_proxy_is_the_client() {
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.1")], "192.0.2.1");
        check("10.0.0.1", &[("x-forwarded-for", "1.2.3.4, 192.0.2.1, 10.0.0.2")], "192.0.2.1");
        check("10.0.0.1", &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1");
        check("::1", &[("x-forwarded-for", "2001:db8::9")], "2001:db8::9");
    }

    #[test]
    fn rfc7239_s4_elements() {
        check("10.0.0.1", &[("forwarded", "for=192.0.2.60;proto=http;by=203.0.113.43")], "192.0.2.60");
        check("10.0.0.1", &[("forwarded", "For=\"[2001:db8:cafe::17]:4711\"")], "2001:db8:cafe::17");
        check(
            "10.0.0.1",
            &[("forwarded", "for=1.2.3.4, proto=https;for=192.0.2.43:99, for=10.1.1.1")],
            "192.0.2.43",
        );
    }

    #[test]
    fn only_the_header_that_the_proxy_writes_is_read() {
        let both = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=1.2.3.4")];
        check_named(ForwardedHeader::XForwardedFor, "10.0.0.1", &both, "192.0.2.1");
        check_named(ForwardedHeader::Forwarded, "10.0.0.1", &both, "1.2.3.4");
        check_named(ForwardedHeader::XForwardedFor, "10.0.0.1", &both[1..], "10.0.0.1");
    }

    #[test]
    fn what_does_not_parse_ends_the_walk() {
        check("10.0.0.1", &[("forwarded", "for=192.0.2.1, for=_hidden, for=10.0.0.2")], "10.0.0.2");
        check("10.0.0.1", &[("forwarded", "for=unknown")], "10.0.0.1");
        check("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, nonsense")], "10.0.0.1");
    }
}
