//! The login form.

use axum::body::Body;
use axum::response::Response;
use domicile_iam::commands::{AuthenticatedUser, LoginRefusal, NewSession, PlainPassword, SessionRefusal};
use domicile_iam::query::Consistency;
use domicile_oidc::Form;
use domicile_oidc::authorize::Prompt;

use super::advance::{Arrival, Pending, advance, client};
use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::{Interaction, Purpose};
use super::page::LoginState;
use super::visit::{Account, Visit};
use crate::pages::LoginError;
use crate::serve::standing;

/// Bytes of a login name that are looked at: an e-mail address and then some.
const LOGIN_MAX: usize = 512;
/// Bytes of a password that are looked at; the domain's own bound is lower.
const PASSWORD_MAX: usize = 4096;

/// The form was sent.
pub async fn post(visit: Visit, body: Body) -> Response {
    visit.answer(submit(&visit, body).await)
}

/// The person goes on with the account that is logged in.
pub async fn go_on(visit: Visit, body: Body) -> Response {
    visit.answer(choose(&visit, body).await)
}

async fn choose(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (_, interaction): (_, Interaction) = visit.submitted(Purpose::Login, body).await?;
    let account = visit.account().await?;
    let mut progress = interaction.progress;
    // Whoever is logged in by now was not asked: only the one whose name the button showed.
    progress.chosen = interaction.session;
    advance(visit, Pending { request: interaction.request, progress, account }, Arrival::Submitted).await
}

/// A login that did not work.
pub struct Failed {
    /// What the person is told.
    pub error: LoginError,
    /// Seconds until a further attempt makes sense.
    pub retry_after_s: Option<u64>,
}

impl Failed {
    fn now(error: LoginError) -> Self {
        Self { error, retry_after_s: None }
    }
}

async fn submit(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, interaction): (_, Interaction) = visit.submitted(Purpose::Login, body).await?;
    if form.has("create") && visit.tenant.settings.self_registration {
        let (mut request, progress, account) =
            (interaction.request, interaction.progress, visit.account().await?);
        request.prompt.insert(Prompt::Create);
        return advance(visit, Pending { request, progress, account }, Arrival::Submitted).await;
    }
    let (session, account) = match attempt(visit, &form).await? {
        Ok(begun) => begun,
        Err(failed) => return again(visit, &interaction, typed_login(&form), failed).await,
    };
    let mut progress = interaction.progress;
    progress.authenticated = Some(account.session.id);
    let pending = Pending { request: interaction.request, progress, account: Some(account) };
    let response = advance(visit, pending, Arrival::Submitted).await;
    // The session stands, whatever came of the request.
    Ok(visit.with_session(visit.answer(response), &session))
}

/// What was typed as the login name.
pub fn typed_login(form: &Form) -> &str {
    form.get_within("login", LOGIN_MAX).ok().flatten().unwrap_or_default()
}

/// Checks what was typed, and begins or renews a session.
///
/// # Errors
/// [`Fault`].
pub async fn attempt(visit: &Visit, form: &Form) -> Result<Result<(NewSession, Account), Failed>, Fault> {
    let password = form.get_within("password", PASSWORD_MAX).ok().flatten().unwrap_or_default();
    match authenticate(visit, typed_login(form), password).await? {
        Ok(user) => begin_session(visit, user).await,
        Err(failed) => Ok(Err(failed)),
    }
}

/// The page once more. The status stays 200: 401 would need a challenge (RFC 9110 §15.5.2) that no
/// form can answer.
async fn again(
    visit: &Visit,
    interaction: &Interaction,
    login: &str,
    failed: Failed,
) -> Result<Response, PageError> {
    let client = client(visit, &interaction.request).await?;
    let hidden = visit.seal(Purpose::Login, interaction)?.ok_or(Fault::Internal)?;
    let Failed { error, retry_after_s } = failed;
    let state = LoginState { login: Some(login), error: Some(error), retry_after_s, account: None };
    Ok(visit.login_page(&interaction.request, &client, &hidden, state).await)
}

/// Checks a password, and counts it where it is wrong.
///
/// # Errors
/// [`Fault`].
pub async fn authenticate(
    visit: &Visit,
    login: &str,
    password: &str,
) -> Result<Result<AuthenticatedUser, Failed>, Fault> {
    if login.is_empty() || password.is_empty() {
        return Ok(Err(Failed::now(LoginError::BadCredentials)));
    }
    let name = visit.seals.blind_name(login);
    if let Err(problem) = visit.state.limits.login(visit.scope.address, &name) {
        return Ok(Err(Failed { error: LoginError::TooMany, retry_after_s: error::wait_s(problem) }));
    }
    let context = visit.context(Caller::Anonymous);
    let password = PlainPassword::new(password);
    match visit.state.iam.authenticate_password(&context, login, &password).await {
        Ok(user) => Ok(Ok(user)),
        Err(LoginRefusal::BadCredentials) => Ok(Err(Failed::now(LoginError::BadCredentials))),
        Err(LoginRefusal::LockedUntil(until)) => {
            let wait_s = until.since_ms(visit.now).div_ceil(1_000);
            Ok(Err(Failed { error: LoginError::Locked, retry_after_s: Some(wait_s.max(1)) }))
        }
        Err(LoginRefusal::Busy { retry_after_s }) => {
            Ok(Err(Failed { error: LoginError::Busy, retry_after_s: Some(retry_after_s) }))
        }
        Err(LoginRefusal::Unavailable(cause)) => {
            tracing::warn!(cause, "a login could not be checked");
            standing::unconfirmed();
            Err(Fault::Unavailable { retry_after_s: 1 })
        }
    }
}

/// A session under a new secret, always: a cookie from before the login is worth nothing after it
/// (OWASP ASVS 5 §7.2.4). The same user's session goes on, with its clients; another's ends.
pub async fn begin_session(
    visit: &Visit,
    user: AuthenticatedUser,
) -> Result<Result<(NewSession, Account), Failed>, Fault> {
    let iam = &visit.state.iam;
    let before = visit.account().await?.map(|account| account.session);
    let context = visit.context(Caller::User(user.user));
    let renewed = match &before {
        Some(session) if session.user == user.user => {
            let renewed = iam.reauthenticate_session(&context, session.id, user.authentication.clone()).await;
            // One that ended just now is no obstacle.
            error::refusal(renewed)?.ok()
        }
        Some(_) | None => None,
    };
    let written = if let Some(renewed) = renewed {
        renewed
    } else {
        let replaces = before.map(|session| session.id);
        let begun = iam.start_session(&context, user.user, user.authentication, replaces).await;
        match error::refusal(begun)? {
            Ok(begun) => begun,
            Err(SessionRefusal::UserRefused | SessionRefusal::NotFound | SessionRefusal::Over) => {
                return Ok(Err(Failed::now(LoginError::BadCredentials)));
            }
        }
    };
    let session = written.reply;
    let found = iam.get_user(visit.tenant.id, user.user, &Consistency::AtLeast(written.consistency)).await?;
    let Some(found) = found else { return Ok(Err(Failed::now(LoginError::BadCredentials))) };
    let account = Account { session: session.view.clone(), user: found };
    Ok(Ok((session, account)))
}
