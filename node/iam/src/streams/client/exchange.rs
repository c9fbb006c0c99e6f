//! What may be registered about token exchange (RFC 8693).

use serde::Deserialize as _;
use serde_json::Value;
use url::Url;

use super::metadata::refuse;
use crate::commands::ClientRefusal;
use crate::model::{
    AuthMethod, ClientMetadata, ExchangePolicy, GrantType, MAY_ACT, TOKEN_EXCHANGE, is_scope_token,
};

/// Values of each list at most.
const LIST_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 2048;

/// Checks the policy, and that the grant has one.
///
/// # Errors
/// [`ClientRefusal::InvalidClientMetadata`].
pub(super) fn check_exchange(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    if let Some(actor) = metadata.extra.get(MAY_ACT)
        && !actor.as_str().is_some_and(|actor| (1..=255).contains(&actor.len()))
    {
        return Err(refuse(MAY_ACT, "is not a client id"));
    }
    let exchanges = metadata.grant_types.contains(&GrantType::TokenExchange);
    if exchanges && metadata.token_endpoint_auth_method == AuthMethod::None {
        return Err(refuse("grant_types", "has the token exchange, which a public client may not use"));
    }
    match metadata.extra.get(TOKEN_EXCHANGE) {
        Some(policy) => check_policy(policy),
        None if exchanges => Err(refuse(TOKEN_EXCHANGE, "is needed for the token exchange grant")),
        None => Ok(()),
    }
}

fn check_policy(policy: &Value) -> Result<(), ClientRefusal> {
    let policy = ExchangePolicy::deserialize(policy).map_err(|_| {
        refuse(
            TOKEN_EXCHANGE,
            "is not an object of `scope`, `subject_clients`, `actor_clients`, `audiences`, `impersonation`",
        )
    })?;
    let lists = [&policy.subject_clients, &policy.actor_clients, &policy.audiences];
    if lists.iter().any(|list| list.len() > LIST_MAX) {
        return Err(refuse(TOKEN_EXCHANGE, "has a list of over 64 values"));
    }
    if lists.iter().copied().flatten().any(|text| !(1..=TEXT_BYTES_MAX).contains(&text.len())) {
        return Err(refuse(TOKEN_EXCHANGE, "has a value that is not 1 to 2048 bytes"));
    }
    let is_resource =
        |text: &String| !text.contains('#') && (Url::parse(text).is_ok() || !text.contains(':'));
    if !policy.audiences.iter().all(is_resource) {
        return Err(refuse(
            TOKEN_EXCHANGE,
            "has an audience that is neither a name nor a URI without fragment",
        ));
    }
    if policy.scopes().iter().all(|scope| is_scope_token(scope)) {
        Ok(())
    } else {
        Err(refuse(TOKEN_EXCHANGE, "has a `scope` that is not a list of scope tokens"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check_metadata;
    use super::*;

    fn registers(more: &Value) -> bool {
        let mut metadata = json!({"grant_types": [GrantType::TokenExchange], "response_types": []});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        check_metadata(serde_json::from_value(metadata).unwrap()).is_ok()
    }

    #[test]
    fn rfc8693_s2_1_the_grant_needs_a_whole_policy_and_a_client_that_proves_itself() {
        let policy = json!({
            "scope": "read", "subject_clients": ["app"], "audiences": ["https://api.example", "backend"],
            "actor_clients": ["app"], "impersonation": true,
        });
        assert!(registers(&json!({ TOKEN_EXCHANGE: policy })));
        assert!(registers(&json!({ TOKEN_EXCHANGE: {"scope": ""}, MAY_ACT: "app" })));
        let with = |name: &str, value: Value| {
            let mut changed = policy.clone();
            changed[name] = value;
            json!({ TOKEN_EXCHANGE: changed })
        };
        for bad in [
            json!({}),
            json!({ TOKEN_EXCHANGE: "all" }),
            json!({ TOKEN_EXCHANGE: {"subject_clients": []} }),
            json!({ TOKEN_EXCHANGE: policy, "token_endpoint_auth_method": "none" }),
            json!({ TOKEN_EXCHANGE: policy, MAY_ACT: "" }),
            json!({ TOKEN_EXCHANGE: policy, MAY_ACT: {"sub": "app"} }),
            with("subject_clients", json!(vec!["app"; 65])),
            with("subject_clients", json!("*")),
            with("audiences", json!(["https://api.example#x"])),
            with("audiences", json!([""])),
            with("scope", json!("a\"b")),
            with("surprise", json!(1)),
        ] {
            assert!(!registers(&bad), "{bad}");
        }
    }
}
