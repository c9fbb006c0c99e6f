//! The layer around all routes of a node in a cluster, behind the guard.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request};
use axum::response::Response;
use domicile_iam::query::QueryError;
use domicile_raft::PartitionId;
use tower::{Layer, Service};

use super::class::{self, Class, Endpoint};
use super::envelope::strip_internal;
use super::forwarder::{Forwarder, Trip};
use super::here::Held;
use super::places::Target;
use super::problems;
use crate::problem::Problem;
use crate::serve::RequestScope;

/// Puts forwarding around routes.
#[derive(Clone)]
pub(crate) struct Forwarding(pub(crate) Arc<Forwarder>);

impl<S> Layer<S> for Forwarding {
    type Service = Forwarded<S>;

    fn layer(&self, inner: S) -> Forwarded<S> {
        Forwarded { forwarder: self.0.clone(), inner }
    }
}

/// A route of a node in a cluster.
#[derive(Clone)]
pub(crate) struct Forwarded<S> {
    forwarder: Arc<Forwarder>,
    inner: S,
}

impl<S> Service<Request> for Forwarded<S>
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
        strip_internal(request.headers_mut());
        let endpoint = endpoint(&request);
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.class != Class::Local) else {
            return Box::pin(self.inner.call(request));
        };
        let (forwarder, inner) = (self.forwarder.clone(), self.inner.clone());
        Box::pin(async move { Ok(answer(&forwarder, endpoint, inner, request).await) })
    }
}

/// What is asked for; `None` for what nobody offers.
pub(crate) fn endpoint(request: &Request) -> Option<&'static Endpoint> {
    let path = request.extensions().get::<MatchedPath>()?;
    class::of(request.method(), path.as_str())
}

/// Whether the tenant's home has a part in the answer.
pub(crate) fn needs_home(class: Class) -> bool {
    match class {
        Class::Bounded | Class::Read | Class::Write => true,
        Class::Documents | Class::Anywhere | Class::Local => false,
    }
}

async fn answer<S>(forwarder: &Forwarder, endpoint: &'static Endpoint, inner: S, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    let Ok(scope) = RequestScope::from_request_parts(&mut parts, &()).await else {
        return axum::response::IntoResponse::into_response(Problem::internal());
    };
    let target = match target(forwarder, endpoint, &mut parts).await {
        Ok(target) => target,
        Err(response) => return response,
    };
    if endpoint.class == Class::Documents {
        return call(inner, Request::from_parts(parts, body)).await;
    }
    let places = forwarder.places.as_ref();
    let is_outside = |target: &&Target| !target.may_be_handled_in(places.own_region(), places);
    if let Some(target) = target.as_ref().filter(is_outside) {
        return problems::not_in_this_region(target, parts.uri.path());
    }
    let body = match forwarder.whole(body, scope.arrived).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let held = Held::new(parts, body);
    let run = || call(inner.clone(), held.request(forwarder.rest_of(scope)));
    match target.filter(|_| needs_home(endpoint.class)) {
        Some(target) => {
            let trip = Trip { target: &target, endpoint, held: &held, scope, arrived: scope.arrived };
            forwarder.follow(&trip, run).await
        }
        // The handler asks leaders by itself, or says in its own words that there is no such tenant.
        None => forwarder.alone(endpoint, scope.arrived, run).await,
    }
}

/// Runs the handler.
pub(crate) async fn call<S>(mut inner: S, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let ready = std::future::poll_fn(|cx| inner.poll_ready(cx)).await;
    match ready {
        Ok(()) => match inner.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        Err(never) => match never {},
    }
}

/// The tenant that the path names, or the directory. One that is not known here may be younger than this
/// node's directory. While the directory cannot be asked nobody can say that there is none: a node that
/// just joined has not heard of any.
async fn target(
    forwarder: &Forwarder,
    endpoint: &'static Endpoint,
    parts: &mut axum::http::request::Parts,
) -> Result<Option<Target>, Response> {
    let failed = |error: QueryError| {
        tracing::error!(%error, "a tenant's directory entry cannot be used");
        axum::response::IntoResponse::into_response(Problem::internal())
    };
    if endpoint.is_of_directory() {
        return Ok(Some(Target::directory()));
    }
    let Some(slug) = slug(parts).await else { return Ok(None) };
    let known = forwarder.places.target(&slug).map_err(failed)?;
    if known.is_some() {
        return Ok(known);
    }
    if !forwarder.places.refresh().await {
        return Err(problems::nobody_answers(endpoint, PartitionId::DIRECTORY));
    }
    forwarder.places.target(&slug).map_err(failed)
}

/// The tenant's name, decoded as handlers see it.
pub(crate) async fn slug(parts: &mut axum::http::request::Parts) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let mut named = params.iter().filter(|(name, _)| matches!(*name, "tenant" | "slug"));
    named.next().map(|(_, slug)| slug.to_owned())
}
