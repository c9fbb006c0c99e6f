//! The account page's part for second factors.
//!
//! Who has one shows it before anything of the account is seen. Setting one up, removing it and making other
//! recovery codes takes a login of the last minutes (OWASP ASVS 5 §7.5.1), and the second factor there is.

use axum::body::Body;
use axum::response::Response;
use domicile_iam::commands::SecondFactorRefusal;
use domicile_iam::ids::SessionId;
use domicile_iam::model::{Assurance, SecondFactorPolicy};
use serde::{Deserialize, Serialize};

use super::account::{ask_again, is_fresh, moment};
use super::answer;
use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::Purpose;
use super::page::{ACCOUNT, ACCOUNT_SECOND_FACTOR, ACCOUNT_VERIFY};
use super::second_factor::{self, Failed, Proved, SetUp};
use super::visit::{Account, Visit};
use crate::pages::{FormAction, FormFields, SecondFactorManagePage, SecondFactorPage};

/// What the forms here remember.
#[derive(Serialize, Deserialize)]
struct Seen {
    session: SessionId,
}

/// Whether the session lacks the second factor that its user has.
pub fn lacks(account: &Account) -> bool {
    let shown = Assurance::of(&account.session.authentications).is_some_and(|proofs| proofs.second.is_some());
    account.user.second_factor.is_some() && !shown
}

/// Whether its user must set one up first.
pub fn must_set_up(visit: &Visit, account: &Account) -> bool {
    let required = visit.tenant.settings.second_factor == SecondFactorPolicy::Required;
    required && account.user.second_factor.is_none()
}

/// Asks for the second factor on the way to the account page.
///
/// # Errors
/// [`PageError`].
pub fn verify_page(visit: &Visit, account: &Account, failed: Option<Failed>) -> Result<Response, PageError> {
    let seen = Seen { session: account.session.id };
    let hidden = visit.seal(Purpose::AccountVerify, &seen)?.ok_or(Fault::Internal)?;
    let page = SecondFactorPage {
        frame: visit.plain_frame(&[]),
        form: FormFields {
            action: &visit.path(ACCOUNT_VERIFY),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
        },
        user: &account.user.username,
        client: None,
        error: failed.as_ref().map(|failed| failed.error),
    };
    let response = page.respond(&FormAction::Own);
    Ok(visit.with_browser(error::retry_after(response, failed.and_then(|failed| failed.retry_after_s))))
}

/// A code was sent.
pub async fn verify(visit: Visit, body: Body) -> Response {
    let answered = submit_verify(&visit, body).await;
    visit.answer(answered)
}

async fn submit_verify(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, seen): (_, Seen) = visit.submitted(Purpose::AccountVerify, body).await?;
    let back = || answer::see_other(visit.path(ACCOUNT));
    if form.has("other_account") {
        return ask_again(visit, None);
    }
    let account = visit.account().await?.filter(|account| account.session.id == seen.session);
    let Some(account) = account else { return Ok(back()) };
    match second_factor::prove(visit, &account.session, &form).await? {
        Proved::Yes(session) => Ok(visit.with_session(back(), &session)),
        Proved::No(failed) => verify_page(visit, &account, Some(failed)),
        Proved::Gone => Ok(back()),
    }
}

/// What there is, or how to set it up.
pub async fn get(visit: Visit) -> Response {
    let shown = show(&visit).await;
    visit.answer(shown)
}

async fn show(visit: &Visit) -> Result<Response, PageError> {
    let Some(account) = visit.account().await? else { return ask_again(visit, None) };
    if lacks(&account) {
        return verify_page(visit, &account, None);
    }
    if !is_fresh(&account.session.authentications, visit.now) {
        return ask_again(visit, Some(&account));
    }
    let Some(factor) = &account.user.second_factor else {
        let secret = visit.state.iam.new_totp_secret().as_str().to_owned();
        let set_up = SetUp { secret, session: account.session.id, waiting: None };
        return second_factor::set_up_page(visit, &set_up, &account, None).await;
    };
    let seen = Seen { session: account.session.id };
    let hidden = visit.seal(Purpose::AccountSecondFactor, &seen)?.ok_or(Fault::Internal)?;
    let page = SecondFactorManagePage {
        frame: visit.plain_frame(&[]),
        form: FormFields {
            action: &visit.path(ACCOUNT_SECOND_FACTOR),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
        },
        since: moment(factor.added_at),
        left: factor.recovery_codes_left,
        account_page: &visit.path(ACCOUNT),
    };
    Ok(visit.with_browser(page.respond()))
}

/// A button was pressed.
pub async fn post(visit: Visit, body: Body) -> Response {
    let done = act(&visit, body).await;
    visit.answer(done)
}

async fn act(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, seen): (_, Seen) = visit.submitted(Purpose::AccountSecondFactor, body).await?;
    let back = || Ok(answer::see_other(visit.path(ACCOUNT_SECOND_FACTOR)));
    let account = visit.account().await?.filter(|account| account.session.id == seen.session);
    let Some(account) = account.filter(|account| !lacks(account)) else { return back() };
    if !is_fresh(&account.session.authentications, visit.now) {
        return ask_again(visit, Some(&account));
    }
    let (iam, user) = (&visit.state.iam, account.user.id);
    let context = visit.context(Caller::User(user));
    if form.has("replace") {
        return match error::refusal(iam.replace_recovery_codes(&context, user).await)? {
            Ok(written) => second_factor::recovery_codes_page(visit, &written.reply, None),
            Err(refusal) => Ok(gone(visit, refusal)),
        };
    }
    if form.has("remove") {
        return match error::refusal(iam.remove_second_factor(&context, user).await)? {
            Ok(_) => Ok(answer::see_other(visit.path(ACCOUNT))),
            Err(refusal) => Ok(gone(visit, refusal)),
        };
    }
    back()
}

/// There is none any more, which the page will say.
fn gone(visit: &Visit, refusal: SecondFactorRefusal) -> Response {
    tracing::debug!(%refusal, "a second factor was gone already");
    answer::see_other(visit.path(ACCOUNT))
}
