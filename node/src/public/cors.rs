//! Which pages may read what by script (Fetch Standard §3.2): a client's own, at the endpoints that its code
//! calls, and never with cookies.
//!
//! A preflight names no client, so it is answered by whether any client of the tenant has such a page; what may
//! then be read is said by the client that the request turned out to be of. The authorization endpoint and the
//! pages are for people, not for scripts: nothing is ever added there.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domicile_iam::model::ClientView;
use tower::{Layer, Service};

use super::error::Fault;
use super::state::PublicState;
use super::tenant;

/// What scripts may send.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, dpop");
/// What they may read besides the body.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static("DPoP-Nonce, WWW-Authenticate, Retry-After");
/// How long a browser may keep a preflight's answer, in seconds: an origin that is taken back is still
/// stopped at the request itself.
const PREFLIGHT_MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");
/// The methods of an endpoint.
#[derive(Clone, Copy)]
struct Methods {
    /// Those that scripts may use.
    of_scripts: &'static str,
    /// All of them, as `Allow` has them on every other answer too.
    all: &'static str,
}

const DOCUMENT: Methods = Methods { of_scripts: "GET", all: "GET,HEAD,OPTIONS" };
const POST: Methods = Methods { of_scripts: "POST", all: "POST,OPTIONS" };
const USERINFO: Methods = Methods { of_scripts: "GET, POST", all: "GET,HEAD,POST,OPTIONS" };
const MANAGEMENT: Methods = Methods { of_scripts: "GET, PUT, DELETE", all: "GET,HEAD,PUT,DELETE,OPTIONS" };

/// Bytes of an origin that is looked up.
const ORIGIN_BYTES_MAX: usize = 512;

/// Who may read an answer; goes with it to [`Cors`].
#[derive(Clone, Debug)]
enum Readers {
    /// These pages.
    Of(BTreeSet<String>),
    /// Whoever asked: nobody was a client yet.
    Whoever,
}

/// `response`, which pages of `client` may read.
#[must_use]
pub fn readable_by(mut response: Response, request: &HeaderMap, client: &ClientView) -> Response {
    if origin(request).is_some() {
        response.extensions_mut().insert(Readers::Of(client.metadata.browser_origins()));
    }
    response
}

/// `response`, which the page that asked may read, whichever it is.
#[must_use]
pub fn readable_by_whoever_asked(mut response: Response) -> Response {
    response.extensions_mut().insert(Readers::Whoever);
    response
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::ORIGIN)?.to_str().ok()?;
    // `null` is the origin of every sandbox: of nobody's pages.
    (text != "null" && text.len() <= ORIGIN_BYTES_MAX).then_some(text)
}

/// Whether any client of the tenant has pages there.
async fn is_known(state: &PublicState, slug: &str, origin: &str) -> Result<bool, Fault> {
    let tenant = tenant::serving(state, slug).await?;
    Ok(state.iam.is_browser_origin(tenant.id, origin)?)
}

/// OPTIONS at documents that everybody may read.
pub async fn preflight_document() -> Response {
    allowed(Some("*"), DOCUMENT)
}

/// OPTIONS, where a form is posted.
pub async fn preflight_post(state: State<PublicState>, slug: Path<String>, headers: HeaderMap) -> Response {
    preflight(&state, &slug, &headers, POST).await
}

/// OPTIONS at the userinfo endpoint.
pub async fn preflight_userinfo(
    state: State<PublicState>,
    slug: Path<String>,
    headers: HeaderMap,
) -> Response {
    preflight(&state, &slug, &headers, USERINFO).await
}

/// OPTIONS at the client configuration endpoint.
pub async fn preflight_management(
    state: State<PublicState>,
    Path((slug, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    preflight(&state, &slug, &headers, MANAGEMENT).await
}

/// OPTIONS at the registration endpoint: who registers has no pages here yet.
pub async fn preflight_registration(
    State(state): State<PublicState>,
    Path(slug): Path<String>,
    headers: HeaderMap,
) -> Response {
    let tenant = tenant::serving(&state, &slug).await;
    let open = tenant.is_ok_and(|tenant| !tenant.settings.registration.is_closed());
    allowed(origin(&headers).filter(|_| open), POST)
}

async fn preflight(state: &PublicState, slug: &str, headers: &HeaderMap, methods: Methods) -> Response {
    let Some(origin) = origin(headers) else { return allowed(None, methods) };
    match is_known(state, slug, origin).await {
        Ok(known) => allowed(Some(origin).filter(|_| known), methods),
        Err(fault) => super::error::ApiError::from(fault).into_response(),
    }
}

fn allowed(origin: Option<&str>, methods: Methods) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(methods.all));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) else { return response };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods.of_scripts));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_S);
    response
}

/// The layer that says which page may read the answer of an endpoint for clients' code. An error from before the
/// client was known may be read by every page of the tenant's clients, so that their code learns what is wrong.
///
/// A service of its own rather than axum's `from_fn`, as [`crate::serve::Guard`] is, and for the same reason.
#[derive(Clone)]
pub struct CorsLayer(pub PublicState);

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    fn layer(&self, inner: S) -> Cors<S> {
        Cors { state: self.0.clone(), inner }
    }
}

/// A service behind [`CorsLayer`].
#[derive(Clone)]
pub struct Cors<S> {
    state: PublicState,
    inner: S,
}

impl<S> Service<Request> for Cors<S>
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

    fn call(&mut self, request: Request) -> Self::Future {
        let is_preflight = request.method() == Method::OPTIONS;
        let page = origin(request.headers()).map(|origin| Page {
            origin: origin.to_owned(),
            slug: request.uri().path().split('/').nth(2).unwrap_or_default().to_owned(),
        });
        let (state, running) = (self.state.clone(), self.inner.call(request));
        Box::pin(async move {
            let response = running.await?;
            Ok(if is_preflight { response } else { add(&state, page, response).await })
        })
    }
}

/// A page that asks by script.
struct Page {
    origin: String,
    /// The tenant's, as the path names it.
    slug: String,
}

async fn add(state: &PublicState, page: Option<Page>, mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(Page { origin, slug }) = page else { return response };
    let readable = match response.extensions().get::<Readers>() {
        Some(Readers::Of(origins)) => origins.contains(&origin),
        Some(Readers::Whoever) => true,
        None if response.status().is_success() => false,
        None => is_known(state, &slug, &origin).await.unwrap_or(false),
    };
    if let Some(origin) = HeaderValue::from_str(&origin).ok().filter(|_| readable) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
    response
}
