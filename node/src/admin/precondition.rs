//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110 §8.8.3, §13.1): a change for some revisions only, and a read of
//! what is not had already.
//!
//! Handlers check one revision, with the change itself. What else can be asked for is brought to that here:
//! several revisions are tried one after the other, and what must not be there is looked at first.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::error::precondition_failed;
use super::request::in_time;
use super::state::AdminState;
use crate::problem::Problem;

/// Revisions that one request may name: each is tried.
const REVISIONS_MAX: usize = 16;

/// The strong entity tag of a stream revision.
pub(super) fn etag(revision: u64) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{revision}\"")).ok()
}

/// The revision that `If-Match` asks for; `None` without one and for `*`. Of several the lowest:
/// [`conditional`] leaves one.
///
/// # Errors
/// 400 for what is no list of entity tags, 412 for tags that are not ours, since none of them can match.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(revisions) = revisions(headers)? else { return Ok(None) };
    revisions.first().copied().map(Some).ok_or_else(|| precondition_failed(None))
}

/// The revisions that `If-Match` allows; `None` where it allows any.
fn revisions(headers: &HeaderMap) -> Result<Option<BTreeSet<u64>>, Problem> {
    let revisions = match Tags::sent(headers, &header::IF_MATCH)? {
        None | Some(Tags::Any) => return Ok(None),
        Some(Tags::Listed(tags)) => tags.iter().filter_map(Tag::revision).collect::<BTreeSet<u64>>(),
    };
    if revisions.len() > REVISIONS_MAX {
        return Err(Problem::bad_request(format!("`If-Match` names more than {REVISIONS_MAX} revisions")));
    }
    Ok(Some(revisions))
}

/// What one of the two headers names.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    /// `*`.
    Any,
    Listed(Vec<Tag>),
}

/// An entity tag.
#[derive(Debug, PartialEq, Eq)]
struct Tag {
    is_weak: bool,
    opaque: Vec<u8>,
}

impl Tag {
    /// By strong comparison (RFC 9110 §8.8.3.2): ours are strong.
    fn revision(&self) -> Option<u64> {
        let is_ours = !self.is_weak && self.opaque.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(&self.opaque).ok().filter(|_| is_ours)?.parse().ok()
    }

    /// The tag that `text` begins with, and what follows: nothing, or a comma.
    fn first(text: &[u8]) -> Option<(Self, &[u8])> {
        let strong = text.strip_prefix(b"W/");
        let quoted = strong.unwrap_or(text).strip_prefix(b"\"")?;
        let (opaque, rest) = quoted.split_at_checked(quoted.iter().position(|byte| *byte == b'"')?)?;
        let rest = rest.get(1..)?.trim_ascii_start();
        let is_well_formed = opaque.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        let tag = Self { is_weak: strong.is_some(), opaque: opaque.to_vec() };
        (is_well_formed && (rest.is_empty() || rest.starts_with(b","))).then_some((tag, rest))
    }
}

impl Tags {
    /// Those of the header `name`, on one line or several; `None` without it.
    fn sent(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        if !headers.contains_key(name) {
            return Ok(None);
        }
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let malformed = || Problem::bad_request(format!("`{name}` is neither `*` nor a list of entity tags"));
        Self::parse(&lines.join(&b","[..])).map(Some).ok_or_else(malformed)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut rest = text.trim_ascii();
        if rest == b"*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        // Elements may be empty (RFC 9110 §5.6.1.2).
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(b",") {
                rest = after.trim_ascii_start();
                continue;
            }
            let (tag, after) = Tag::first(rest)?;
            tags.push(tag);
            rest = after;
        }
        (!tags.is_empty()).then_some(Self::Listed(tags))
    }

    /// Whether `current` is among them, by weak comparison (RFC 9110 §13.1.2).
    fn hold(&self, current: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => Tag::first(current.as_bytes())
                .is_some_and(|(current, _)| tags.iter().any(|tag| tag.opaque == current.opaque)),
        }
    }
}

/// Around all routes: brings conditions to what handlers check, and answers those of reads.
pub(super) async fn conditional(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !headers.contains_key(header::IF_NONE_MATCH) && !headers.contains_key(header::IF_MATCH) {
        return next.run(request).await;
    }
    let is_read = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let answered = if is_read { read(request, next).await } else { write(&state, request, next).await };
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// 304 for whoever has it as it is (RFC 9110 §13.1.2).
async fn read(request: Request, next: Next) -> Result<Response, Problem> {
    let had = Tags::sent(request.headers(), &header::IF_NONE_MATCH)?;
    let response = next.run(request).await;
    let current = response.headers().get(header::ETAG).filter(|_| response.status() == StatusCode::OK);
    let is_had = current.is_some_and(|current| had.is_some_and(|had| had.hold(current)));
    if !is_had {
        return Ok(response);
    }
    let (mut parts, _unsent) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::empty()))
}

async fn write(state: &AdminState, request: Request, next: Next) -> Result<Response, Problem> {
    let revisions = revisions(request.headers())?;
    match Tags::sent(request.headers(), &header::IF_NONE_MATCH)? {
        Some(unwanted) => unless(state, &unwanted, revisions, request, &next).await,
        None => match revisions {
            Some(revisions) if revisions.len() > 1 => one_of(state, &revisions, request, &next).await,
            Some(_) | None => Ok(next.run(request).await),
        },
    }
}

/// The change of what is there, if that is none of the unwanted revisions and one of those wanted. Asked for at a
/// revision that nothing has, the handler says which there is, or what else keeps it from changing anything.
async fn unless(
    state: &AdminState,
    unwanted: &Tags,
    wanted: Option<BTreeSet<u64>>,
    request: Request,
    next: &Next,
) -> Result<Response, Problem> {
    // What a POST makes is not what its path names.
    if *request.method() == Method::POST {
        return Err(Problem::bad_request("`If-None-Match` is not offered here"));
    }
    let (mut parts, body) = request.into_parts();
    let body = in_time(body, state.body_bytes_max, state.write_deadline).await?;
    parts.headers.remove(header::IF_NONE_MATCH);
    let mut asked = parts.clone();
    asked.headers.insert(header::IF_MATCH, HeaderValue::from_static("\"0\""));
    let refused = next.clone().run(Request::from_parts(asked, Body::from(body.clone()))).await;
    if refused.status() != StatusCode::PRECONDITION_FAILED {
        return Ok(refused);
    }
    let (head, said) = refused.into_parts();
    let said = in_time(said, state.body_bytes_max, state.write_deadline).await?;
    let current =
        serde_json::from_slice::<Value>(&said).ok().and_then(|said| said["current_revision"].as_u64());
    let tag = current.and_then(etag).filter(|current| !unwanted.hold(current));
    match (current, tag) {
        (Some(current), Some(tag)) if wanted.is_none_or(|wanted| wanted.contains(&current)) => {
            parts.headers.insert(header::IF_MATCH, tag);
            Ok(next.clone().run(Request::from_parts(parts, Body::from(body))).await)
        }
        (_, _) => Ok(Response::from_parts(head, Body::from(said))),
    }
}

/// The change at whichever of `revisions` it meets. Revisions only grow: tried in their order, none that is
/// there is missed.
async fn one_of(
    state: &AdminState,
    revisions: &BTreeSet<u64>,
    request: Request,
    next: &Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = in_time(body, state.body_bytes_max, state.write_deadline).await?;
    let mut answer = precondition_failed(None).into_response();
    for tag in revisions.iter().filter_map(|revision| etag(*revision)) {
        let mut parts = parts.clone();
        parts.headers.insert(header::IF_MATCH, tag);
        answer = next.clone().run(Request::from_parts(parts, Body::from(body.clone()))).await;
        if answer.status() != StatusCode::PRECONDITION_FAILED {
            break;
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn rfc9110_s13_1_1_a_list_of_tags_or_a_star() {
        let cases = [
            (vec![], Ok(None)),
            (vec!["*"], Ok(None)),
            (vec!["\"7\""], Ok(Some(vec![7]))),
            (vec!["\"99\", \"1\""], Ok(Some(vec![1, 99]))),
            (vec!["\"99\"", "\"1\""], Ok(Some(vec![1, 99]))),
            (vec![", \"7\" ,,"], Ok(Some(vec![7]))),
            (vec!["\"a,b\", \"7\", W/\"8\""], Ok(Some(vec![7]))),
            (vec!["W/\"7\""], Ok(Some(vec![]))),
            (vec!["\"x\""], Ok(Some(vec![]))),
            (vec!["7"], Err(400)),
            (vec!["foo"], Err(400)),
            (vec!["\"7"], Err(400)),
            (vec!["\"7\" \"8\""], Err(400)),
            (vec!["*, \"7\""], Err(400)),
            (vec![""], Err(400)),
        ];
        for (lines, expected) in cases {
            let found = revisions(&sent(&lines)).map_err(|problem| problem.status().as_u16());
            let expected = expected.map(|named| named.map(BTreeSet::from_iter));
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn tags_that_are_not_ours_match_nothing_and_many_are_refused() {
        let refused = |headers: &HeaderMap| if_match(headers).map_err(|problem| problem.status().as_u16());
        assert_eq!(refused(&sent(&["\"x\""])), Err(412));
        assert_eq!(refused(&sent(&["\"7\""])), Ok(Some(7)));
        let many: Vec<String> = (0..=REVISIONS_MAX).map(|revision| format!("\"{revision}\"")).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, many.join(", ").parse().unwrap());
        assert_eq!(refused(&headers), Err(400));
    }

    #[test]
    fn rfc9110_s13_1_2_what_is_had_is_compared_weakly() {
        let current = etag(7).unwrap();
        for (text, expected) in [
            ("*", true),
            ("\"7\"", true),
            ("W/\"7\"", true),
            ("\"6\", \"7\"", true),
            ("\"6\"", false),
            ("W/\"77\"", false),
        ] {
            assert_eq!(Tags::parse(text.as_bytes()).unwrap().hold(&current), expected, "{text}");
        }
    }
}
