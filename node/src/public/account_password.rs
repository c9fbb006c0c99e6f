//! The account page's part for the password: who knows the one there is sets another.
//!
//! It takes a login of the last minutes, the second factor there is, and the current password (OWASP ASVS 5 §6.2.3):
//! whoever finds a browser open cannot take the account over. All other sessions end, and what was issued in them.

use axum::body::Body;
use axum::response::Response;
use domicile_iam::commands::{AuthenticatedUser, PasswordRule, PlainPassword, UserRefusal};
use domicile_iam::ids::SessionId;
use domicile_oidc::Form;
use serde::{Deserialize, Serialize};

use super::account::{ask_again, is_fresh};
use super::account_second_factor::{lacks, must_set_up, verify_page};
use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::Purpose;
use super::page::{ACCOUNT, ACCOUNT_PASSWORD, ACCOUNT_SECOND_FACTOR};
use super::visit::{Account, Visit};
use super::{answer, login};
use crate::pages::{FormFields, LoginError, PasswordChangedPage, PasswordError, PasswordPage};

/// Bytes of a password that are looked at; the domain's own bound is lower.
const PASSWORD_MAX: usize = 4096;

/// What the form remembers.
#[derive(Serialize, Deserialize)]
struct Seen {
    session: SessionId,
}

/// What went wrong, and for how many seconds it stays so.
type Failed = (PasswordError, Option<u64>);

/// Why nothing was changed.
enum Stop {
    Failed(Failed),
    /// The user is gone, or may not act any more: the account page says so.
    Gone,
}

/// The page.
pub async fn get(visit: Visit) -> Response {
    let shown = show(&visit).await;
    visit.answer(shown)
}

async fn show(visit: &Visit) -> Result<Response, PageError> {
    let Some(account) = visit.account().await? else { return ask_again(visit, None) };
    if lacks(&account) {
        return verify_page(visit, &account, None);
    }
    if must_set_up(visit, &account) {
        return Ok(answer::see_other(visit.path(ACCOUNT_SECOND_FACTOR)));
    }
    if !is_fresh(&account.session.authentications, visit.now) {
        return ask_again(visit, Some(&account));
    }
    page(visit, &account, None)
}

fn page(visit: &Visit, account: &Account, failed: Option<Failed>) -> Result<Response, PageError> {
    let seen = Seen { session: account.session.id };
    let hidden = visit.seal(Purpose::AccountPassword, &seen)?.ok_or(Fault::Internal)?;
    let page = PasswordPage {
        frame: visit.plain_frame(&[]),
        form: FormFields {
            action: &visit.path(ACCOUNT_PASSWORD),
            interaction: &hidden.interaction,
            csrf: &hidden.csrf,
        },
        user: &account.user.username,
        error: failed.map(|(error, _)| error),
        account_page: &visit.path(ACCOUNT),
    };
    let response = page.respond();
    Ok(visit.with_browser(error::retry_after(response, failed.and_then(|(_, wait_s)| wait_s))))
}

/// The form was sent.
pub async fn post(visit: Visit, body: Body) -> Response {
    let done = submit(&visit, body).await;
    visit.answer(done)
}

async fn submit(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, seen): (Form, Seen) = visit.submitted(Purpose::AccountPassword, body).await?;
    let back = || Ok(answer::see_other(visit.path(ACCOUNT)));
    // Only for the session that looked at the page.
    let account = visit.account().await?.filter(|account| account.session.id == seen.session);
    let Some(account) = account.filter(|account| !lacks(account)) else { return back() };
    if must_set_up(visit, &account) {
        return Ok(answer::see_other(visit.path(ACCOUNT_SECOND_FACTOR)));
    }
    if !is_fresh(&account.session.authentications, visit.now) {
        return ask_again(visit, Some(&account));
    }
    let proved = match change(visit, &account, &form).await? {
        Ok(proved) => proved,
        Err(Stop::Failed(failed)) => return page(visit, &account, Some(failed)),
        Err(Stop::Gone) => return back(),
    };
    // What was before is void, this browser's session too: it goes on in another.
    let account_page = &visit.path(ACCOUNT);
    let page = PasswordChangedPage { frame: visit.plain_frame(&[]), account_page }.respond();
    // The password is another one whatever becomes of that: who has no session logs in by it.
    Ok(match login::begin_session(visit, proved).await {
        Ok(Ok((session, _))) => visit.with_session(page, &session),
        Ok(Err(_)) | Err(_) => page,
    })
}

async fn change(
    visit: &Visit,
    account: &Account,
    form: &Form,
) -> Result<Result<AuthenticatedUser, Stop>, Fault> {
    let field = |name| form.get_within(name, PASSWORD_MAX).map(Option::unwrap_or_default);
    let (Ok(current), Ok(new), Ok(again)) =
        (field("current_password"), field("password"), field("password_again"))
    else {
        return Ok(Err(Stop::Failed((PasswordError::TooLong, None))));
    };
    if new != again {
        return Ok(Err(Stop::Failed((PasswordError::Differ, None))));
    }
    // As at a login: wrong ones are counted, and lock the account.
    if let Err(failed) = login::authenticate(visit, &account.user.username, current).await? {
        return Ok(Err(Stop::Failed((login_failed(failed.error), failed.retry_after_s))));
    }
    let (user, context) = (account.user.id, visit.context(Caller::User(account.user.id)));
    let (current, new) = (PlainPassword::new(current), PlainPassword::new(new));
    let changed = visit.state.iam.change_own_password(&context, user, current, new).await;
    Ok(match error::refusal(changed)? {
        Ok(written) => Ok(written.reply),
        Err(refusal) => Err(refused(&refusal)),
    })
}

fn login_failed(error: LoginError) -> PasswordError {
    match error {
        LoginError::BadCredentials | LoginError::Stale => PasswordError::Wrong,
        LoginError::Locked => PasswordError::Locked,
        LoginError::Busy => PasswordError::Busy,
        LoginError::TooMany => PasswordError::TooMany,
    }
}

fn refused(refusal: &UserRefusal) -> Stop {
    let failed = match refusal {
        UserRefusal::WrongPassword => (PasswordError::Wrong, None),
        UserRefusal::Password(PasswordRule::TooShort { min }) => (PasswordError::TooShort(*min), None),
        UserRefusal::Password(PasswordRule::TooLong { .. } | PasswordRule::UnusableHash) => {
            (PasswordError::TooLong, None)
        }
        UserRefusal::Busy { retry_after_s } => (PasswordError::Busy, Some(*retry_after_s)),
        UserRefusal::NotFound
        | UserRefusal::Stale { .. }
        | UserRefusal::InvalidUsername
        | UserRefusal::UsernameTaken
        | UserRefusal::InvalidEmail
        | UserRefusal::EmailTaken
        | UserRefusal::InvalidPhoneNumber
        | UserRefusal::InvalidSubject
        | UserRefusal::SubjectTaken
        | UserRefusal::InvalidClaim { .. } => return Stop::Gone,
    };
    Stop::Failed(failed)
}
