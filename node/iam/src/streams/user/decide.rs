//! What may be done to a user. Values in clear come in and leave as personal values to be sealed.

use domicile_raft::Timestamp;

use super::check_claims;
use super::event::{
    UserCreated, UserErased, UserEvent, UserLocked, UserPasswordChanged, UserPasswordRehashed,
};
use super::profile::{check_email, check_phone_number};
use super::state::User;
use crate::commands::{CreateUser, UserRefusal};
use crate::personal::Personal;
use crate::streams::event_set::Change;

/// A new user. `subject` and the password's hash were made before.
///
/// # Errors
/// [`UserRefusal`] for what is malformed; uniqueness is the claims' to say.
pub fn decide_create(
    new: &CreateUser,
    subject: &str,
    password: Option<&str>,
) -> Result<UserEvent, UserRefusal> {
    check_subject(subject)?;
    if new.username.is_empty() || new.username.len() > 255 {
        return Err(UserRefusal::InvalidUsername);
    }
    if let Some(email) = &new.email {
        check_email(email)?;
    }
    if let Some(number) = &new.phone_number {
        check_phone_number(number)?;
    }
    check_claims(&new.claims)?;
    let claims = if new.claims.is_empty() { None } else { Some(claims_text(&new.claims)?) };
    Ok(UserEvent::Created(UserCreated {
        subject: Personal::plain(subject),
        username: Personal::plain(&*new.username),
        email: new.email.as_deref().map(Personal::plain),
        email_verified: new.email_verified && new.email.is_some(),
        phone_number: new.phone_number.as_deref().map(Personal::plain),
        phone_number_verified: new.phone_number_verified && new.phone_number.is_some(),
        claims: claims.map(Personal::plain),
        password: password.map(Personal::plain),
    }))
}

pub(super) fn claims_text(claims: &crate::model::ProfileClaims) -> Result<String, UserRefusal> {
    let unfit = |_| UserRefusal::InvalidClaim { name: "claims".to_owned(), rule: "are not JSON" };
    serde_json::to_string(claims).map_err(unfit)
}

/// 1 to 255 printable ASCII characters (OpenID Connect Core §2).
fn check_subject(subject: &str) -> Result<(), UserRefusal> {
    let fits = (1..=255).contains(&subject.len()) && subject.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(()) } else { Err(UserRefusal::InvalidSubject) }
}

/// Another password; everything issued before is void from here on.
///
/// # Errors
/// [`UserRefusal::NotFound`].
pub fn decide_password_change(user: &User, hash: &str) -> Result<UserEvent, UserRefusal> {
    let person = user.person.as_ref().ok_or(UserRefusal::NotFound)?;
    Ok(UserEvent::PasswordChanged(UserPasswordChanged {
        password: Personal::plain(hash),
        had_password: person.password.is_some(),
    }))
}

/// The same password under another hash. `None` if the stored one is no longer `checked`, the one
/// the password was checked against.
pub fn decide_rehash(user: &User, checked: &Personal, hash: &str) -> Option<UserEvent> {
    let stored = user.person.as_ref()?.password.as_ref()?;
    (stored == checked)
        .then(|| UserEvent::PasswordRehashed(UserPasswordRehashed { password: Personal::plain(hash) }))
}

/// An account's lock is written so often at most: those who are not logged in cause it, and count by each of the
/// account's names, by its second factor, and anew after a change of leader.
const LOCK_EVERY_MS: u64 = 60_000;

/// Locks the account for `for_ms` from `at` on; `None` if it is locked at `at` already, or was locked within the last
/// minute. When that was follows from how long a lock lasts: a setting that changed in between is no matter.
pub fn decide_lock(user: &User, at: Timestamp, for_ms: u64) -> Option<UserEvent> {
    user.person.as_ref()?;
    let until = at.plus_ms(for_ms);
    let refused = user.locked_until.is_some_and(|end| end > at || until < end.plus_ms(LOCK_EVERY_MS));
    (!refused).then_some(UserEvent::Locked(UserLocked {
        until: Change { before: user.locked_until, after: Some(until) },
    }))
}

/// First step of erasure.
///
/// # Errors
/// [`UserRefusal::NotFound`] if it happened before.
pub fn decide_erase(user: &User) -> Result<UserEvent, UserRefusal> {
    user.person.as_ref().ok_or(UserRefusal::NotFound)?;
    Ok(UserEvent::Erased(UserErased {}))
}
