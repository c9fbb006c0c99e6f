//! The `claims` parameter (OpenID Connect Core §5.5).

use std::collections::{BTreeMap, BTreeSet};

use domicile_iam::model::{ClaimRequest, ClaimsRequest};
use domicile_iam::streams::grant::scope_of_claim;
use serde_json::{Map, Value};

use crate::error::OAuthError;

/// Bytes of a `claims` parameter at most.
pub const BYTES_MAX: usize = 8 * 1024;
/// Claims in it at most.
pub const CLAIMS_MAX: usize = 64;

/// What a `claims` parameter asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimsParameter {
    /// Claims about the user, known ones only (§5.5: others are ignored).
    pub personal: ClaimsRequest,
    /// The only subjects wanted (§5.5.1: with `value` or `values`).
    pub subjects: Option<BTreeSet<String>>,
    /// The only `acr` values accepted, asked for as essential (§5.5.1.1).
    pub acr_essential: Vec<String>,
    /// `acr` values wanted, but not insisted on.
    pub acr_voluntary: Vec<String>,
    /// Whether `auth_time` was asked for.
    pub auth_time: bool,
}

/// Reads a `claims` parameter.
///
/// # Errors
/// `invalid_request` if it is no JSON object of the form in §5.5, or out of bounds.
pub fn parse(text: &str) -> Result<ClaimsParameter, OAuthError> {
    if text.len() > BYTES_MAX {
        return Err(OAuthError::invalid_request("claims is too long"));
    }
    let Ok(Value::Object(top)) = serde_json::from_str::<Value>(text) else {
        return Err(malformed());
    };
    let userinfo = member(&top, "userinfo")?;
    let id_token = member(&top, "id_token")?;
    if userinfo.len() + id_token.len() > CLAIMS_MAX {
        return Err(OAuthError::invalid_request("claims asks for too many claims"));
    }
    let mut subjects: Option<BTreeSet<String>> = None;
    for sub in [userinfo.get("sub"), id_token.get("sub")].into_iter().flatten() {
        if let Some(wanted) = wanted_texts(sub) {
            let both = |known: BTreeSet<String>| known.intersection(&wanted).cloned().collect();
            subjects = Some(subjects.map_or_else(|| wanted.clone(), both));
        }
    }
    let acr = id_token.get("acr");
    let acr_values: Vec<String> = acr.map(wanted_list).unwrap_or_default();
    let essential = acr.is_some_and(|acr| acr.essential);
    let (acr_essential, acr_voluntary) =
        if essential { (acr_values, Vec::new()) } else { (Vec::new(), acr_values) };
    Ok(ClaimsParameter {
        auth_time: id_token.contains_key("auth_time"),
        personal: ClaimsRequest {
            userinfo: personal(userinfo),
            id_token: personal(id_token),
            locales: Vec::new(),
        },
        subjects,
        acr_essential,
        acr_voluntary,
    })
}

fn malformed() -> OAuthError {
    OAuthError::invalid_request("claims is malformed")
}

fn member(top: &Map<String, Value>, name: &str) -> Result<BTreeMap<String, ClaimRequest>, OAuthError> {
    match top.get(name) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(claims)) => claims
            .iter()
            .map(|(claim, asked)| {
                let asked = match asked {
                    Value::Null => ClaimRequest::default(),
                    Value::Object(_) => serde_json::from_value(asked.clone()).map_err(|_| malformed())?,
                    Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                        return Err(malformed());
                    }
                };
                Ok((claim.clone(), asked))
            })
            .collect(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => Err(malformed()),
    }
}

/// Without wanted values: a claim that has another one is given all the same, and the token stays small.
fn personal(claims: BTreeMap<String, ClaimRequest>) -> BTreeMap<String, ClaimRequest> {
    claims
        .into_iter()
        .filter(|(name, _)| scope_of_claim(name).is_some())
        .map(|(name, asked)| (name, ClaimRequest { essential: asked.essential, ..ClaimRequest::default() }))
        .collect()
}

fn wanted_list(asked: &ClaimRequest) -> Vec<String> {
    asked.value.iter().chain(&asked.values).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn wanted_texts(asked: &ClaimRequest) -> Option<BTreeSet<String>> {
    let some = asked.value.is_some() || !asked.values.is_empty();
    some.then(|| wanted_list(asked).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn oidc_core_s5_5_the_example_of_the_specification_is_understood() {
        let parsed = parse(
            r#"{"userinfo":{"given_name":{"essential":true},"nickname":null,"email":{"essential":true},
                "email_verified":{"essential":true},"picture":null,"http://example.info/claims/groups":null},
                "id_token":{"auth_time":{"essential":true},"acr":{"values":["urn:mace:incommon:iap:silver"]}}}"#,
        )
        .unwrap();
        let names: Vec<&str> = parsed.personal.userinfo.keys().map(String::as_str).collect();
        assert_eq!(names, ["email", "email_verified", "given_name", "nickname", "picture"]);
        assert!(parsed.personal.id_token.is_empty());
        assert!(parsed.auth_time);
        assert_eq!(parsed.acr_voluntary, ["urn:mace:incommon:iap:silver"]);
        assert!(parsed.acr_essential.is_empty());
        assert_eq!(parsed.subjects, None);
    }

    #[test]
    fn oidc_core_s5_5_1_a_subject_asked_for_twice_must_be_the_same() {
        let parsed =
            parse(r#"{"id_token":{"sub":{"value":"a"}},"userinfo":{"sub":{"values":["a","b"]}}}"#).unwrap();
        assert_eq!(parsed.subjects, Some(BTreeSet::from(["a".to_owned()])));
        let none = parse(r#"{"id_token":{"sub":{"value":"a"}},"userinfo":{"sub":{"value":"b"}}}"#).unwrap();
        assert_eq!(none.subjects, Some(BTreeSet::new()));
    }

    #[test]
    fn oidc_core_s5_5_what_is_no_such_object_is_refused() {
        for bad in [
            "",
            "null",
            "[]",
            "{",
            r#"{"userinfo":[]}"#,
            r#"{"id_token":{"acr":1}}"#,
            r#"{"id_token":{"acr":{"values":1}}}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=CLAIMS_MAX).map(|i| format!("\"c{i}\":null")).collect();
        assert!(parse(&format!("{{\"userinfo\":{{{}}}}}", many.join(","))).is_err());
        assert!(parse(&"[".repeat(BYTES_MAX)).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn arbitrary_json_never_panics(text in r#"\{"(userinfo|id_token)":\{"(sub|acr|name)":[\[\]{}:,"a-z0-9]{0,40}\}\}"#) {
            let _ = parse(&text);
        }
    }
}
