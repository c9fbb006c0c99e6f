//! People make accounts for themselves, where their tenant allows it: `prompt=create` (Initiating User Registration
//! via OpenID Connect 1.0), or a button of the login page. The one form here of somebody who is not known that
//! writes, so each try counts against the limits of logins.

use axum::body::Body;
use axum::response::Response;
use domicile_iam::commands::{AuthenticatedUser, CreateUser, PlainPassword};
use domicile_iam::model::{Authentication, ClientView};
use domicile_iam::service::ACR_PASSWORD;
use domicile_oidc::Form;
use domicile_oidc::authorize::Prompt;

use super::advance::{Arrival, Pending, advance, client, too_long};
use super::context::Caller;
use super::enrol::{self, Failed};
use super::error::{self, Fault, PageError};
use super::interaction::{Interaction, Purpose};
use super::login;
use super::visit::Visit;
use crate::pages::EnrolError;

/// Bytes of a field that are looked at; the domain's own bounds are lower.
const FIELD_MAX: usize = 4096;

/// The page, for a request that waits.
pub async fn show(visit: &Visit, pending: &Pending, client: &ClientView) -> Result<Response, PageError> {
    let session = pending.account.as_ref().map(|account| account.session.id);
    let interaction = Interaction { request: pending.request.clone(), progress: pending.progress, session };
    let Some(hidden) = visit.seal(Purpose::Register, &interaction)? else {
        return too_long(visit, &pending.request).await;
    };
    let hinted = pending.request.login_hint.as_deref().unwrap_or_default();
    Ok(visit.register_page(&pending.request, client, &hidden, hinted, None))
}

/// The form was sent.
pub async fn post(visit: Visit, body: Body) -> Response {
    let answered = submit(&visit, body).await;
    visit.answer(answered)
}

async fn submit(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, interaction): (Form, Interaction) = visit.submitted(Purpose::Register, body).await?;
    let Interaction { mut request, mut progress, session } = interaction;
    if form.has("sign_in") || !visit.tenant.settings.self_registration {
        request.prompt.remove(&Prompt::Create);
        let account = visit.account().await?;
        return advance(visit, Pending { request, progress, account }, Arrival::Submitted).await;
    }
    match make(visit, &form).await? {
        Ok((begun, account)) => {
            progress.authenticated = Some(account.session.id);
            let pending = Pending { request, progress, account: Some(account) };
            let response = advance(visit, pending, Arrival::Submitted).await;
            // The account and its session stand, whatever came of the request.
            Ok(visit.with_session(visit.answer(response), &begun))
        }
        Err((error, wait_s)) => {
            let client = client(visit, &request).await?;
            let username = form.get_within("username", FIELD_MAX).ok().flatten().unwrap_or_default();
            let again = Interaction { request, progress, session };
            let hidden = visit.seal(Purpose::Register, &again)?.ok_or(Fault::Internal)?;
            let page = visit.register_page(&again.request, &client, &hidden, username, Some(error));
            Ok(error::retry_after(page, wait_s))
        }
    }
}

type Made = (domicile_iam::commands::NewSession, super::visit::Account);

/// Makes the account, and logs its owner in.
async fn make(visit: &Visit, form: &Form) -> Result<Result<Made, Failed>, Fault> {
    let field = |name| form.get_within(name, FIELD_MAX).ok().flatten().unwrap_or_default();
    let (username, password) = (field("username"), field("password"));
    if password != field("password_again") {
        return Ok(Err((EnrolError::Differ, None)));
    }
    if visit.tenant.settings.terms_uri.is_some() && !form.has("terms") {
        return Ok(Err((EnrolError::Terms, None)));
    }
    // Each try may cost a password hash, and tells whether a name is taken.
    if let Err(problem) = visit.state.limits.login(visit.scope.address, &visit.seals.blind_name(username)) {
        return Ok(Err((EnrolError::TooMany, error::wait_s(problem))));
    }
    let new = CreateUser {
        username: username.to_owned(),
        password: Some(PlainPassword::new(password)),
        ..CreateUser::default()
    };
    let created = visit.state.iam.create_user(&visit.context(Caller::Anonymous), new).await;
    let user = match error::refusal(created)? {
        Ok(written) => written.reply.id,
        Err(refusal) => return Ok(Err(enrol::user_refused(&refusal))),
    };
    let at = visit.state.iam.now(visit.tenant.id)?;
    let authentication = Authentication { method: "pwd".to_owned(), at, acr: ACR_PASSWORD.to_owned() };
    let begun = login::begin_session(visit, AuthenticatedUser { user, authentication }).await?;
    // Made, and disabled or erased in the same moment.
    Ok(begun.map_err(|_| (EnrolError::Busy, None)))
}
