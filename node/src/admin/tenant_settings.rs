//! A tenant's settings, changed member by member.

use domicile_iam::model::TenantSettings;
use serde_json::{Map, Value};

use super::initial_access_tokens;
use super::members::{Members, invalid};
use crate::problem::Problem;

/// `settings` with the members of `change` in place of their own; null gives the default. Bounds are
/// checked by the domain.
///
/// # Errors
/// 422 naming a member that is not known or of the wrong type.
pub(super) fn changed(
    settings: TenantSettings,
    change: Option<Map<String, Value>>,
) -> Result<TenantSettings, Problem> {
    let Some(change) = change else { return Ok(settings) };
    let (mut object, defaults) = (object(&settings), object(&TenantSettings::default()));
    let mut unknown = Map::new();
    for (name, value) in change {
        match (defaults.get(&name), value) {
            (None, value) => drop(unknown.insert(name, value)),
            (Some(default), Value::Null) => drop(object.insert(name, default.clone())),
            (Some(_), value) => {
                check_type(&name, &value)?;
                let value = whole(&name, value)?;
                object.insert(name, value);
            }
        }
    }
    Members::new(unknown).finish(defaults.keys().map(String::as_str))?;
    serde_json::from_value(Value::Object(object)).map_err(|_| Problem::internal())
}

/// Every setting has a default, so an object of one member is a whole document for the decoder.
fn check_type(name: &str, value: &Value) -> Result<(), Problem> {
    let alone = Map::from_iter([(name.to_owned(), value.clone())]);
    match serde_json::from_value::<TenantSettings>(Value::Object(alone)) {
        Ok(_) => Ok(()),
        Err(cause) => Err(invalid(&format!("settings.{name}"), &format!("does not fit: {cause}"))),
    }
}

/// A policy replaces the one before, and its members' names are checked, too.
fn whole(name: &str, value: Value) -> Result<Value, Problem> {
    match (name, value) {
        ("registration_policy", Value::Object(members)) => {
            let policy = initial_access_tokens::policy(&format!("settings.{name}"), members)?;
            serde_json::to_value(policy).map_err(|_| Problem::internal())
        }
        (_, value) => Ok(value),
    }
}

/// Switches that are left out of what is stored while they are off, and shown all the same.
const OFF_IS_ABSENT: [&str; 2] = ["require_pushed_authorization_requests", "self_registration"];
/// Settings that are left out while they say nothing.
const NONE_IS_ABSENT: [&str; 1] = ["terms_uri"];

/// The settings as a JSON object; they are plain numbers, texts and lists, so that this cannot fail.
pub(super) fn object(settings: &TenantSettings) -> Map<String, Value> {
    let mut object = match serde_json::to_value(settings) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => Map::new(),
    };
    for name in OFF_IS_ABSENT {
        object.entry(name).or_insert(Value::Bool(false));
    }
    for name in NONE_IS_ABSENT {
        object.entry(name).or_insert(Value::Null);
    }
    object.entry("developer_clients_max").or_insert(Value::from(0));
    for (name, value) in [
        ("registration", serde_json::to_value(settings.registration)),
        ("second_factor", serde_json::to_value(settings.second_factor)),
        ("registration_policy", serde_json::to_value(&settings.registration_policy)),
    ] {
        object.insert(name.to_owned(), value.unwrap_or_default());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(value: &Value) -> Result<TenantSettings, Problem> {
        let settings = TenantSettings { lockout_attempts: 3, ..TenantSettings::default() };
        changed(settings, value.as_object().cloned())
    }

    #[test]
    fn only_the_members_given_change() {
        let settings = change(&serde_json::json!({ "password_length_min": 12 })).unwrap();
        assert_eq!((settings.password_length_min, settings.lockout_attempts), (12, 3));
    }

    #[test]
    fn null_gives_the_default() {
        let settings = change(&serde_json::json!({ "lockout_attempts": null })).unwrap();
        assert_eq!(settings, TenantSettings::default());
    }

    #[test]
    fn every_setting_is_shown_also_while_it_is_off() {
        let shown = object(&TenantSettings::default());
        for name in OFF_IS_ABSENT {
            assert_eq!(shown[name], false);
            let on = change(&serde_json::json!({ name: true })).unwrap();
            assert_eq!(object(&on)[name], true);
            assert_eq!(serde_json::to_value(&on).unwrap()[name], true, "it is stored");
        }
    }

    #[test]
    fn who_may_register_what_is_shown_and_replaced_as_a_whole() {
        let shown = object(&TenantSettings::default());
        assert_eq!(shown["registration"], "closed");
        assert_eq!(shown["registration_policy"]["grant_types"][0], "authorization_code");
        let wanted = serde_json::json!({
            "registration": "open", "registration_policy": { "scopes": ["openid"], "require_pkce": true },
        });
        let settings = change(&wanted).unwrap();
        assert!(settings.registration_policy.require_pkce && !settings.registration.is_closed());
        for (change_to, named) in [
            (serde_json::json!({ "registration": "ajar" }), "`settings.registration` does not fit"),
            (serde_json::json!({ "registration_policy": { "scope": ["a"] } }), "did you mean `scopes`?"),
            (serde_json::json!({ "registration_policy": { "scopes": "a" } }), "does not fit"),
        ] {
            let document = serde_json::to_value(change(&change_to).unwrap_err()).unwrap();
            assert!(document["detail"].as_str().unwrap().contains(named), "{document}");
        }
    }

    #[test]
    fn unknown_members_and_wrong_types_are_named() {
        for (change_to, named) in [
            (serde_json::json!({ "lockout_attempt": 1 }), "did you mean `lockout_attempts`?"),
            (serde_json::json!({ "lockout_attempts": "1" }), "`settings.lockout_attempts` does not fit"),
            (
                serde_json::json!({ "signing_algorithms": ["HS256"] }),
                "`settings.signing_algorithms` does not fit",
            ),
        ] {
            let document = serde_json::to_value(change(&change_to).unwrap_err()).unwrap();
            assert!(document["detail"].as_str().unwrap().contains(named), "{document}");
        }
    }
}
