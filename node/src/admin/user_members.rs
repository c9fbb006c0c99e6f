//! A user's members: which there are, and how they become commands.

use domicile_iam::commands::{CreateUser, PlainPassword, UserPatch};
use domicile_iam::model::ProfileClaims;

use super::members::{Members, invalid};
use crate::problem::Problem;

/// The standard claims of OpenID Connect Core §5.1 that have no member of their own. All but `address`
/// are strings; many can carry a language tag (`family_name#ja`, §5.2).
pub(super) const PROFILE_CLAIMS: [&str; 14] = [
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "address",
];
/// Taken by both a new user and a change.
const COMMON: [&str; 6] =
    ["username", "email", "email_verified", "phone_number", "phone_number_verified", "updated_at"];
/// Taken by a new user only.
pub(super) const NEW_ONLY: [&str; 4] = ["password", "password_hash", "subject", "sub"];
/// Taken by a change only.
pub(super) const CHANGE_ONLY: [&str; 1] = ["disabled"];
/// Shown, but the node's own.
const READ_ONLY: [&str; 6] = ["id", "has_password", "second_factor", "created_at", "not_before", "revision"];

const TEXT: &str = "a string";
const FLAG: &str = "a boolean";

fn is_claim(name: &str) -> bool {
    let base = name.split_once('#').map_or(name, |(base, _)| base);
    PROFILE_CLAIMS.contains(&base)
}

/// A new user.
///
/// # Errors
/// 422 naming the member that does not fit.
pub(super) fn new_user(mut members: Members) -> Result<CreateUser, Problem> {
    ignore_updated_at(&mut members)?;
    let subject: Option<String> = members.take("subject", TEXT)?;
    let sub: Option<String> = members.take("sub", TEXT)?;
    if let (Some(subject), Some(sub)) = (&subject, &sub)
        && subject != sub
    {
        return Err(invalid("sub", "is not the same as `subject`"));
    }
    let new = CreateUser {
        username: members.required("username", TEXT)?,
        email: members.take("email", TEXT)?,
        email_verified: members.take("email_verified", FLAG)?.unwrap_or_default(),
        phone_number: members.take("phone_number", TEXT)?,
        phone_number_verified: members.take("phone_number_verified", FLAG)?.unwrap_or_default(),
        password: members.take::<String>("password", TEXT)?.map(PlainPassword::new),
        password_hash: members.take("password_hash", TEXT)?,
        subject: subject.or(sub),
        claims: members
            .take_all(is_claim)
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect::<ProfileClaims>(),
    };
    members.refuse(&READ_ONLY, "is set by the node")?;
    members.refuse(&CHANGE_ONLY, "cannot be set on a new user")?;
    members.finish(known(&NEW_ONLY))?;
    Ok(new)
}

/// A change of a user. Null removes; a claim is replaced as a whole.
///
/// # Errors
/// 422 naming the member that does not fit.
pub(super) fn user_change(mut members: Members, if_revision: Option<u64>) -> Result<UserPatch, Problem> {
    ignore_updated_at(&mut members)?;
    members.refuse(&["password", "password_hash"], "is set at the user's `/password`")?;
    members.refuse(&["subject", "sub"], "never changes")?;
    members.refuse(&READ_ONLY, "is set by the node")?;
    let patch = UserPatch {
        username: members.not_null("username", TEXT)?,
        email: members.take_nullable("email", TEXT)?,
        email_verified: members.not_null("email_verified", FLAG)?,
        phone_number: members.take_nullable("phone_number", TEXT)?,
        phone_number_verified: members.not_null("phone_number_verified", FLAG)?,
        claims: members.take_all(is_claim).into_iter().collect(),
        disabled: members.not_null("disabled", FLAG)?,
        if_revision,
    };
    members.finish(known(&CHANGE_ONLY))?;
    Ok(patch)
}

/// A standard claim, so that exports of other providers hold it; here it is when the node last wrote.
fn ignore_updated_at(members: &mut Members) -> Result<(), Problem> {
    members.take::<f64>("updated_at", "a number of seconds").map(drop)
}

fn known<'a>(special: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    COMMON.iter().chain(&PROFILE_CLAIMS).chain(special).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn members(value: &Value) -> Members {
        Members::new(value.as_object().unwrap().clone())
    }

    fn detail(problem: &Problem) -> String {
        serde_json::to_value(problem).unwrap()["detail"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn core_s5_1_every_standard_claim_is_taken() {
        let new = new_user(members(&json!({
            "sub": "248289761001", "username": "jane", "password": "correct horse",
            "name": "Jane Doe", "given_name": "Jane", "family_name": "Doe", "family_name#ja": "ドウ",
            "middle_name": "M", "nickname": "JD", "preferred_username": "j.doe",
            "profile": "https://e.example/jane", "picture": "https://e.example/jane.png",
            "website": "https://jane.example", "gender": "female", "birthdate": "0000-10-31",
            "zoneinfo": "Europe/Paris", "locale": "en-US", "updated_at": 1_311_280_970,
            "email": "jane@e.example", "email_verified": true,
            "phone_number": "+14255551212", "phone_number_verified": false,
            "address": { "formatted": "1 Main St" },
        })))
        .unwrap();
        assert_eq!(new.claims.len(), PROFILE_CLAIMS.len() + 1);
        assert_eq!((new.subject.as_deref(), new.email_verified), (Some("248289761001"), true));
    }

    #[test]
    fn members_that_do_not_fit_are_named() {
        let cases = [
            (json!({}), "`username` is missing"),
            (json!({ "username": 7 }), "`username` is not a string"),
            (json!({ "username": "a", "emial": "a@b.c" }), "`emial` is not known; did you mean `email`?"),
            (json!({ "username": "a", "disabled": true }), "`disabled` cannot be set on a new user"),
            (json!({ "username": "a", "id": "usr_1" }), "`id` is set by the node"),
            (json!({ "username": "a", "sub": "1", "subject": "2" }), "`sub` is not the same as `subject`"),
        ];
        for (sent, expected) in cases {
            assert_eq!(detail(&new_user(members(&sent)).unwrap_err()), expected, "{sent}");
        }
    }

    #[test]
    fn a_change_tells_removal_from_absence() {
        let patch = user_change(members(&json!({ "email": null, "nickname": null, "disabled": true })), None)
            .unwrap();
        assert_eq!((patch.email, patch.phone_number, patch.disabled), (Some(None), None, Some(true)));
        assert_eq!(patch.claims.get("nickname"), Some(&Value::Null));
        for (sent, expected) in [
            (json!({ "username": null }), "`username` cannot be removed"),
            (json!({ "sub": "1" }), "`sub` never changes"),
            (json!({ "password": "x" }), "`password` is set at the user's `/password`"),
            (json!({ "disable": true }), "`disable` is not known; did you mean `disabled`?"),
        ] {
            assert_eq!(detail(&user_change(members(&sent), None).unwrap_err()), expected, "{sent}");
        }
    }
}
