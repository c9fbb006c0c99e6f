//! The end session endpoint (OpenID Connect RP-Initiated Logout 1.0), GET and POST, and its page.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use domicile_iam::streams::session::SessionEndReason;
use domicile_oidc::form::FormError;
use domicile_oidc::logout::{self, Logout, LogoutError};
use domicile_oidc::respond::AuthorizationResponse;
use domicile_oidc::{Form, endpoint};

use super::authorize::to_get;
use super::context::Caller;
use super::error::{self, PageError};
use super::interaction::Purpose;
use super::visit::{Account, Visit};
use super::{answer, body};

/// GET: the request is in the query.
pub async fn get(visit: Visit, RawQuery(query): RawQuery) -> Response {
    visit.answer(begin(&visit, query.unwrap_or_default().as_bytes()).await)
}

/// POST: as GET, once the browser brings its session cookie.
pub async fn post(visit: Visit, body: Body) -> Response {
    let outcome = match body::read(&visit.headers, body).await {
        Ok(bytes) => match to_get(&visit, endpoint::LOGOUT, &bytes) {
            Some(redirect) => Ok(redirect),
            // Another site's form comes without the cookie: nothing here would be about this browser.
            None if !visit.has_session_cookie() => Err(LogoutError::Malformed.into()),
            None => begin(&visit, &bytes).await,
        },
        Err(error) => Err(error.into()),
    };
    visit.answer(outcome)
}

/// The person decided on our page.
pub async fn confirm(visit: Visit, body: Body) -> Response {
    visit.answer(decide(&visit, body).await)
}

async fn begin(visit: &Visit, form: &[u8]) -> Result<Response, PageError> {
    let form = Form::parse(form).map_err(|error: FormError| LogoutError::from(error))?;
    let keys = visit.state.hint_keys(&visit.tenant, &form).await?;
    let request = logout::parse(&form, &visit.tenant.issuer, &keys)?;
    let client = match &request.client_id {
        Some(client_id) => visit.state.iam.client(visit.tenant.id, client_id).await?,
        None => None,
    };
    let account = visit.account().await?;
    let subject = match (&account, &client) {
        (Some(account), Some(client)) => visit.state.subject(&visit.tenant, client, &account.user)?,
        (Some(_) | None, _) => String::new(),
    };
    let present = account.as_ref().map(|account| account.present(&subject));
    let logout = logout::decide(&request, client.as_deref(), present)?;
    if !logout.ask {
        // Nobody is here to ask: with a client of one's own, its ID token would send anybody to its address.
        if let (None, Some(client), Some(location)) = (&account, &client, &logout.return_to)
            && !visit.trusts(client)
        {
            let way = AuthorizationResponse::Redirect(location.clone());
            return Ok(visit.without_session(visit.leave_page(way, None)));
        }
        return end(visit, account.as_ref(), logout.return_to, &request.ui_locales).await;
    }
    let hidden = visit.seal(Purpose::Logout, &logout)?.ok_or(LogoutError::Malformed)?;
    Ok(visit.logout_page(&request.ui_locales, client.as_deref(), &hidden, logout.return_to.as_deref()))
}

async fn decide(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, logout): (Form, Logout) = visit.submitted(Purpose::Logout, body).await?;
    if matches!(form.get("logout"), Ok(None)) {
        return Ok(visit.logged_out_page(&[], false));
    }
    let account = visit.account().await?;
    // Only the session that the page was about.
    let account = account.filter(|account| Some(account.session.id) == logout.session);
    let client = match &logout.registration {
        Some((client_id, _)) => visit.state.iam.client(visit.tenant.id, client_id).await?,
        None => None,
    };
    end(visit, account.as_ref(), logout.return_to_now(client.as_deref()), &[]).await
}

/// Ends the session, then the cookie: never the other way round, or a failure would leave a session
/// that nobody can end.
async fn end(
    visit: &Visit,
    account: Option<&Account>,
    return_to: Option<String>,
    ui_locales: &[String],
) -> Result<Response, PageError> {
    if let Some(Account { session, user }) = account {
        let context = visit.context(Caller::User(user.id));
        let ended = visit.state.iam.end_session(&context, session.id, SessionEndReason::Logout).await;
        // A session that is gone already is as good as ended.
        let _gone = error::refusal(ended)?;
    }
    let response = match return_to {
        Some(location) => answer::see_other(location),
        None => visit.logged_out_page(ui_locales, true),
    };
    Ok(visit.without_session(response))
}
