//! The authorization endpoint (RFC 6749 §3.1; OpenID Connect Core §3.1.2), GET and POST.

use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use domicile_iam::model::{ApplicationType, ClientView};
use domicile_oidc::authorize::{self, AuthorizationRequest, Context, Fatal, Refusal};
use domicile_oidc::flow::{self, Progress};
use domicile_oidc::form::FormError;
use domicile_oidc::{Form, endpoint, par};

use super::advance::{Arrival, Pending, advance};
use super::error::PageError;
use super::visit::Visit;
use super::{answer, body, resources};

/// Bytes of a query that pass everywhere.
pub const QUERY_MAX: usize = 8 << 10;

/// GET: the request is in the query.
pub async fn get(visit: Visit, RawQuery(query): RawQuery) -> Response {
    visit.answer(begin(&visit, query.unwrap_or_default().as_bytes()).await)
}

/// POST: the request is in the body. Browsers send no `SameSite=Lax` cookie with a form of another
/// site, so the session would not be seen; a GET by redirect brings it.
pub async fn post(visit: Visit, body: Body) -> Response {
    let outcome = match body::read(&visit.headers, body).await {
        Ok(bytes) => match to_get(&visit, endpoint::AUTHORIZE, &bytes) {
            Some(redirect) => Ok(redirect),
            None => begin(&visit, &bytes).await,
        },
        Err(error) => Err(error.into()),
    };
    visit.answer(outcome)
}

/// The same request by GET, if it fits into a URL. Only a well-formed one does: its bytes are then
/// those that a query may hold.
pub fn to_get(visit: &Visit, path: &str, form: &Bytes) -> Option<Response> {
    if form.len() > QUERY_MAX || Form::parse(form).is_err() || form.contains(&b'#') {
        return None;
    }
    let query = std::str::from_utf8(form).ok()?;
    Some(answer::see_other(format!("{}?{query}", visit.path(path))))
}

async fn begin(visit: &Visit, form: &[u8]) -> Result<Response, PageError> {
    let form = Form::parse(form).map_err(|error: FormError| Fatal::from(error))?;
    let client_id = authorize::client_id(&form)?;
    let client = visit.state.iam.client(visit.tenant.id, client_id).await?.ok_or(Fatal::UnknownClient)?;
    if client.metadata.application_type == ApplicationType::Native && is_embedded(&visit.headers) {
        return Err(Fatal::Embedded.into());
    }
    let pushed = pushed(visit, &client, &form).await?;
    let (form, reference) = match &pushed {
        Some((form, reference)) => (form, Some(reference)),
        None => (&form, None),
    };
    let keys = visit.state.hint_keys(&visit.tenant, form).await?;
    let context = Context { tenant: &visit.tenant, keys: &keys, now: visit.now, pushed: reference.is_some() };
    let request = match authorize::validate(form, &client, context) {
        Ok(request) => AuthorizationRequest { pushed: reference.cloned(), ..request },
        Err(Refusal::Fatal(fatal)) => return Err(fatal.into()),
        Err(Refusal::Redirect(error)) => return visit.refuse(&client, &error).await,
    };
    if !resources::are_registered(&visit.state, &visit.tenant, &request.resources)? {
        return visit.refuse(&client, &flow::not_registered(&request)).await;
    }
    let account = visit.account().await?;
    advance(visit, Pending { request, progress: Progress::default(), account }, Arrival::Followed).await
}

/// Whether the request comes from an app's own view of the web, as far as that says so: Android's does, others
/// cannot be told from a browser (RFC 8252 §8.12).
fn is_embedded(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.contains("; wv)")
}

/// The request that was pushed before, if this one refers to such a one (RFC 9126 §4), and its reference.
async fn pushed(
    visit: &Visit,
    client: &ClientView,
    form: &Form,
) -> Result<Option<(Form, String)>, PageError> {
    let Some(reference) = par::reference(form) else { return Ok(None) };
    let found = visit.state.iam.pushed_request(visit.tenant.id, client.id, reference).await?;
    let found = found.ok_or(Fatal::PushedRequest)?;
    let form = Form::parse(&found.form).map_err(Fatal::from)?;
    Ok(Some((form, reference.to_owned())))
}
