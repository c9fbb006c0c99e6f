//! The UserInfo endpoint (OpenID Connect Core §5.3): claims by scope and by the `claims` parameter.

use domicile_iam::ids::UserId;
use domicile_iam::model::{AccessTokenClaims, UserView};
use domicile_iam::streams::grant::{STANDARD_CLAIMS, scope_of_claim};
use serde_json::{Map, Value};

use crate::bearer::BearerError;
use crate::response::Response;
use crate::{claims_locales, scope};

/// Whose claims a valid token may read.
///
/// # Errors
/// [`BearerError::InsufficientScope`] without `openid` (RFC 6750 §3.1), [`BearerError::InvalidToken`]
/// if it acts for no user.
///
/// A token for other resource servers only is none for this one (RFC 9068 §4).
pub fn user_of(token: &AccessTokenClaims) -> Result<UserId, BearerError> {
    if !token.aud.contains(&token.iss) {
        return Err(BearerError::InvalidToken);
    }
    if !scope::holds(token.scope.as_deref(), scope::OPENID) {
        return Err(BearerError::InsufficientScope(scope::OPENID));
    }
    token.user.ok_or(BearerError::InvalidToken)
}

/// The answer: always `sub`, and what was granted and is known (§5.3.2: unknown claims are left out).
///
/// A scope gives a claim in every language there is, unless `claims_locales` says which are wanted.
pub fn response(token: &AccessTokenClaims, user: &UserView) -> Response {
    let locales = &token.claims_locales;
    let mut body = Map::new();
    for (name, scope) in STANDARD_CLAIMS {
        let by_scope = scope::holds(token.scope.as_deref(), scope);
        if !by_scope && !token.userinfo_claims.contains_key(name) {
            continue;
        }
        let fitted = give(&mut body, user, name, locales);
        if by_scope && !fitted {
            claims_locales::variants(user, name).for_each(|tagged| put(&mut body, user, tagged, tagged));
        }
    }
    for tagged in token.userinfo_claims.keys().filter(|name| name.contains('#')) {
        put(&mut body, user, tagged, tagged);
    }
    // The one that its client knows the user by.
    body.insert("sub".to_owned(), token.sub.as_str().into());
    Response::json(200, &Value::Object(body))
}

/// Adds a claim that was asked for by `name`, in the languages wanted; as it is if none of them fits.
/// Says whether one did.
pub(crate) fn give(body: &mut Map<String, Value>, user: &UserView, name: &str, locales: &[String]) -> bool {
    let fitting = claims_locales::fitting(user, name, locales);
    for (given, stored) in &fitting {
        put(body, user, given, stored);
    }
    if fitting.is_empty() {
        put(body, user, name, name);
    }
    !fitting.is_empty()
}

fn put(body: &mut Map<String, Value>, user: &UserView, given: &str, stored: &str) {
    body.extend(claim(user, stored).map(|value| (given.to_owned(), value)));
}

/// One standard claim (§5.1), also with a language tag (§5.2); `None` if the user has no such value.
pub fn claim(user: &UserView, name: &str) -> Option<Value> {
    scope_of_claim(name)?;
    match name {
        "email" => user.email.as_deref().map(Value::from),
        "email_verified" => user.email.as_ref().map(|_| user.email_verified.into()),
        "phone_number" => user.phone_number.as_deref().map(Value::from),
        "phone_number_verified" => user.phone_number.as_ref().map(|_| user.phone_number_verified.into()),
        "updated_at" => Some(user.updated_at.seconds().into()),
        "preferred_username" => Some(stored(user, name).unwrap_or_else(|| user.username.as_str().into())),
        _ => stored(user, name),
    }
}

fn stored(user: &UserView, name: &str) -> Option<Value> {
    user.claims.get(name).filter(|value| !value.is_null()).cloned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domicile_iam::model::ClaimRequest;

    use super::*;
    use crate::testing::{client, issue, json, tenant, user};

    fn token(scopes: &[&str], claims: &[&str]) -> AccessTokenClaims {
        let mut issue = issue(scopes);
        issue.claims.userinfo =
            claims.iter().map(|name| ((*name).to_owned(), ClaimRequest::default())).collect();
        crate::access_token::for_user(&tenant(), &client(), &issue, &user())
    }

    struct Case {
        spec: &'static str,
        scopes: &'static [&'static str],
        claims: &'static [&'static str],
        expects: &'static [&'static str],
    }

    #[test]
    fn claims_are_given_by_scope_and_by_name() {
        const PROFILE: &[&str] = &[
            "sub",
            "name",
            "given_name",
            "family_name",
            "family_name#ja",
            "birthdate",
            "preferred_username",
            "updated_at",
        ];
        let cases = [
            Case { spec: "OIDC Core §5.3.2", scopes: &["openid"], claims: &[], expects: &["sub"] },
            Case { spec: "OIDC Core §5.4", scopes: &["openid", "profile"], claims: &[], expects: PROFILE },
            Case {
                spec: "OIDC Core §5.4",
                scopes: &["openid", "email"],
                claims: &[],
                expects: &["sub", "email", "email_verified"],
            },
            Case {
                spec: "OIDC Core §5.4",
                scopes: &["openid", "address"],
                claims: &[],
                expects: &["sub", "address"],
            },
            Case {
                spec: "OIDC Core §5.4",
                scopes: &["openid", "phone"],
                claims: &[],
                expects: &["sub", "phone_number", "phone_number_verified"],
            },
            Case {
                spec: "OIDC Core §5.5",
                scopes: &["openid"],
                claims: &["name", "picture"],
                expects: &["sub", "name"],
            },
            Case {
                spec: "OIDC Core §5.2",
                scopes: &["openid"],
                claims: &["family_name#ja"],
                expects: &["sub", "family_name#ja"],
            },
        ];
        for case in cases {
            let body = json(&response(&token(case.scopes, case.claims), &user()));
            let got: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(got, case.expects.iter().copied().collect(), "{} {:?}", case.spec, case.scopes);
            assert_eq!(body["sub"], "sub-ada");
        }
    }

    #[test]
    fn oidc_core_s5_2_claims_locales_choose_the_language_of_a_claim() {
        type Names = &'static [&'static str];
        let token = |scopes: &[&str], claims: &[&str], locales: &[&str]| AccessTokenClaims {
            claims_locales: locales.iter().map(|&tag| tag.to_owned()).collect(),
            ..token(scopes, claims)
        };
        let profile: Names = &["openid", "profile"];
        let cases: [(Names, Names, Names, _, _); 7] = [
            (profile, &[], &[], Some("Lovelace"), Some("ラブレス")),
            (profile, &[], &["ja-JP"], Some("ラブレス"), None),
            (profile, &[], &["fr", "ja"], Some("Lovelace"), Some("ラブレス")),
            (profile, &[], &["fr"], Some("Lovelace"), Some("ラブレス")),
            (&["openid"], &["family_name"], &["ja"], Some("ラブレス"), None),
            (&["openid"], &["family_name"], &["fr"], Some("Lovelace"), None),
            (profile, &["family_name#ja"], &["ja"], Some("ラブレス"), Some("ラブレス")),
        ];
        for (scopes, claims, locales, plain, tagged) in cases {
            let body = json(&response(&token(scopes, claims, locales), &user()));
            let text = |name: &str| body.get(name).and_then(Value::as_str);
            let got = (text("family_name"), text("family_name#ja"));
            assert_eq!(got, (plain, tagged), "{scopes:?} {claims:?} {locales:?}");
            assert!(scopes != profile || body["given_name"] == "Ada", "no other claim is lost");
        }
    }

    #[test]
    fn oidc_core_s5_1_values_have_the_types_of_the_specification() {
        let body = json(&response(&token(&["openid", "profile", "email", "phone", "address"], &[]), &user()));
        assert_eq!(body["updated_at"], user().updated_at.seconds());
        assert_eq!(body["email_verified"], true);
        assert_eq!(body["phone_number_verified"], false);
        assert_eq!(body["address"]["country"], "GB");
        assert_eq!(body["preferred_username"], "ada");
    }

    #[test]
    fn a_user_without_an_address_has_no_verified_one() {
        let bare = UserView { email: None, phone_number: None, ..user() };
        for name in ["email", "email_verified", "phone_number", "phone_number_verified", "password"] {
            assert_eq!(claim(&bare, name), None, "{name}");
        }
    }

    #[test]
    fn rfc6750_s3_1_only_an_openid_token_of_a_user_reads_claims() {
        assert_eq!(user_of(&token(&["openid"], &[])), Ok(user().id));
        assert_eq!(user_of(&token(&["email"], &[])), Err(BearerError::InsufficientScope("openid")));
        let machine = AccessTokenClaims { user: None, ..token(&["openid"], &[]) };
        assert_eq!(user_of(&machine), Err(BearerError::InvalidToken));
    }
}
