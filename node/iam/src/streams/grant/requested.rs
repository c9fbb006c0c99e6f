//! Which claims a request asks for beside those that its scopes bring (OpenID Connect Core §5.4, §5.5).

use std::collections::BTreeSet;

use super::Allowed;
use crate::model::ClaimsRequest;

/// The scope that gives a claim about the user; `None` for a name that no answer of ours knows. A
/// language tag (§5.2) makes no difference.
pub fn scope_of_claim(claim: &str) -> Option<&'static str> {
    match claim.split_once('#').map_or(claim, |(name, _)| name) {
        "name" | "family_name" | "given_name" | "middle_name" | "nickname" | "preferred_username"
        | "profile" | "picture" | "website" | "gender" | "birthdate" | "zoneinfo" | "locale"
        | "updated_at" => Some("profile"),
        "email" | "email_verified" => Some("email"),
        "address" => Some("address"),
        "phone_number" | "phone_number_verified" => Some("phone"),
        _ => None,
    }
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
        let allowed = Allowed { scopes: names(&["openid"]), claims: names(&["email"]) };
        let kept = allowed_claims(&asked(), &names(&["openid"]), &allowed);
        assert_eq!(kept.userinfo.keys().map(String::as_str).collect::<Vec<_>>(), ["email", "shoe_size"]);
        assert!(kept.id_token.is_empty());
        let email = &kept.userinfo["email"];
        assert!(email.essential && email.value.is_none() && email.values.is_empty());
    }
}
