//! The enrolment of an operator: who holds a code that `init` printed becomes one, in the tenant of
//! operators. The code is typed into a form: it is in no address, so in no log and no history.

use axum::body::Body;
use axum::response::Response;
use domicile_iam::commands::{
    CreateUser, EnrolmentRefusal, PasswordRule, PlainPassword, SYSTEM_SLUG, UserRefusal,
};
use domicile_oidc::Form;
use serde::{Deserialize, Serialize};

use super::context::Caller;
use super::error::{self, Fault, PageError};
use super::interaction::Purpose;
use super::visit::Visit;
use crate::pages::EnrolError;

/// Bytes of a field that are looked at; the domain's own bounds are lower.
const FIELD_MAX: usize = 4096;

/// The page has nothing to remember: that it was made for this browser counts.
#[derive(Serialize, Deserialize)]
struct Asked {}

/// The page.
pub async fn get(visit: Visit) -> Response {
    visit.answer(show(&visit, "", None))
}

/// The form was sent.
pub async fn post(visit: Visit, body: Body) -> Response {
    visit.answer(submit(&visit, body).await)
}

/// What went wrong, and for how many seconds it stays so.
pub type Failed = (EnrolError, Option<u64>);

fn show(visit: &Visit, username: &str, failed: Option<Failed>) -> Result<Response, PageError> {
    if visit.tenant.slug != SYSTEM_SLUG {
        return Err(Fault::NoTenant.into());
    }
    let hidden = visit.seal(Purpose::Enrol, &Asked {})?.ok_or(Fault::Internal)?;
    let response = visit.enrol_page(&hidden, username, failed.map(|(error, _)| error));
    Ok(error::retry_after(response, failed.and_then(|(_, wait_s)| wait_s)))
}

async fn submit(visit: &Visit, body: Body) -> Result<Response, PageError> {
    if visit.tenant.slug != SYSTEM_SLUG {
        return Err(Fault::NoTenant.into());
    }
    let (form, _): (Form, Asked) = visit.submitted(Purpose::Enrol, body).await?;
    let field = |name| form.get_within(name, FIELD_MAX).ok().flatten().unwrap_or_default();
    let (username, password) = (field("username"), field("password"));
    if password != field("password_again") {
        return show(visit, username, Some((EnrolError::Differ, None)));
    }
    match enrol(visit, field("code").trim(), username, password).await? {
        Ok(()) => Ok(visit.enrolled_page()),
        Err(failed) => show(visit, username, Some(failed)),
    }
}

async fn enrol(
    visit: &Visit,
    code: &str,
    username: &str,
    password: &str,
) -> Result<Result<(), Failed>, Fault> {
    // Each attempt may cost a password hash, so each is counted.
    if let Err(problem) = visit.state.limits.login(visit.scope.address, &visit.seals.blind_name(code)) {
        return Ok(Err((EnrolError::TooMany, error::wait_s(problem))));
    }
    let new = CreateUser {
        username: username.to_owned(),
        password: Some(PlainPassword::new(password)),
        ..CreateUser::default()
    };
    let enrolled = visit.state.iam.enrol_operator(&visit.context(Caller::Anonymous), code, new).await;
    Ok(match error::refusal(enrolled)? {
        Ok(_) => Ok(()),
        Err(EnrolmentRefusal::Unknown) => Err((EnrolError::Code, None)),
        Err(EnrolmentRefusal::User(refusal)) => Err(user_refused(&refusal)),
    })
}

/// What a refused account is told.
pub fn user_refused(refusal: &UserRefusal) -> Failed {
    let error = match refusal {
        UserRefusal::UsernameTaken => EnrolError::UsernameTaken,
        UserRefusal::Password(PasswordRule::TooShort { min }) => EnrolError::TooShort(*min),
        UserRefusal::Password(PasswordRule::TooLong { .. } | PasswordRule::UnusableHash)
        | UserRefusal::WrongPassword => EnrolError::TooLong,
        UserRefusal::Busy { retry_after_s } => return (EnrolError::Busy, Some(*retry_after_s)),
        // Nothing else was typed.
        UserRefusal::NotFound
        | UserRefusal::Stale { .. }
        | UserRefusal::InvalidUsername
        | UserRefusal::InvalidEmail
        | UserRefusal::EmailTaken
        | UserRefusal::InvalidPhoneNumber
        | UserRefusal::InvalidSubject
        | UserRefusal::SubjectTaken
        | UserRefusal::InvalidClaim { .. } => EnrolError::Username,
    };
    (error, None)
}
