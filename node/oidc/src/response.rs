//! An HTTP answer that the caller only has to copy.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

/// Bytes of most bodies. Allocators have blocks up to about this size at hand; longer ones cost more.
const BODY_BYTES: usize = 1_024;

/// Status, headers and body. Header names are lowercase.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header fields; each name at most once.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body; may hold tokens.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({}, {} bytes)", self.status, self.body.len())
    }
}

impl Response {
    /// JSON that nobody may cache (RFC 6749 §5.1).
    pub fn json(status: u16, body: &Value) -> Self {
        Self::private_json(status, body.to_string().into_bytes())
    }

    /// As [`Response::json`], written as it is serialised.
    ///
    /// # Errors
    /// What the body's own serialisation says.
    pub fn json_of(status: u16, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        let mut bytes = Vec::with_capacity(BODY_BYTES);
        serde_json::to_writer(&mut bytes, body)?;
        Ok(Self::private_json(status, bytes))
    }

    fn private_json(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: vec![
                ("content-type", "application/json".into()),
                ("cache-control", "no-store".into()),
                ("pragma", "no-cache".into()),
            ],
            body,
        }
    }

    /// JSON that is the same for everybody and may be kept for `max_age_s` seconds.
    pub fn public_json(body: &Value, max_age_s: u32) -> Self {
        Self {
            status: 200,
            headers: vec![
                ("content-type", "application/json".into()),
                ("cache-control", format!("public, max-age={max_age_s}").into()),
                ("access-control-allow-origin", "*".into()),
            ],
            body: body.to_string().into_bytes(),
        }
    }

    /// No body, not cached.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: vec![("cache-control", "no-store".into()), ("pragma", "no-cache".into())],
            body: Vec::new(),
        }
    }

    /// 303, so that a POST is not repeated at the target (RFC 9700 §4.12).
    pub fn see_other(location: String) -> Self {
        let mut response = Self::empty(303);
        response.headers.push(("location", location.into()));
        response
    }

    /// This answer with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }
}
