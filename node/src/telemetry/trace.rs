//! The trace that a request is part of (W3C Trace Context, Recommendation of 23 November 2021, §3.2): taken from
//! whoever calls, named in log lines, and sent on to the node that answers. None is begun here: the request id ties
//! a request's lines together anyway.

use std::fmt;
use std::str::FromStr;

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use serde::{Deserialize, Serialize};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Characters of version 00; later versions may have more after them.
const LENGTH: usize = 55;

/// What `traceparent` says. It comes from anybody: it names lines, and decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    id: [u8; 16],
    parent: [u8; 8],
    flags: u8,
}

impl Trace {
    /// The trace that a request names: once, and as the recommendation has it.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let (first, second) = (given.next()?, given.next());
        first.to_str().ok().filter(|_| second.is_none())?.parse().ok()
    }

    /// 32 digits that all lines of the trace share.
    #[must_use]
    pub fn id(&self) -> impl fmt::Display {
        Hex(self.id)
    }
}

/// Not a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a `traceparent` of the W3C's")]
pub struct ParseTraceError;

impl FromStr for Trace {
    type Err = ParseTraceError;

    fn from_str(text: &str) -> Result<Self, ParseTraceError> {
        let (known, more) = text.split_at_checked(LENGTH).ok_or(ParseTraceError)?;
        let mut parts = known.split('-');
        let mut part = || parts.next().ok_or(ParseTraceError);
        let ([version], id, parent, [flags]) =
            (bytes::<1>(part()?)?, bytes::<16>(part()?)?, bytes::<8>(part()?)?, bytes::<1>(part()?)?);
        let ends = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        if ends && id != [0; 16] && parent != [0; 8] {
            Ok(Self { id, parent, flags })
        } else {
            Err(ParseTraceError)
        }
    }
}

/// As many bytes, in lower-case digits.
fn bytes<const N: usize>(text: &str) -> Result<[u8; N], ParseTraceError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(ParseTraceError);
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(ParseTraceError),
            };
            *byte = (*byte << 4) | value;
        }
    }
    Ok(out)
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", Hex(self.id), Hex(self.parent), self.flags)
    }
}

struct Hex<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn w3c_trace_context_s3_2_a_traceparent_is_taken_as_it_is_written() {
        let trace: Trace = GIVEN.parse().unwrap();
        assert_eq!(trace.to_string(), GIVEN);
        assert_eq!(trace.id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let later = GIVEN.replacen("00-", "cc-", 1) + "-what-the-future-holds";
        assert_eq!(later.parse::<Trace>().unwrap().id().to_string(), trace.id().to_string());
    }

    #[test]
    fn w3c_trace_context_s3_2_2_what_is_malformed_names_no_trace() {
        for bad in [
            String::new(),
            "00".to_owned(),
            GIVEN.to_uppercase(),
            GIVEN.replacen("00-", "ff-", 1),
            GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            GIVEN.replace("00f067aa0ba902b7", "0000000000000000"),
            GIVEN.replace('-', "_"),
            format!("{GIVEN}-more"),
            GIVEN.replacen("00-", "cc-", 1) + "more",
            GIVEN.replace('4', "g"),
            GIVEN.replace('4', "ä"),
        ] {
            assert_eq!(bad.parse::<Trace>(), Err(ParseTraceError), "{bad}");
        }
    }

    #[test]
    fn a_request_that_names_two_traces_is_part_of_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(Trace::of(&headers), None);
        headers.append("traceparent", HeaderValue::from_static(GIVEN));
        assert_eq!(Trace::of(&headers), GIVEN.parse().ok());
        headers.append("traceparent", HeaderValue::from_static(GIVEN));
        assert_eq!(Trace::of(&headers), None);
    }
}
