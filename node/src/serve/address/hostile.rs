//! What proxies write of their clients, when the clients wrote some of it themselves. The corpus has header values,
//! one a line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::client_address;
use crate::config::{ForwardedHeader, Network};
use crate::hostile::{corpus, run};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

const WORDS: [&[u8]; 14] = [
    b",",
    b";",
    b"=",
    b"\"",
    b"[",
    b"]",
    b":",
    b" ",
    b"\n",
    b"For=",
    b"10.0.0.2",
    b"::ffff:10.0.0.2",
    b"%1",
    &[0x80],
];

/// These values, and then one more.
fn headers(name: &'static str, input: &[u8], more: Option<&str>) -> HeaderMap {
    let lines = input.split(|byte| *byte == b'\n').chain(more.map(str::as_bytes));
    let values = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

/// Whether the address stands in what was sent.
fn is_named(input: &[u8], address: IpAddr) -> bool {
    let text = String::from_utf8_lossy(input);
    text.split([',', ';', '=', '"', '[', ']', ' ', '\t', '\n']).any(|word| {
        let bare = word.split('%').next().unwrap_or_default();
        let read = bare.parse::<IpAddr>().or_else(|_| bare.parse::<SocketAddr>().map(|socket| socket.ip()));
        read.is_ok_and(|read| read.to_canonical() == address)
    })
}

/// What must hold, whatever was sent.
fn judge(input: &[u8]) {
    let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
    for (name, named, before) in [
        ("x-forwarded-for", ForwardedHeader::XForwardedFor, ""),
        ("forwarded", ForwardedHeader::Forwarded, "for="),
    ] {
        let client = |peer: IpAddr, more: Option<&str>| {
            client_address(peer, &headers(name, input, more), &trusted, named)
        };
        assert_eq!(client(STRANGER, None), STRANGER, "{name}");
        let found = client(PROXY, None);
        assert!(found == PROXY || is_named(input, found), "{name}: {found}");
        // The proxy adds to what its client sent, and what it adds counts.
        assert_eq!(client(PROXY, Some(&format!("{before}{CLIENT}"))), CLIENT, "{name}");
        assert_eq!(client(PROXY, Some(&format!("{before}_hidden"))), PROXY, "{name}");
    }
}

#[test]
fn nobody_gives_themselves_another_address_than_the_proxy_saw() {
    run(&corpus("forwarded"), &WORDS, judge);
}
