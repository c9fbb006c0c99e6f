//! Changes of a profile: which events, which names are taken and which given back.

use domicile_raft::Timestamp;

use super::check_claims;
use super::decide::claims_text;
use super::event::{UserDisabled, UserEnabled, UserEvent, UserProfileChanged};
use super::state::{Person, User};
use crate::commands::{UserPatch, UserRefusal};
use crate::model::ProfileClaims;
use crate::personal::Personal;
use crate::streams::event_set::Change;

/// A user's values in clear, to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPerson {
    /// Login name.
    pub username: String,
    /// E-mail address.
    pub email: Option<String>,
    /// The verified address before it, while the new one is not verified.
    pub email_held: Option<String>,
    /// Phone number.
    pub phone_number: Option<String>,
    /// Other claims.
    pub claims: ProfileClaims,
}

/// What an update comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileUpdate {
    /// Events; none if nothing changes.
    pub events: Vec<UserEvent>,
    /// Login name to give back and to take.
    pub username: Option<Change<String>>,
    /// E-mail addresses to give back, but for those that are another spelling of a kept one.
    pub emails_released: Vec<String>,
    /// E-mail addresses that are the user's afterwards.
    pub emails_kept: Vec<String>,
    /// E-mail address to take.
    pub email_taken: Option<String>,
}

/// Applies a patch.
///
/// # Errors
/// [`UserRefusal`] for what is malformed; uniqueness is the claims' to say.
pub fn decide_update(
    user: &User,
    revision: u64,
    open: &OpenPerson,
    patch: &UserPatch,
) -> Result<ProfileUpdate, UserRefusal> {
    let person = user.person.as_ref().ok_or(UserRefusal::NotFound)?;
    if patch.if_revision.is_some_and(|wanted| wanted != revision) {
        return Err(UserRefusal::Stale { current: revision });
    }
    let mut update = ProfileUpdate::default();
    let mut changed = UserProfileChanged::default();
    change_username(person, open, patch, &mut changed, &mut update)?;
    change_email(person, open, patch, &mut changed, &mut update)?;
    change_phone_number(person, open, patch, &mut changed)?;
    change_claims(person, open, patch, &mut changed)?;
    if changed != UserProfileChanged::default() {
        update.events.push(UserEvent::ProfileChanged(changed));
    }
    match patch.disabled {
        Some(true) if !user.disabled => update.events.push(UserEvent::Disabled(UserDisabled {})),
        Some(false) if user.disabled => update.events.push(UserEvent::Enabled(UserEnabled {})),
        Some(_) | None => {}
    }
    Ok(update)
}

fn change_username(
    person: &Person,
    open: &OpenPerson,
    patch: &UserPatch,
    changed: &mut UserProfileChanged,
    update: &mut ProfileUpdate,
) -> Result<(), UserRefusal> {
    let Some(after) = patch.username.as_ref().filter(|name| **name != open.username) else { return Ok(()) };
    if after.is_empty() || after.len() > 255 {
        return Err(UserRefusal::InvalidUsername);
    }
    changed.username = Some(sealed_change(Some(&person.username), Some(after)));
    update.username = Some(Change { before: open.username.clone(), after: after.clone() });
    Ok(())
}

fn change_email(
    person: &Person,
    open: &OpenPerson,
    patch: &UserPatch,
    changed: &mut UserProfileChanged,
    update: &mut ProfileUpdate,
) -> Result<(), UserRefusal> {
    let after = patch.email.as_ref().unwrap_or(&open.email);
    let differs = *after != open.email;
    if let Some(address) = after.as_ref().filter(|_| differs) {
        check_email(address)?;
    }
    // Another address is not verified because the one before it was.
    let verified = after.is_some() && patch.email_verified.unwrap_or(person.email_verified && !differs);
    let mut held = open.email_held.clone();
    if differs {
        changed.email = Some(sealed_change(person.email.as_ref(), after.as_deref()));
        update.email_taken.clone_from(after);
        // Until the new address is verified the last verified one stays the user's, so that nobody
        // else can take it.
        match (&open.email, person.email_verified && !verified && after.is_some()) {
            (Some(before), true) => held = Some(before.clone()),
            (Some(before), false) if held.as_ref() != Some(before) => {
                update.emails_released.push(before.clone());
            }
            (Some(_) | None, _) => {}
        }
    }
    if verified || after.is_none() || held == *after {
        held = None;
    }
    if held != open.email_held {
        if let Some(gone) = open.email_held.as_ref().filter(|gone| Some(*gone) != after.as_ref()) {
            update.emails_released.push(gone.clone());
        }
        let before = person.email_held.clone();
        let kept = held.as_ref().and(person.email.clone());
        changed.email_held = Some(Change { before, after: kept });
    }
    update.emails_kept.extend(after.iter().chain(&held).cloned());
    changed.email_verified = Change::between(person.email_verified, verified);
    Ok(())
}

fn change_phone_number(
    person: &Person,
    open: &OpenPerson,
    patch: &UserPatch,
    changed: &mut UserProfileChanged,
) -> Result<(), UserRefusal> {
    let after = patch.phone_number.as_ref().unwrap_or(&open.phone_number);
    let differs = *after != open.phone_number;
    if differs {
        if let Some(number) = after {
            check_phone_number(number)?;
        }
        changed.phone_number = Some(sealed_change(person.phone_number.as_ref(), after.as_deref()));
    }
    let kept = person.phone_number_verified && !differs;
    let verified = after.is_some() && patch.phone_number_verified.unwrap_or(kept);
    changed.phone_number_verified = Change::between(person.phone_number_verified, verified);
    Ok(())
}

fn change_claims(
    person: &Person,
    open: &OpenPerson,
    patch: &UserPatch,
    changed: &mut UserProfileChanged,
) -> Result<(), UserRefusal> {
    let mut after = open.claims.clone();
    for (name, value) in &patch.claims {
        if value.is_null() {
            after.remove(name);
        } else {
            after.insert(name.clone(), value.clone());
        }
    }
    if after != open.claims {
        check_claims(&after)?;
        let text = if after.is_empty() { None } else { Some(claims_text(&after)?) };
        changed.claims = Some(sealed_change(person.claims.as_ref(), text.as_deref()));
    }
    Ok(())
}

fn sealed_change(before: Option<&Personal>, after: Option<&str>) -> Change<Option<Personal>> {
    Change { before: before.cloned(), after: after.map(Personal::plain) }
}

/// One `@` with something on both sides, at most 254 bytes (RFC 5321 §4.5.3.1.3), no blanks.
pub(super) fn check_email(email: &str) -> Result<(), UserRefusal> {
    let fits = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if fits { Ok(()) } else { Err(UserRefusal::InvalidEmail) }
}

/// E.164: `+` and 2 to 15 digits, with an RFC 3966 §3 extension if there is one.
pub(super) fn check_phone_number(number: &str) -> Result<(), UserRefusal> {
    let (main, extension) = match number.split_once(";ext=") {
        Some((main, extension)) => (main, Some(extension)),
        None => (number, None),
    };
    let digits =
        |text: &str, max: usize| (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let fits = main.strip_prefix('+').is_some_and(|rest| rest.len() >= 2 && digits(rest, 15))
        && extension.is_none_or(|extension| digits(extension, 10));
    if fits { Ok(()) } else { Err(UserRefusal::InvalidPhoneNumber) }
}

/// Whether `user` may try a password at `at`.
pub fn locked_until(user: &User, at: Timestamp) -> Option<Timestamp> {
    user.locked_until.filter(|end| *end > at)
}
