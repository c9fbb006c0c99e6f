//! `ETag` and `If-Match` (RFC 9110 §8.8.3, §13.1.1): a change for one revision only.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::problem::Problem;

/// The strong entity tag of a stream revision.
pub(super) fn etag(revision: u64) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{revision}\"")).ok()
}

/// The revision that `If-Match` asks for; `None` without one and for `*`.
///
/// # Errors
/// 412 for tags that are not ours, since none of them can match; 400 for more than one, since a change
/// is checked against one revision.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut sent = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| Problem::bad_request("`If-Match` is not text"))?.trim();
    if sent.next().is_some() || text.contains(',') {
        return Err(Problem::bad_request("`If-Match` takes one entity tag"));
    }
    if text == "*" {
        return Ok(None);
    }
    let opaque = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = opaque.filter(|opaque| opaque.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .map(Some)
        .ok_or_else(|| super::error::precondition_failed(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_s13_1_1_one_strong_tag_or_a_star() {
        let cases = [
            (None, Ok(None)),
            (Some("*"), Ok(None)),
            (Some("\"7\""), Ok(Some(7))),
            (Some("W/\"7\""), Err(412)),
            (Some("7"), Err(412)),
            (Some("\"x\""), Err(412)),
            (Some("\"7\", \"8\""), Err(400)),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert(header::IF_MATCH, sent.parse().unwrap());
            }
            assert_eq!(if_match(&headers).map_err(|problem| problem.status().as_u16()), expected, "{sent:?}");
        }
    }
}
