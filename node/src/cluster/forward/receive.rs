//! The layer around all routes for requests that another node forwarded: answered here, or sent back
//! with where to go. Never forwarded again.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use domicile_raft::peer::PeerIdentity;
use tower::{Layer, Service};

use super::class::Endpoint;
use super::envelope::{Envelope, Outcome, strip_internal};
use super::forwarder::{Forwarder, WAY_BACK};
use super::here::Step;
use super::layer::{call, endpoint, needs_home, slug};
use super::places::Target;
use super::problems;
use crate::serve::RequestScope;

/// How a request came here.
#[derive(Clone)]
pub(crate) struct Came {
    pub(crate) from: PeerIdentity,
    pub(crate) envelope: Envelope,
}

/// Puts receiving around routes.
#[derive(Clone)]
pub(crate) struct Receiving(pub(crate) Arc<Forwarder>);

impl<S> Layer<S> for Receiving {
    type Service = Received<S>;

    fn layer(&self, inner: S) -> Received<S> {
        Received { forwarder: self.0.clone(), inner }
    }
}

/// A route as other nodes reach it.
#[derive(Clone)]
pub(crate) struct Received<S> {
    forwarder: Arc<Forwarder>,
    inner: S,
}

impl<S> Service<Request> for Received<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let endpoint = endpoint(&request).filter(|endpoint| needs_home(endpoint.class));
        let came = request.extensions_mut().remove::<Came>();
        let (forwarder, inner) = (self.forwarder.clone(), self.inner.clone());
        Box::pin(async move {
            let (Some(endpoint), Some(came)) = (endpoint, came) else {
                return Ok(said(&Outcome::Elsewhere(None), None));
            };
            Ok(answer(&forwarder, endpoint, &came, inner, request).await)
        })
    }
}

async fn answer<S>(
    forwarder: &Forwarder,
    endpoint: &'static Endpoint,
    came: &Came,
    inner: S,
    request: Request,
) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let arrived = forwarder.clock.monotonic();
    let (mut parts, body) = request.into_parts();
    let target = match slug(&mut parts).await {
        _ if endpoint.is_of_directory() => Some(Target::directory()),
        Some(slug) => target(forwarder, came, &slug).await,
        None => None,
    };
    let Some(target) = target else { return said(&Outcome::Elsewhere(None), None) };
    let places = forwarder.places.as_ref();
    // The other node should know; what it may handle is not its to say.
    if !target.may_be_handled_in(&came.from.region, places) {
        return said(&Outcome::Answered, Some(problems::not_in_this_region(&target, parts.uri.path())));
    }
    let spent = forwarder.clock.monotonic().saturating_sub(arrived);
    let left = came.envelope.deadline().saturating_sub(spent);
    let Envelope { id, address, secure, .. } = came.envelope;
    let deadline = left.saturating_sub(WAY_BACK);
    parts.extensions.insert(RequestScope { id, address, secure, arrived, deadline });
    let run = || call(inner, Request::from_parts(parts, body));
    let step = forwarder.here().answer(&target, endpoint, left, run).await;
    match step {
        Step::Done(response) => said(&Outcome::Answered, Some(response)),
        Step::Elsewhere(leader, response) => said(&Outcome::Elsewhere(leader), response),
        Step::Unconfirmed(response) => said(&Outcome::Unconfirmed, response),
        Step::NotSent => said(&Outcome::Unconfirmed, None),
        Step::Unknown(response) => said(&Outcome::Unknown, response),
    }
}

/// The tenant, as this node's directory has it; the later epoch is right.
async fn target(forwarder: &Forwarder, came: &Came, slug: &str) -> Option<Target> {
    let places = forwarder.places.as_ref();
    let current = |target: &Target| {
        target.epoch > came.envelope.epoch
            || (target.epoch == came.envelope.epoch && target.home == came.envelope.home)
    };
    let known = places.target(slug).ok().flatten().filter(current);
    if known.is_some() || !places.refresh().await {
        return known;
    }
    places.target(slug).ok().flatten().filter(current)
}

/// An answer with what it stands for.
pub(crate) fn said(outcome: &Outcome, response: Option<Response>) -> Response {
    let mut response = response.unwrap_or_else(|| {
        let mut empty = Response::new(Body::empty());
        *empty.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        empty
    });
    strip_internal(response.headers_mut());
    outcome.put(response.headers_mut());
    response
}
