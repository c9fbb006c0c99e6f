//! What is done to every request before a handler sees it, and to every answer.

use std::any::Any;
use std::borrow::Cow;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use domicile_iam::ids::RequestId;
use domicile_raft::Clock;
use futures::FutureExt as _;
use tower::{Layer, Service};

use super::address::client_address;
use super::connection::PeerAddress;
use super::host::{Hosts, is_named_once, is_well_formed, of_this_machine};
use super::request_ids::RequestIds;
use crate::cluster::forward::{Endpoint, class, outcome_unknown};
use crate::config::{ForwardedHeader, Network};
use crate::problem::Problem;
use crate::telemetry::{HttpMetrics, RequestLabels, Trace, within_request};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A year, as browsers' preload lists ask for at least.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
/// Headers that are added to an answer at most.
pub const HEADERS_ADDED: usize = 6;
const NO_CONTENT_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Settings and shared parts of [`Guard`].
pub struct Front {
    /// Which hosts are answered for.
    pub hosts: Arc<Hosts>,
    /// Whose forwarding headers count.
    pub trusted_proxies: Vec<Network>,
    /// Which of them counts.
    pub forwarded_header: ForwardedHeader,
    /// More in `Content-Length` is 413. Extractors hold the same bound for bodies without one.
    pub body_bytes: u64,
    /// Longer is 503.
    pub request_timeout: Duration,
    /// Whether browsers reach this listener over TLS.
    pub secure: bool,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Where requests are counted.
    pub metrics: HttpMetrics,
}

/// What a handler knows about its request's way here. An extractor.
#[derive(Clone, Copy, Debug)]
pub struct RequestScope {
    /// Made here; none is accepted from outside.
    pub id: RequestId,
    /// The client's address, behind trusted proxies.
    pub address: std::net::IpAddr,
    /// Whether browsers reach this listener over TLS; decides cookie names.
    pub secure: bool,
    /// When the request came to this node, on the monotonic clock.
    pub arrived: Duration,
    /// How much of its time was left when it was handed on: all of it by the guard, less by those who asked
    /// others before.
    pub deadline: Duration,
}

impl<S: Sync> FromRequestParts<S> for RequestScope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(Problem::internal)
    }
}

/// The layer around all routes of the public and admin listeners.
///
/// A service of its own rather than axum's `from_fn`, which boxes each request's way through it several
/// times over.
#[derive(Clone)]
pub struct Guard {
    front: Arc<Front>,
    ids: Arc<RequestIds>,
}

impl Guard {
    /// The guard with these settings.
    pub fn new(front: Front) -> Self {
        let ids = Arc::new(RequestIds::new(front.clock.as_ref()));
        Self { front: Arc::new(front), ids }
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service behind [`Guard`].
#[derive(Clone)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let front = self.guard.front.clone();
        let id = self.guard.ids.next(front.clock.now());
        let arrived = Arrived::now(&front, id, &request);
        let endpoint = arrived.endpoint;
        let trace = Trace::of(request.headers());
        if let Some(trace) = trace {
            request.extensions_mut().insert(trace);
        }
        let admitted = match admit(&front, &arrived, &mut request) {
            Ok(()) => Ok(self.inner.call(request)),
            Err(problem) => Err(refused(problem, request.uri().path())),
        };
        Box::pin(within_request(id, trace, async move {
            let mut response = match admitted {
                Ok(running) => answer(&front, endpoint, running).await,
                Err(refused) => refused,
            };
            arrived.leave(&front, &mut response);
            Ok(response)
        }))
    }
}

/// What is remembered of a request for the end of its answer.
struct Arrived {
    id: RequestId,
    start: Duration,
    method: &'static str,
    /// What is asked for, where it is something that is offered.
    endpoint: Option<&'static Endpoint>,
    /// As it is counted and logged.
    route: Cow<'static, str>,
    hsts: bool,
}

impl Arrived {
    fn now(front: &Front, id: RequestId, request: &Request) -> Self {
        let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let endpoint = matched.and_then(|path| class::of(request.method(), path));
        let route = match (endpoint, matched) {
            (Some(endpoint), _) => Cow::Borrowed(endpoint.path),
            (None, Some(path)) => Cow::Owned(path.to_owned()),
            (None, None) => Cow::Borrowed("unmatched"),
        };
        Self {
            id,
            start: front.clock.monotonic(),
            method: method_label(request.method()),
            endpoint,
            route,
            hsts: front.secure && !of_this_machine(request.uri(), request.headers()),
        }
    }

    /// Completes the answer, counts it and logs it.
    fn leave(self, front: &Front, response: &mut Response) {
        harden(response.headers_mut(), self.hsts, self.id);
        let status = response.status();
        let elapsed = front.clock.monotonic().saturating_sub(self.start);
        let labels = RequestLabels { route: self.route, method: self.method, status: status.into() };
        front.metrics.record(&labels, elapsed);
        log(self.method, &labels.route, status, elapsed);
    }
}

/// Checks what can be said from the head alone, and tells the handler who asks.
fn admit(front: &Front, arrived: &Arrived, request: &mut Request) -> Result<(), Problem> {
    let peer = request.extensions().get::<PeerAddress>().copied().ok_or_else(Problem::internal)?;
    let address =
        client_address(peer.0.ip(), request.headers(), &front.trusted_proxies, front.forwarded_header);
    request.extensions_mut().insert(RequestScope {
        id: arrived.id,
        address,
        secure: front.secure,
        arrived: arrived.start,
        deadline: front.request_timeout,
    });
    if !is_named_once(request.version(), request.headers()) {
        return Err(Problem::bad_request("`Host` must be sent, and once"));
    }
    if !front.hosts.serves(request.uri(), request.headers()) {
        let is_host = is_well_formed(request.headers());
        return Err(if is_host { Problem::misdirected() } else { Problem::bad_request("`Host` is no host") });
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > front.body_bytes) {
        return Err(Problem::too_large(front.body_bytes));
    }
    Ok(())
}

/// In OAuth's words too, where an endpoint of OAuth is asked. Before a body was read nobody is known: any page may
/// read what anybody is told.
fn refused(problem: Problem, path: &str) -> Response {
    let of_oauth = path.starts_with("/t/") && path.split('/').nth(3) == Some("oauth2");
    if !of_oauth || problem.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return problem.into_response();
    }
    let problem =
        problem.with("error", "invalid_request").with("error_description", "the request is too long");
    problem.header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*").into_response()
}

/// Runs the handler, within the time limit. A panic ends this request only: handlers hold no lock and
/// no state of their own across a call, and what they asked of a partition stands or falls there.
async fn answer(
    front: &Front,
    endpoint: Option<&'static Endpoint>,
    running: impl Future<Output = Result<Response, Infallible>> + Send,
) -> Response {
    let running = AssertUnwindSafe(running).catch_unwind();
    match tokio::time::timeout(front.request_timeout, running).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Err(panic)) => panicked(&panic),
        // What a dropped handler had asked of a partition may still come about.
        Err(_) => match endpoint.filter(|endpoint| endpoint.may_write()) {
            Some(endpoint) => outcome_unknown(endpoint),
            None => Problem::unavailable(1).detail("the request took too long").into_response(),
        },
    }
}

/// The panic hook has logged place and message; this line ties them to the request.
fn panicked(_panic: &(dyn Any + Send)) -> Response {
    tracing::error!("a handler panicked; answered with 500");
    Problem::internal().into_response()
}

/// No `Cross-Origin-Opener-Policy`: it would cut the opener of a login in a pop-up window.
fn harden(headers: &mut HeaderMap, hsts: bool, id: RequestId) {
    headers.reserve(HEADERS_ADDED);
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    headers.insert(header::REFERRER_POLICY, NO_REFERRER);
    headers.entry(RESOURCE_POLICY).or_insert(SAME_ORIGIN);
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NO_CONTENT_POLICY);
    if hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

/// One line a request: at `debug` if it went well, so that a busy node does not spend its time on lines
/// that metrics sum up. The route is a template and never holds what was asked for.
fn log(method: &str, route: &str, status: StatusCode, elapsed: Duration) {
    let status_code = status.as_u16();
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if status.is_server_error() {
        tracing::error!(method, route, status = status_code, ms, "answered");
    } else if status.is_client_error() {
        tracing::info!(method, route, status = status_code, ms, "answered");
    } else {
        tracing::debug!(method, route, status = status_code, ms, "answered");
    }
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
