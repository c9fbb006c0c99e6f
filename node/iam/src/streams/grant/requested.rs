//! Which claims a request asks for beside those that its scopes bring (OpenID Connect Core §5.4, §5.5).

use std::collections::BTreeSet;

use super::Allowed;
use crate::model::ClaimsRequest;

/// Every claim about the user that an answer may hold (§5.1), with the scope that gives it (§5.4).
pub const STANDARD_CLAIMS: [(&str, &str); 19] = [
    ("name", "profile"),
    ("family_name", "profile"),
    ("given_name", "profile"),
    ("middle_name", "profile"),
    ("nickname", "profile"),
    ("preferred_username", "profile"),
    ("profile", "profile"),
    ("picture", "profile"),
    ("website", "profile"),
    ("gender", "profile"),
    ("birthdate", "profile"),
    ("zoneinfo", "profile"),
    ("locale", "profile"),
    ("updated_at", "profile"),
    ("email", "email"),
    ("email_verified", "email"),
    ("address", "address"),
    ("phone_number", "phone"),
    ("phone_number_verified", "phone"),
];

/// The scope that gives a claim about the user; `None` for a name that no answer of ours knows. A
/// language tag (§5.2) makes no difference.
pub fn scope_of_claim(claim: &str) -> Option<&'static str> {
    let name = claim.split_once('#').map_or(claim, |(name, _)| name);
    STANDARD_CLAIMS.iter().find(|(known, _)| *known == name).map(|(_, scope)| *scope)
}

/// The claims that need a consent of their own: none of `scopes` gives them.
pub fn claims_beyond_scopes(claims: &ClaimsRequest, scopes: &BTreeSet<String>) -> BTreeSet<String> {
    let names = claims.userinfo.keys().chain(claims.id_token.keys());
    names.filter(|name| needs_consent(name, scopes)).cloned().collect()
}

fn needs_consent(name: &str, scopes: &BTreeSet<String>) -> bool {
    scope_of_claim(name).is_some_and(|scope| !scopes.contains(scope))
}

/// The request without what was not allowed. Values that were asked for go too: only which claims
/// are given is kept, and a value can tell of a person.
pub fn allowed_claims(claims: &ClaimsRequest, scopes: &BTreeSet<String>, allowed: &Allowed) -> ClaimsRequest {
    let mut kept = claims.clone();
    for names in [&mut kept.userinfo, &mut kept.id_token] {
        names.retain(|name, asked| {
            asked.value = None;
            asked.values.clear();
            allowed.claims.contains(name) || !needs_consent(name, scopes)
        });
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn asked() -> ClaimsRequest {
        serde_json::from_value(json!({
            "userinfo": {"email": {"essential": true, "value": "a@b.example"}, "nickname": {}, "shoe_size": {}},
            "id_token": {"name#de": {"values": ["A", "B"]}},
        }))
        .unwrap()
    }

    #[test]
    fn oidc_core_s5_2_a_language_tag_does_not_change_the_scope() {
        assert_eq!(scope_of_claim("family_name#ja-Kana-JP"), Some("profile"));
        assert_eq!(scope_of_claim("phone_number_verified"), Some("phone"));
        assert_eq!(scope_of_claim("unknown"), None);
    }

    #[test]
    fn oidc_core_s5_4_a_claim_that_a_scope_gives_needs_no_consent_of_its_own() {
        assert_eq!(
            claims_beyond_scopes(&asked(), &names(&["openid"])),
            names(&["email", "name#de", "nickname"])
        );
        assert_eq!(claims_beyond_scopes(&asked(), &names(&["profile"])), names(&["email"]));
        assert_eq!(claims_beyond_scopes(&asked(), &names(&["profile", "email"])), names(&[]));
    }

    #[test]
    fn what_was_not_allowed_is_not_asked_and_values_are_not_kept() {
        let allowed = Allowed { scopes: names(&["openid"]), claims: names(&["email"]), ..Allowed::default() };
        let kept = allowed_claims(&asked(), &names(&["openid"]), &allowed);
        assert_eq!(kept.userinfo.keys().map(String::as_str).collect::<Vec<_>>(), ["email", "shoe_size"]);
        assert!(kept.id_token.is_empty());
        let email = &kept.userinfo["email"];
        assert!(email.essential && email.value.is_none() && email.values.is_empty());
    }
}
