//! Which pages may read what by script (Fetch Standard §3.2): a client's own, at the endpoints that its code
//! calls, and never with cookies.
//!
//! A preflight names no client, so it is answered by whether any client of the tenant has such a page; what may
//! then be read is said by the client that the request turned out to be of. The authorization endpoint and the
//! pages are for people, not for scripts: nothing is ever added there.

use std::collections::BTreeSet;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domicile_iam::model::ClientView;

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
/// Bytes of an origin that is looked up.
const ORIGIN_BYTES_MAX: usize = 512;

/// Who may read an answer; goes with it to [`add`].
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

/// OPTIONS, where a form is posted.
pub async fn preflight_post(state: State<PublicState>, slug: Path<String>, headers: HeaderMap) -> Response {
    preflight(&state, &slug, &headers, "POST").await
}

/// OPTIONS at the userinfo endpoint.
pub async fn preflight_userinfo(
    state: State<PublicState>,
    slug: Path<String>,
    headers: HeaderMap,
) -> Response {
    preflight(&state, &slug, &headers, "GET, POST").await
}

/// OPTIONS at the client configuration endpoint.
pub async fn preflight_management(
    state: State<PublicState>,
    Path((slug, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    preflight(&state, &slug, &headers, "GET, PUT, DELETE").await
}

/// OPTIONS at the registration endpoint: who registers has no pages here yet.
pub async fn preflight_registration(
    State(state): State<PublicState>,
    Path(slug): Path<String>,
    headers: HeaderMap,
) -> Response {
    let tenant = tenant::serving(&state, &slug).await;
    let open = tenant.is_ok_and(|tenant| !tenant.settings.registration.is_closed());
    allowed(origin(&headers).filter(|_| open), "POST")
}

async fn preflight(state: &PublicState, slug: &str, headers: &HeaderMap, methods: &'static str) -> Response {
    let Some(origin) = origin(headers) else { return allowed(None, methods) };
    match is_known(state, slug, origin).await {
        Ok(known) => allowed(Some(origin).filter(|_| known), methods),
        Err(fault) => super::error::ApiError::from(fault).into_response(),
    }
}

fn allowed(origin: Option<&str>, methods: &'static str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) else { return response };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_S);
    response
}

/// Says which page may read the answer of an endpoint for clients' code. An error from before the client was
/// known may be read by every page of the tenant's clients, so that their code learns what is wrong.
pub async fn add(State(state): State<PublicState>, request: Request, next: Next) -> Response {
    let is_preflight = request.method() == axum::http::Method::OPTIONS;
    let origin = origin(request.headers()).map(str::to_owned);
    let slug = request.uri().path().split('/').nth(2).unwrap_or_default().to_owned();
    let mut response = next.run(request).await;
    if is_preflight {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    let readable = match response.extensions().get::<Readers>() {
        Some(Readers::Of(origins)) => origins.contains(&origin),
        Some(Readers::Whoever) => true,
        None if response.status().is_success() => false,
        None => is_known(&state, &slug, &origin).await.unwrap_or(false),
    };
    if let Some(origin) = HeaderValue::from_str(&origin).ok().filter(|_| readable) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
    response
}
