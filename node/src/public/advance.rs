//! The way of an authorization request from page to page, up to its answer.

use std::sync::Arc;

use axum::response::Response;
use domicile_iam::commands::{AuthorizeRefusal, Consent};
use domicile_iam::model::{ClientView, CodeRequest};
use domicile_iam::query::Consistency;
use domicile_oidc::authorize::{AuthorizationRequest, Fatal, RedirectError};
use domicile_oidc::error::OAuthError;
use domicile_oidc::flow::{self, LoginReason, Next, Progress};
use domicile_oidc::respond::{self, AuthorizationResponse};

use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::{Interaction, Purpose};
use super::page::{CONSENT, LoginState};
use super::visit::{Account, Visit};
use super::{answer, device};
use super::{register, second_factor};

/// Times the store may disagree with what was just read before we give up: a session that ends or a
/// grant that goes away in between.
const ROUNDS_MAX: usize = 3;
/// A consent page whose interaction is longer is shown in the answer to the form, not by redirect:
/// URLs beyond 8 KiB do not pass everywhere.
const QUERY_MAX: usize = 6 << 10;

/// How the browser came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// By following a link or a redirect.
    Followed,
    /// By a form of ours: the next page is fetched anew, so that a reload repeats nothing.
    Submitted,
}

/// A request on its way.
pub struct Pending {
    /// What the client asked.
    pub request: AuthorizationRequest,
    /// What happened on our pages.
    pub progress: Progress,
    /// Who is logged in.
    pub account: Option<Account>,
}

enum Step {
    Login(LoginReason),
    Register,
    SecondFactor,
    SetUpSecondFactor,
    Consent,
    Answer(AuthorizationResponse),
    Refuse(RedirectError),
    /// The answer is kept for a device.
    Kept,
}

/// Goes as far as it can without the user, and shows the page where it needs them.
///
/// # Errors
/// [`PageError`] where nothing can be told to the client; our own faults are told to it.
pub async fn advance(visit: &Visit, mut pending: Pending, arrival: Arrival) -> Result<Response, PageError> {
    let client = client(visit, &pending.request).await?;
    let step = match step(visit, &mut pending, &client).await {
        Ok(step) => step,
        Err(PageError::Fault(fault)) => Step::Refuse(failed(&pending.request, fault)),
        Err(error) => return Err(error),
    };
    match step {
        // A device is told nothing of what stood in the way: it waits, and its user may try again.
        Step::Answer(_) | Step::Refuse(_) if pending.request.device.is_some() => {
            device::finish(visit, &pending.request, false, false)
        }
        Step::Answer(response) => Ok(visit.to_client(response)),
        Step::Refuse(refusal) => visit.refuse(&client, &refusal).await,
        Step::Kept => device::finish(visit, &pending.request, true, true),
        Step::Login(reason) => show_login(visit, &pending, &client, reason).await,
        Step::Register => register::show(visit, &pending, &client).await,
        Step::SecondFactor => second_factor::show(visit, &pending, &client).await,
        Step::SetUpSecondFactor => second_factor::show_set_up(visit, &pending).await,
        Step::Consent => show_consent(visit, &pending, &client, arrival).await,
    }
}

/// The client of a request that was valid when its page was made.
///
/// # Errors
/// [`Fatal`] if it is gone since, or may not ask this any more.
pub async fn client(visit: &Visit, request: &AuthorizationRequest) -> Result<Arc<ClientView>, PageError> {
    let client = visit.state.iam.client(visit.tenant.id, &request.client_id).await?;
    let client = client.ok_or(Fatal::UnknownClient)?;
    request.recheck(&client, &visit.tenant)?;
    Ok(client)
}

async fn step(visit: &Visit, pending: &mut Pending, client: &ClientView) -> Result<Step, PageError> {
    if let Some(account) = &pending.account {
        touch(visit, account).await;
    }
    let mut forget_grant = flow::asks_each_time(&pending.request, client, &visit.tenant);
    for _ in 0..ROUNDS_MAX {
        let grant = match &pending.account {
            // `issue_code` judges again on current state; a stale grant costs a page, no more.
            Some(account) if !forget_grant => {
                let (iam, tenant) = (&visit.state.iam, visit.tenant.id);
                iam.grant_for(tenant, account.user.id, pending.request.client, &Consistency::Local).await?
            }
            Some(_) | None => None,
        };
        let subject = match &pending.account {
            Some(account) => visit.state.subject(&visit.tenant, client, &account.user)?,
            None => String::new(),
        };
        let present = pending.account.as_ref().map(|account| account.present(&subject));
        let (request, progress) = (&pending.request, &pending.progress);
        let wanted = match flow::next(request, &visit.tenant, present, grant.as_ref(), progress, visit.now) {
            Next::Login { reason, .. } => return Ok(Step::Login(reason)),
            Next::Register => return Ok(Step::Register),
            Next::SecondFactor => return Ok(Step::SecondFactor),
            Next::SetUpSecondFactor => return Ok(Step::SetUpSecondFactor),
            Next::Consent { .. } => return Ok(Step::Consent),
            Next::Error(error) => return Ok(Step::Refuse(error)),
            Next::Issue(wanted) => wanted,
        };
        match issue(visit, pending, wanted).await? {
            Ok(step) => return Ok(step),
            Err(AuthorizeRefusal::SessionOver) => pending.account = None,
            Err(AuthorizeRefusal::ConsentNeeded) => {
                forget_grant = true;
                pending.progress.consented = None;
            }
            Err(AuthorizeRefusal::RequestTaken) => return Ok(Step::Refuse(flow::taken(&pending.request))),
            Err(AuthorizeRefusal::ClientRefused) => return Err(Fatal::UnknownClient.into()),
        }
    }
    Err(Fault::Unavailable { retry_after_s: 1 }.into())
}

async fn issue(
    visit: &Visit,
    pending: &Pending,
    wanted: CodeRequest,
) -> Result<Result<Step, AuthorizeRefusal>, Fault> {
    let Some(account) = &pending.account else { return Ok(Err(AuthorizeRefusal::SessionOver)) };
    let request = &pending.request;
    let agreed = pending.progress.consented == Some(account.session.id);
    let consent = agreed.then(|| Consent {
        scopes: request.scopes.clone(),
        claims: request.claims_beyond_scopes(),
        resources: request.resources.clone(),
    });
    let context = visit.context(Caller::User(account.user.id));
    let (iam, session) = (&visit.state.iam, account.session.id);
    if let Some(user_code) = &request.device {
        let allowed = iam.allow_device(&context, session, wanted, consent, user_code).await;
        return Ok(error::refusal(allowed)?.map(|_| Step::Kept));
    }
    let issued = match &request.pushed {
        None => iam.issue_code(&context, session, wanted, consent).await,
        Some(reference) => iam.issue_pushed_code(&context, session, wanted, consent, reference).await,
    };
    let issued = error::refusal(issued)?;
    let code = |code: &str| Step::Answer(respond::code(&request.target, &visit.tenant.issuer, code));
    Ok(issued.map(|written| code(&written.reply.code)))
}

/// Use prolongs a session. That this could not be written is no reason to refuse the request.
async fn touch(visit: &Visit, account: &Account) {
    let context = visit.context(Caller::User(account.user.id));
    if let Err(error) = visit.state.iam.touch_session(&context, account.session.id).await {
        tracing::debug!(%error, "a session was not touched");
    }
}

fn failed(request: &AuthorizationRequest, fault: Fault) -> RedirectError {
    let busy = matches!(fault, Fault::Unavailable { .. } | Fault::Overloaded(_) | Fault::Unknown);
    flow::failed(request, busy)
}

/// A request that does not fit into our pages' forms goes back to the client.
///
/// # Errors
/// [`PageError`].
pub async fn too_long(visit: &Visit, request: &AuthorizationRequest) -> Result<Response, PageError> {
    let client = client(visit, request).await?;
    let error = OAuthError::invalid_request("the request is too long");
    visit.refuse(&client, &RedirectError { target: request.target.clone(), error }).await
}

async fn show_login(
    visit: &Visit,
    pending: &Pending,
    client: &ClientView,
    reason: LoginReason,
) -> Result<Response, PageError> {
    let session = pending.account.as_ref().map(|account| account.session.id);
    let interaction = Interaction { request: pending.request.clone(), progress: pending.progress, session };
    let Some(hidden) = visit.seal(Purpose::Login, &interaction)? else {
        return too_long(visit, &pending.request).await;
    };
    let account = match reason {
        LoginReason::SelectAccount => pending.account.as_ref(),
        LoginReason::NotLoggedIn
        | LoginReason::Prompted
        | LoginReason::TooOld
        | LoginReason::OtherUser
        | LoginReason::Assurance => None,
    };
    // Who must prove themselves again need not type their name again.
    let login = match reason {
        LoginReason::Prompted | LoginReason::TooOld | LoginReason::Assurance => {
            pending.account.as_ref().map(|account| account.user.username.as_str())
        }
        LoginReason::NotLoggedIn | LoginReason::SelectAccount | LoginReason::OtherUser => None,
    };
    let login = login.filter(|_| pending.request.login_hint.is_none());
    let state = LoginState { login, account, ..LoginState::default() };
    Ok(visit.login_page(&pending.request, client, &hidden, state).await)
}

async fn show_consent(
    visit: &Visit,
    pending: &Pending,
    client: &ClientView,
    arrival: Arrival,
) -> Result<Response, PageError> {
    let Some(account) = &pending.account else { return Err(Fault::Internal.into()) };
    let session = Some(account.session.id);
    let interaction = Interaction { request: pending.request.clone(), progress: pending.progress, session };
    let Some(hidden) = visit.seal(Purpose::Consent, &interaction)? else {
        return too_long(visit, &pending.request).await;
    };
    if arrival == Arrival::Submitted && hidden.interaction.len() <= QUERY_MAX {
        // Base64url needs no escapes.
        let location = format!("{}?interaction={}", visit.path(CONSENT), hidden.interaction);
        return Ok(visit.with_browser(answer::see_other(location)));
    }
    Ok(visit.consent_page(&pending.request, client, account, &hidden).await)
}
