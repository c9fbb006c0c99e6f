//! What a handler takes from a request beside its body's meaning.

use std::future::Future;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Path, Request};
use axum::http::Method;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::request::Parts;
use bytes::BytesMut;
use domicile_iam::execute::{Actor, ConsistencyToken, IdempotencyKey, RequestContext};
use domicile_iam::ids::{Id, TenantId};
use domicile_iam::proposal::ActorRef;
use domicile_iam::query::Consistency;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::CONSISTENCY;
use super::auth::Operator;
use super::members::Members;
use super::precondition;
use super::state::AdminState;
use crate::problem::Problem;
use crate::public::is_uncoded;
use crate::serve::RequestScope;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Of `User-Agent`; it goes into events.
const AGENT_CHARS_MAX: usize = 256;

/// The parameters of the path. An extractor.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // Only text that is not UTF-8 is refused here: nothing has such a name.
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(names)| Self(names))
            .map_err(|_| Problem::not_found())
    }
}

/// The id that a path names.
///
/// # Errors
/// 404 for text that is no id of this kind, since nothing has it.
pub(super) fn parse_id<I: Id>(text: &str) -> Result<I, Problem> {
    text.parse().map_err(|_| Problem::not_found().detail(format!("not a `{}` id", I::PREFIX)))
}

/// How fresh a read must be: `Domicile-Consistency` of a write, else linearizable. An extractor.
pub(super) struct Fresh(pub(super) Consistency);

impl<S: Sync> FromRequestParts<S> for Fresh {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(CONSISTENCY) else { return Ok(Self(Consistency::Linearizable)) };
        let token = value.to_str().ok().and_then(|text| text.parse::<ConsistencyToken>().ok());
        token
            .map(|token| Self(Consistency::AtLeast(token)))
            .ok_or_else(|| Problem::bad_request("`Domicile-Consistency` is not a token of ours"))
    }
}

/// A request that changes something. An extractor; reads the body.
pub(super) struct Write {
    scope: RequestScope,
    operator: ActorRef,
    path: String,
    agent: Option<String>,
    idempotency: Option<IdempotencyKey>,
    deadline: Duration,
    is_json: bool,
    is_patch: bool,
    body: Bytes,
    /// The revision the caller wants to change.
    pub(super) if_revision: Option<u64>,
}

impl FromRequest<AdminState> for Write {
    type Rejection = Problem;

    // Written out because the trait asks for a future that is `Send` whatever the body is.
    fn from_request(
        request: Request,
        state: &AdminState,
    ) -> impl Future<Output = Result<Self, Problem>> + Send {
        read(request, state.body_bytes_max, state.write_deadline)
    }
}

async fn read(request: Request, body_bytes_max: usize, deadline: Duration) -> Result<Write, Problem> {
    let (mut parts, body) = request.into_parts();
    let scope = RequestScope::from_request_parts(&mut parts, &()).await?;
    let Some(Operator(operator)) = parts.extensions.remove::<Operator>() else {
        return Err(Problem::internal());
    };
    let if_revision = precondition::if_match(&parts.headers)?;
    let key = idempotency_key(&parts.headers)?;
    if !is_uncoded(&parts.headers) {
        return Err(super::error::unsupported_coding());
    }
    let deadline = deadline.min(scope.deadline);
    let body = in_time(body, body_bytes_max, deadline).await?;
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(uri)| uri);
    let target = uri.path_and_query().map_or_else(|| uri.path(), |target| target.as_str());
    let request_hash = request_hash(parts.method.as_str(), target, &body);
    Ok(Write {
        scope,
        operator,
        path: uri.path().trim_end_matches('/').to_owned(),
        agent: agent(&parts.headers),
        idempotency: key.map(|key| IdempotencyKey { key, request_hash }),
        deadline,
        is_json: is_json(&parts.headers),
        is_patch: parts.method == Method::PATCH,
        body,
        if_revision,
    })
}

impl Write {
    /// What a command on `tenant` runs under.
    pub(super) fn context(&self, tenant: TenantId) -> RequestContext {
        RequestContext {
            tenant,
            actor: Actor { who: self.operator.clone(), key: None, name: None },
            request_id: self.scope.id,
            idempotency: self.idempotency.clone(),
            deadline: self.deadline,
            address: Some(self.scope.address.to_string()),
            agent: self.agent.clone(),
        }
    }

    /// What a command that makes a tenant runs under: there is none yet.
    pub(super) fn context_without_tenant(&self) -> RequestContext {
        self.context(TenantId::from_bytes([0; 16]))
    }

    /// Refuses `If-Match` where nothing has an entity tag: ignoring it would not be what was asked for.
    ///
    /// # Errors
    /// 400.
    pub(super) fn unconditional(&self) -> Result<(), Problem> {
        match self.if_revision {
            Some(_) => Err(Problem::bad_request("`If-Match` is not offered here")),
            None => Ok(()),
        }
    }

    /// Where a thing made here in a collection is from now on.
    pub(super) fn location(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// The body's members.
    ///
    /// # Errors
    /// 415 if it is not said to be JSON, 400 if it is not a JSON object.
    pub(super) fn members(&self) -> Result<Members, Problem> {
        if !self.is_json {
            return Err(super::error::unsupported_media_type(self.is_patch));
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(Members::new(object)),
            Ok(_) => Err(Problem::bad_request("the body is not a JSON object")),
            Err(cause) => {
                let place = format!("the body is not JSON: line {}, column {}", cause.line(), cause.column());
                Err(Problem::bad_request(place))
            }
        }
    }

    /// The body's members; an absent body is an empty object.
    ///
    /// # Errors
    /// As [`Write::members`].
    pub(super) fn members_if_any(&self) -> Result<Members, Problem> {
        if self.body.is_empty() { Ok(Members::new(serde_json::Map::new())) } else { self.members() }
    }
}

/// The whole body, if it is here within `within`.
///
/// # Errors
/// 408, 413, 400 for one that was cut.
pub(super) async fn in_time(body: Body, bytes_max: usize, within: Duration) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(within, bounded(body, bytes_max)).await;
    read.unwrap_or_else(|_| Err(Problem::body_too_slow()))
}

async fn bounded(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("the body ended early"))?;
        if whole.len() + chunk.len() > bytes_max {
            return Err(Problem::too_large(u64::try_from(bytes_max).unwrap_or(u64::MAX)));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut sent = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    let fits = |text: &&str| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len());
    match (value.to_str().ok().filter(fits), sent.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        (_, _) => Err(Problem::bad_request("`Idempotency-Key` is not one text of 1 to 255 ASCII characters")),
    }
}

/// Lengths first, so that no two requests hash the same bytes.
fn request_hash(method: &str, target: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [method.as_bytes(), target.as_bytes(), body] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    bytes
}

fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = sent.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(AGENT_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_hash_tells_parts_apart() {
        let hash = request_hash("POST", "/v1/tenants", b"{}");
        assert_eq!(hash, request_hash("POST", "/v1/tenants", b"{}"));
        for other in
            [("POST", "/v1/tenants{", "}"), ("PATCH", "/v1/tenants", "{}"), ("POST", "/v1/tenants", "{} ")]
        {
            assert_ne!(hash, request_hash(other.0, other.1, other.2.as_bytes()), "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_bound_is_413_whatever_its_head_said() {
        let read = async |chunks: &[&'static str], bytes_max| {
            let chunks: Vec<Result<_, std::io::Error>> = chunks.iter().map(|chunk| Ok(*chunk)).collect();
            let read = bounded(Body::from_stream(futures::stream::iter(chunks)), bytes_max).await;
            read.map_err(|problem| problem.status().as_u16())
        };
        assert_eq!(read(&["12345", "67890"], 10).await, Ok(Bytes::from_static(b"1234567890")));
        assert_eq!(read(&["12345", "67890", "1"], 10).await, Err(413));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_408() {
        let stuck = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let read = in_time(stuck, 10, Duration::from_secs(4)).await;
        assert_eq!(read.map_err(|problem| problem.status().as_u16()), Err(408));
        assert_eq!(in_time(Body::from("here"), 10, Duration::from_secs(4)).await, Ok(Bytes::from("here")));
    }

    #[test]
    fn an_idempotency_key_is_one_bounded_text() {
        let long = "k".repeat(256);
        let cases: [(&[&str], Option<Option<&str>>); 5] = [
            (&[], Some(None)),
            (&["a-b"], Some(Some("a-b"))),
            (&[""], None),
            (&[&long], None),
            (&["a", "b"], None),
        ];
        for (sent, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(IDEMPOTENCY_KEY, value.parse().unwrap());
            }
            assert_eq!(
                idempotency_key(&headers).ok(),
                expected.map(|key| key.map(str::to_owned)),
                "{sent:?}"
            );
        }
    }
}
