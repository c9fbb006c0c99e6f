//! What is done to every request before a handler sees it, and to every answer.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domicile_iam::ids::{Id as _, RequestId};
use domicile_raft::Clock;
use futures::FutureExt as _;
use tracing::Instrument as _;

use super::address::client_address;
use super::connection::PeerAddress;
use super::host::{Hosts, of_this_machine};
use crate::config::{ForwardedHeader, Network};
use crate::problem::Problem;
use crate::telemetry::{HttpMetrics, RequestLabels};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A year, as browsers' preload lists ask for at least.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
const NO_CONTENT_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Settings and shared parts of [`guard`].
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
}

impl<S: Sync> FromRequestParts<S> for RequestScope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(Problem::internal)
    }
}

/// The layer around all routes of the public and admin listeners.
pub async fn guard(State(front): State<Arc<Front>>, mut request: Request, next: Next) -> Response {
    let start = front.clock.monotonic();
    let mut random = [0_u8; 10];
    front.clock.fill_random(&mut random);
    let id = RequestId::new(front.clock.now(), random);
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);

    let hsts = front.secure && !of_this_machine(request.uri(), request.headers());
    let span = tracing::info_span!("request", request_id = %id);
    let mut response = match admit(&front, id, &mut request) {
        Ok(()) => answer(&front, request, next).instrument(span.clone()).await,
        Err(problem) => problem.into_response(),
    };
    harden(response.headers_mut(), hsts, id);

    let status = response.status();
    let elapsed = front.clock.monotonic().saturating_sub(start);
    front.metrics.record(&RequestLabels { route: route.to_owned(), method, status: status.into() }, elapsed);
    let _inside = span.enter();
    log(method, route, status, elapsed);
    response
}

/// Checks what can be said from the head alone, and tells the handler who asks.
fn admit(front: &Front, id: RequestId, request: &mut Request) -> Result<(), Problem> {
    let peer = request.extensions().get::<PeerAddress>().copied().ok_or_else(Problem::internal)?;
    let address =
        client_address(peer.0.ip(), request.headers(), &front.trusted_proxies, front.forwarded_header);
    request.extensions_mut().insert(RequestScope { id, address, secure: front.secure });
    if !front.hosts.serves(request.uri(), request.headers()) {
        return Err(Problem::misdirected());
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > front.body_bytes) {
        return Err(Problem::too_large(front.body_bytes));
    }
    Ok(())
}

/// Runs the handler, within the time limit. A panic ends this request only: handlers hold no lock and
/// no state of their own across a call, and what they asked of a partition stands or falls there.
async fn answer(front: &Front, request: Request, next: Next) -> Response {
    let running = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(front.request_timeout, running).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => panicked(&panic),
        Err(_) => Problem::unavailable(1).detail("the request took too long").into_response(),
    }
}

/// The panic hook has logged place and message; this line ties them to the request.
fn panicked(_panic: &(dyn Any + Send)) -> Response {
    tracing::error!("a handler panicked; answered with 500");
    Problem::internal().into_response()
}

/// No `Cross-Origin-Opener-Policy`: it would cut the opener of a login in a pop-up window.
fn harden(headers: &mut HeaderMap, hsts: bool, id: RequestId) {
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry("cross-origin-resource-policy").or_insert(HeaderValue::from_static("same-origin"));
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
