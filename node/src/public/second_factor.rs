//! The second factor on the way of an authorization request: asked for, or set up where the tenant wants one.

use axum::body::Body;
use axum::response::Response;
use domicile_iam::commands::{NewSession, SecondFactorProof, SecondFactorRefusal};
use domicile_iam::ids::SessionId;
use domicile_iam::model::{ClientView, SessionView};
use domicile_oidc::Form;
use domicile_oidc::authorize::AuthorizationRequest;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::advance::{Arrival, Pending, advance, client, too_long};
use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::{Interaction, Purpose};
use super::page::{ACCOUNT, CONTINUE, SECOND_FACTOR, SECOND_FACTOR_SET_UP, name};
use super::visit::{Account, Visit};
use crate::pages::{
    FormAction, FormFields, RecoveryCodesPage, SecondFactorError, SecondFactorPage, SecondFactorSetUpPage,
};

/// Bytes of a code that are looked at.
const CODE_MAX: usize = 128;

/// A code that did not work.
pub struct Failed {
    /// What the person is told.
    pub error: SecondFactorError,
    /// Seconds until a further attempt makes sense.
    pub retry_after_s: Option<u64>,
}

impl Failed {
    fn now(error: SecondFactorError) -> Self {
        Self { error, retry_after_s: None }
    }
}

/// What came of a code.
pub enum Proved {
    /// It counts: the session has another cookie now.
    Yes(Box<NewSession>),
    /// It does not.
    No(Failed),
    /// The session is over, or its user has no second factor any more.
    Gone,
}

/// Checks what was typed.
///
/// # Errors
/// [`Fault`].
pub async fn prove(visit: &Visit, session: &SessionView, form: &Form) -> Result<Proved, Fault> {
    let typed = |name| {
        let text = form.get_within(name, CODE_MAX).ok().flatten().unwrap_or_default().trim();
        Some(Zeroizing::new(text.to_owned())).filter(|text| !text.is_empty())
    };
    let proof = match (typed("code"), typed("recovery_code")) {
        (Some(code), _) => SecondFactorProof::Code(code),
        (None, Some(code)) => SecondFactorProof::Recovery(code),
        (None, None) => return Ok(Proved::No(Failed::now(SecondFactorError::Wrong))),
    };
    // Of this user, whatever their names: nobody else's tries count against it.
    let blind = visit.seals.blind_name(&format!("second factor of {}", session.user));
    if let Err(problem) = visit.state.limits.login(visit.scope.address, &blind) {
        let retry_after_s = error::wait_s(problem);
        return Ok(Proved::No(Failed { error: SecondFactorError::TooMany, retry_after_s }));
    }
    let context = visit.context(Caller::User(session.user));
    let (iam, settings) = (&visit.state.iam, &visit.tenant.settings);
    let proved = iam.prove_second_factor(&context, session, settings, proof).await;
    Ok(match error::refusal(proved)? {
        Ok(written) => Proved::Yes(Box::new(written.reply)),
        Err(SecondFactorRefusal::WrongCode) => Proved::No(Failed::now(SecondFactorError::Wrong)),
        Err(SecondFactorRefusal::LockedUntil(until)) => {
            let wait_s = until.since_ms(visit.now).div_ceil(1_000).max(1);
            Proved::No(Failed { error: SecondFactorError::Locked, retry_after_s: Some(wait_s) })
        }
        Err(
            SecondFactorRefusal::SessionOver
            | SecondFactorRefusal::UserRefused
            | SecondFactorRefusal::Present
            | SecondFactorRefusal::Absent,
        ) => Proved::Gone,
    })
}

/// Asks for it.
///
/// # Errors
/// [`PageError`].
pub async fn show(visit: &Visit, pending: &Pending, client: &ClientView) -> Result<Response, PageError> {
    let Some(account) = &pending.account else { return Err(Fault::Internal.into()) };
    let interaction = waiting(pending, account.session.id);
    page(visit, &interaction, client, &account.user.username, None).await
}

fn waiting(pending: &Pending, session: SessionId) -> Interaction {
    Interaction { request: pending.request.clone(), progress: pending.progress, session: Some(session) }
}

async fn page(
    visit: &Visit,
    interaction: &Interaction,
    client: &ClientView,
    user: &str,
    failed: Option<Failed>,
) -> Result<Response, PageError> {
    let Some(hidden) = visit.seal(Purpose::SecondFactor, interaction)? else {
        return too_long(visit, &interaction.request).await;
    };
    let page = SecondFactorPage {
        frame: visit.frame(&interaction.request),
        form: FormFields {
            action: &visit.path(SECOND_FACTOR),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
        },
        user,
        client: Some(name(client)),
        error: failed.as_ref().map(|failed| failed.error),
    };
    let response = page.respond(&onward(&interaction.request));
    Ok(visit.with_browser(error::retry_after(response, failed.and_then(|failed| failed.retry_after_s))))
}

fn onward(request: &AuthorizationRequest) -> FormAction {
    FormAction::OwnThenRedirect(request.target.redirect_uri.clone())
}

/// A code was sent.
pub async fn post(visit: Visit, body: Body) -> Response {
    let answered = submit(&visit, body).await;
    visit.answer(answered)
}

async fn submit(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, interaction): (_, Interaction) = visit.submitted(Purpose::SecondFactor, body).await?;
    let Interaction { request, progress, session } = &interaction;
    let pending = |account| Pending { request: request.clone(), progress: *progress, account };
    if form.has("other_account") {
        return advance(visit, pending(None), Arrival::Submitted).await;
    }
    let account = visit.account().await?;
    let same = account.clone().filter(|account| Some(account.session.id) == *session);
    let Some(mut account) = same else { return advance(visit, pending(account), Arrival::Submitted).await };
    match prove(visit, &account.session, &form).await? {
        Proved::Yes(begun) => {
            account.session = begun.view.clone();
            let response = advance(visit, pending(Some(account)), Arrival::Submitted).await;
            // The session stands, whatever came of the request.
            Ok(visit.with_session(visit.answer(response), &begun))
        }
        Proved::No(failed) => {
            let client = client(visit, request).await?;
            page(visit, &interaction, &client, &account.user.username, Some(failed)).await
        }
        Proved::Gone => advance(visit, pending(visit.account().await?), Arrival::Submitted).await,
    }
}

/// What the page where an authenticator is set up remembers.
#[derive(Serialize, Deserialize)]
pub struct SetUp {
    /// The secret that is shown; nothing else keeps it until a code proves that an authenticator has it.
    pub secret: String,
    /// For which session.
    pub session: SessionId,
    /// Who waits, where the page is on the way to somebody.
    pub waiting: Option<Interaction>,
}

/// Sets one up: the tenant wants one of everybody.
///
/// # Errors
/// [`PageError`].
pub async fn show_set_up(visit: &Visit, pending: &Pending) -> Result<Response, PageError> {
    let Some(account) = &pending.account else { return Err(Fault::Internal.into()) };
    let set_up = SetUp {
        secret: visit.state.iam.new_totp_secret().as_str().to_owned(),
        session: account.session.id,
        waiting: Some(waiting(pending, account.session.id)),
    };
    set_up_page(visit, &set_up, account, None).await
}

/// The page, with the secret of `set_up`.
///
/// # Errors
/// [`PageError`].
pub async fn set_up_page(
    visit: &Visit,
    set_up: &SetUp,
    account: &Account,
    error: Option<SecondFactorError>,
) -> Result<Response, PageError> {
    let request = set_up.waiting.as_ref().map(|waiting| &waiting.request);
    let hidden = match (visit.seal(Purpose::SecondFactorSetUp, set_up)?, request) {
        (Some(hidden), _) => hidden,
        (None, Some(request)) => return too_long(visit, request).await,
        (None, None) => return Err(Fault::Internal.into()),
    };
    let (issuer, user) = (&visit.tenant.display_name, &account.user.username);
    let uri = domicile_iam::commands::otpauth_uri(&set_up.secret, issuer, user).ok_or(Fault::Internal)?;
    let page = SecondFactorSetUpPage {
        frame: request.map_or_else(|| visit.plain_frame(&[]), |request| visit.frame(request)),
        form: FormFields {
            action: &visit.path(SECOND_FACTOR_SET_UP),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
        },
        secret: &set_up.secret,
        uri: &uri,
        required: request.is_some(),
        error,
    };
    Ok(visit.with_browser(page.respond(&request.map_or(FormAction::Own, onward))))
}

/// The code of a new authenticator was sent.
pub async fn post_set_up(visit: Visit, body: Body) -> Response {
    let answered = submit_set_up(&visit, body).await;
    visit.answer(answered)
}

async fn submit_set_up(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, set_up): (_, SetUp) = visit.submitted(Purpose::SecondFactorSetUp, body).await?;
    let account = visit.account().await?;
    let same = account.clone().filter(|account| account.session.id == set_up.session);
    let Some(account) = same else { return go_on(visit, set_up.waiting, account).await };
    let code = form.get_within("code", CODE_MAX).ok().flatten().unwrap_or_default().trim();
    let context = visit.context(Caller::User(account.user.id));
    let (secret, code) = (Zeroizing::new(set_up.secret.clone()), Zeroizing::new(code.to_owned()));
    let enrolled = visit.state.iam.enrol_totp(&context, account.session.id, secret, code).await;
    let (session, codes) = match error::refusal(enrolled)? {
        Ok(written) => written.reply,
        Err(SecondFactorRefusal::WrongCode) => {
            return set_up_page(visit, &set_up, &account, Some(SecondFactorError::Wrong)).await;
        }
        Err(
            SecondFactorRefusal::SessionOver
            | SecondFactorRefusal::UserRefused
            | SecondFactorRefusal::Present
            | SecondFactorRefusal::Absent
            | SecondFactorRefusal::LockedUntil(_),
        ) => return go_on(visit, set_up.waiting, visit.account().await?).await,
    };
    let shown = recovery_codes_page(visit, &codes, set_up.waiting.as_ref())?;
    Ok(visit.with_session(shown, &session))
}

/// Back to who waits, or to the account page.
async fn go_on(
    visit: &Visit,
    waiting: Option<Interaction>,
    account: Option<Account>,
) -> Result<Response, PageError> {
    match waiting {
        Some(Interaction { request, progress, .. }) => {
            advance(visit, Pending { request, progress, account }, Arrival::Submitted).await
        }
        None => Ok(super::answer::see_other(visit.path(ACCOUNT))),
    }
}

/// Recovery codes, in this answer and in none after it.
///
/// # Errors
/// [`PageError`].
pub fn recovery_codes_page(
    visit: &Visit,
    codes: &[String],
    waiting: Option<&Interaction>,
) -> Result<Response, PageError> {
    let hidden = match waiting {
        // The button there leads on with the account that is logged in.
        Some(interaction) => Some(visit.seal(Purpose::Login, interaction)?.ok_or(Fault::Internal)?),
        None => None,
    };
    let go_on = visit.path(CONTINUE);
    let form = hidden.as_ref().map(|hidden| FormFields {
        action: &go_on,
        interaction: &hidden.interaction,
        csrf: &hidden.csrf,
    });
    let frame = waiting.map_or_else(|| visit.plain_frame(&[]), |waiting| visit.frame(&waiting.request));
    let page = RecoveryCodesPage { frame, codes, form, account_page: &visit.path(ACCOUNT) };
    let next = waiting.map_or(FormAction::Own, |waiting| onward(&waiting.request));
    Ok(visit.with_browser(page.respond(&next)))
}
