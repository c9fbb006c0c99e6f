//! The consent page.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use domicile_oidc::{Form, flow};

use super::advance::{Arrival, Pending, advance, client};
use super::device;
use super::error::PageError;
use super::interaction::{Interaction, Purpose};
use super::visit::Visit;
use crate::cookie::OpenError;

/// Shows the page again: after a login, and on a reload.
pub async fn get(visit: Visit, RawQuery(query): RawQuery) -> Response {
    visit.answer(show(&visit, query.unwrap_or_default().as_bytes()).await)
}

async fn show(visit: &Visit, query: &[u8]) -> Result<Response, PageError> {
    let form = Form::parse(query).map_err(|_| OpenError::Foreign)?;
    let interaction: Interaction = visit.open(Purpose::Consent, &form)?;
    let account = visit.account().await?;
    let Some(account) = account.filter(|account| Some(account.session.id) == interaction.session) else {
        // Another session, or none: the way goes on from what is there now.
        let Interaction { request, progress, .. } = interaction;
        let account = visit.account().await?;
        return advance(visit, Pending { request, progress, account }, Arrival::Followed).await;
    };
    let client = client(visit, &interaction.request).await?;
    let sealed = form.get("interaction").ok().flatten().unwrap_or_default().to_owned();
    let hidden = visit.hidden(Purpose::Consent, sealed);
    Ok(visit.consent_page(&interaction.request, &client, &account, &hidden).await)
}

/// The person decided.
pub async fn post(visit: Visit, body: Body) -> Response {
    visit.answer(decide(&visit, body).await)
}

async fn decide(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, interaction): (_, Interaction) = visit.submitted(Purpose::Consent, body).await?;
    let Interaction { request, mut progress, session } = interaction;
    let account = visit.account().await?;
    let same = account.as_ref().is_some_and(|account| Some(account.session.id) == session);
    // A button counts by its name, whatever its value; both at once, or none, is no.
    let pressed = |name| form.has(name);
    if same && (pressed("deny") || !pressed("allow")) {
        let client = client(visit, &request).await?;
        if let (Some(_), Some(account)) = (&request.device, &account) {
            return device::deny(visit, &request, account).await;
        }
        return visit.refuse(&client, &flow::denied(&request)).await;
    }
    if same {
        progress.consented = session;
    }
    advance(visit, Pending { request, progress, account }, Arrival::Submitted).await
}
