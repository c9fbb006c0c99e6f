//! What travels with a forwarded request, and what comes back with its answer. One header each way,
//! believed on connections between nodes only, and taken off everything that comes from outside.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::ids::RequestId;
use domicile_raft::{NodeId, PartitionId};
use domicile_storage::codec;
use serde::{Deserialize, Serialize};

use super::forwarder::DEADLINE;
use crate::telemetry::Trace;

/// Names of ours between nodes begin so.
const PREFIX: &str = "domicile-peer-";
const ENVELOPE: HeaderName = HeaderName::from_static("domicile-peer-envelope");
const OUTCOME: HeaderName = HeaderName::from_static("domicile-peer-outcome");
const ENVELOPE_FORMAT: u8 = 1;
const OUTCOME_FORMAT: u8 = 1;

/// Headers about one connection (RFC 9110 §7.6.1), and those that HTTP says anew.
const OF_A_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// How a request came to the first node. That it is there at all says that it was forwarded: it is not
/// forwarded again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The request's id, made by the first node.
    pub(crate) id: RequestId,
    /// The client's address, behind trusted proxies.
    pub(crate) address: IpAddr,
    /// Whether the browser came over TLS.
    pub(crate) secure: bool,
    /// Milliseconds left.
    pub(crate) deadline_ms: u64,
    /// The tenant's home, as the first node knows it.
    pub(crate) home: PartitionId,
    /// The tenant's epoch, as the first node knows it.
    pub(crate) epoch: u64,
    /// The trace that the client says it is part of.
    #[serde(default)]
    pub(crate) trace: Option<Trace>,
}

/// What the second node came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The answer is the request's.
    Answered,
    /// Nothing was done: another node leads.
    Elsewhere(Option<NodeId>),
    /// Nothing was done: this node could not show that it is fresh enough.
    Unconfirmed,
    /// It may have been done.
    Unknown,
}

impl Envelope {
    /// Puts it on a request.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        put(headers, ENVELOPE, ENVELOPE_FORMAT, self);
    }

    /// Takes it from a request of another node.
    pub(crate) fn take(headers: &mut HeaderMap) -> Option<Self> {
        take(headers, &ENVELOPE, &[ENVELOPE_FORMAT])
    }

    /// The time left, as far as it is believed.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms).min(DEADLINE)
    }
}

impl Outcome {
    /// Puts it on an answer.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        put(headers, OUTCOME, OUTCOME_FORMAT, self);
    }

    /// Takes it from another node's answer. One without may stand for something that was done.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        take(headers, &OUTCOME, &[OUTCOME_FORMAT]).unwrap_or(Self::Unknown)
    }
}

fn put<T: Serialize>(headers: &mut HeaderMap, name: HeaderName, format: u8, value: &T) {
    let bytes = codec::encode_open(format, value).unwrap_or_default();
    if let Ok(value) = HeaderValue::try_from(URL_SAFE_NO_PAD.encode(bytes)) {
        headers.insert(name, value);
    }
}

fn take<T: for<'a> Deserialize<'a>>(
    headers: &mut HeaderMap,
    name: &HeaderName,
    known: &'static [u8],
) -> Option<T> {
    let value = headers.remove(name)?;
    let bytes = URL_SAFE_NO_PAD.decode(value.as_bytes()).ok()?;
    let (_, body) = codec::split_format(&bytes, known).ok()?;
    codec::decode_open(body).ok()
}

/// Takes off what only nodes may say.
pub(crate) fn strip_internal(headers: &mut HeaderMap) {
    let said: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    for name in said {
        headers.remove(name);
    }
}

/// Takes off what is about one connection.
pub(crate) fn strip_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.iter().chain(&OF_A_CONNECTION) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use domicile_iam::ids::Id as _;

    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            id: RequestId::from_bytes([7; 16]),
            address: "2001:db8::9".parse().unwrap(),
            secure: true,
            deadline_ms: 4_000,
            home: PartitionId(3),
            epoch: 2,
            trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
        }
    }

    #[test]
    fn an_envelope_and_an_outcome_come_out_as_they_went_in() {
        let mut headers = HeaderMap::new();
        envelope().put(&mut headers);
        assert_eq!(Envelope::take(&mut headers), Some(envelope()));
        assert_eq!(Envelope::take(&mut headers), None, "it is taken");
        for outcome in [Outcome::Answered, Outcome::Elsewhere(Some(NodeId(4))), Outcome::Unconfirmed] {
            outcome.put(&mut headers);
            assert_eq!(Outcome::take(&mut headers), outcome);
        }
        assert_eq!(Outcome::take(&mut headers), Outcome::Unknown);
    }

    #[test]
    fn an_envelope_of_a_node_that_knows_no_traces_is_read() {
        #[derive(Serialize)]
        struct Older {
            id: RequestId,
            address: IpAddr,
            secure: bool,
            deadline_ms: u64,
            home: PartitionId,
            epoch: u64,
        }
        let Envelope { id, address, secure, deadline_ms, home, epoch, trace: _ } = envelope();
        let mut headers = HeaderMap::new();
        let older = Older { id, address, secure, deadline_ms, home, epoch };
        put(&mut headers, ENVELOPE, ENVELOPE_FORMAT, &older);
        assert_eq!(Envelope::take(&mut headers), Some(Envelope { trace: None, ..envelope() }));
    }

    #[test]
    fn what_is_malformed_is_no_envelope_and_an_unknown_outcome() {
        for bad in ["", "AA", "!!", "AQ", "kYGoCg"] {
            let mut headers = HeaderMap::new();
            headers.insert(ENVELOPE, HeaderValue::from_static(bad));
            headers.insert(OUTCOME, HeaderValue::from_static(bad));
            assert_eq!(Envelope::take(&mut headers), None, "{bad}");
            assert_eq!(Outcome::take(&mut headers), Outcome::Unknown, "{bad}");
        }
    }

    #[test]
    fn rfc9110_s7_6_1_headers_of_a_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-own, close"),
            ("x-own", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "5"),
            ("cookie", "a=b"),
            ("domicile-peer-envelope", "forged"),
            ("domicile-peer-other", "forged"),
            ("domicile-consistency", "token"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip_hop(&mut headers);
        strip_internal(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cookie", "domicile-consistency"]);
    }
}
