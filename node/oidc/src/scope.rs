//! Scopes (RFC 6749 §3.3; OpenID Connect Core §5.4, §11).

use std::collections::BTreeSet;

use domicile_iam::model::{ClientMetadata, GrantType, is_scope_token};

use crate::error::{ErrorCode, OAuthError};

/// Makes a request an OpenID Connect request.
pub const OPENID: &str = "openid";
/// Asks for refresh tokens that outlive the session.
pub const OFFLINE_ACCESS: &str = "offline_access";
/// Bytes of a `scope` parameter at most.
pub const BYTES_MAX: usize = 4096;

/// Scopes that speak of a user, so that a client alone cannot have them.
const OF_A_USER: [&str; 6] = [OPENID, "profile", "email", "address", "phone", OFFLINE_ACCESS];

/// Reads a `scope` parameter: tokens between single spaces, in any order.
///
/// # Errors
/// `invalid_scope` if it is malformed.
pub fn parse(text: &str) -> Result<BTreeSet<String>, OAuthError> {
    let malformed = OAuthError::new(ErrorCode::InvalidScope, "scope is malformed");
    if text.len() > BYTES_MAX {
        return Err(malformed);
    }
    text.split(' ')
        .filter(|token| !token.is_empty())
        .map(|token| is_scope_token(token).then(|| token.to_owned()).ok_or(malformed))
        .collect()
}

/// The scopes a client may ask for: those it registered, or else the tenant's.
pub fn allowed(client: &ClientMetadata, tenant: &[String]) -> BTreeSet<String> {
    offered(client, tenant).map(str::to_owned).collect()
}

/// Those of them that it can have without a user (RFC 6749 §4.4).
pub fn allowed_without_user(client: &ClientMetadata, tenant: &[String]) -> BTreeSet<String> {
    offered(client, tenant).filter(|scope| !OF_A_USER.contains(scope)).map(str::to_owned).collect()
}

fn offered<'a>(client: &'a ClientMetadata, tenant: &'a [String]) -> impl Iterator<Item = &'a str> {
    let registered = client.scope.as_deref();
    let of_tenant: &[String] = if registered.is_some() { &[] } else { tenant };
    let refreshes = client.grant_types.contains(&GrantType::RefreshToken);
    let own = registered.unwrap_or_default().split(' ').filter(|token| !token.is_empty());
    let both = own.chain(of_tenant.iter().map(String::as_str));
    both.filter(move |scope| refreshes || *scope != OFFLINE_ACCESS)
}

/// What of a `scope` text means something to other resource servers than the issuer, if anything does.
pub fn elsewhere(text: &str) -> Option<String> {
    let left: Vec<&str> = text.split(' ').filter(|scope| !OF_A_USER.contains(scope)).collect();
    (!left.is_empty()).then(|| left.join(" "))
}

/// The scopes that mean something where a token is for: at each of `servers` those that it lists, at the issuer those of
/// OpenID Connect. `None`: any, since one of them lists none.
pub fn known(
    servers: impl IntoIterator<Item = Option<BTreeSet<String>>>,
    at_issuer: bool,
) -> Option<BTreeSet<String>> {
    let mut known = BTreeSet::new();
    for listed in servers {
        known.extend(listed?);
    }
    if at_issuer {
        known.extend(OF_A_USER.map(str::to_owned));
    }
    Some(known)
}

/// Those of a `scope` text that are `known`, if any is.
pub fn only(text: &str, known: &BTreeSet<String>) -> Option<String> {
    let left: Vec<&str> = text.split(' ').filter(|scope| known.contains(*scope)).collect();
    (!left.is_empty()).then(|| left.join(" "))
}

/// The `scope` text of a response.
pub fn text(scopes: &BTreeSet<String>) -> String {
    scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Whether `scope` text holds a scope.
pub fn holds(text: Option<&str>, scope: &str) -> bool {
    text.is_some_and(|text| text.split(' ').any(|token| token == scope))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::set;

    #[test]
    fn rfc6749_s3_3_scopes_are_a_set_of_tokens() {
        assert_eq!(parse("b a b"), Ok(set(&["a", "b"])));
        assert_eq!(parse(" "), Ok(set(&[])));
        for bad in ["a\tb", "a\"", "a\\", "é", &"a".repeat(BYTES_MAX + 1)] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(
            holds(Some("openid email"), "email")
                && !holds(Some("openid emails"), "email")
                && !holds(None, "email")
        );
    }

    #[test]
    fn rfc9068_s2_2_3_each_scope_means_something_at_one_of_the_resources() {
        let listed = |scopes: &[&str]| Some(set(scopes));
        assert_eq!(known([listed(&["read"]), listed(&["write"])], false), listed(&["read", "write"]));
        assert_eq!(
            known([listed(&["read"]), None], true),
            None,
            "where one lists none any may mean something"
        );
        let with_us = known([listed(&["read"])], true).unwrap();
        assert!(with_us.contains(OPENID) && with_us.contains("read") && !with_us.contains("write"));
        assert_eq!(
            only("openid read write", &set(&["read", "write", "list"])).as_deref(),
            Some("read write")
        );
        assert_eq!(only("openid", &set(&["read"])), None);
    }

    #[test]
    fn rfc6749_s4_4_what_a_client_may_ask_for_is_its_own_or_the_tenants_and_less_without_a_user() {
        let tenant = ["openid", "offline_access", "read"].map(str::to_owned);
        let client =
            |metadata: serde_json::Value| -> ClientMetadata { serde_json::from_value(metadata).unwrap() };
        let plain = client(serde_json::json!({ "grant_types": ["client_credentials"] }));
        assert_eq!(allowed(&plain, &tenant), set(&["openid", "read"]));
        assert_eq!(allowed_without_user(&plain, &tenant), set(&["read"]));
        let grants = ["client_credentials", "refresh_token"];
        let refreshing =
            client(serde_json::json!({ "grant_types": grants, "scope": "write  offline_access email" }));
        assert_eq!(allowed(&refreshing, &tenant), set(&["email", "offline_access", "write"]));
        assert_eq!(allowed_without_user(&refreshing, &tenant), set(&["write"]));
        let none = client(serde_json::json!({ "scope": "" }));
        assert_eq!(allowed(&none, &tenant), set(&[]), "registered for none, not for the tenant's");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(scopes in proptest::collection::btree_set("[!#-\\[\\]-~]{1,12}", 0..8)) {
            prop_assert_eq!(parse(&text(&scopes)), Ok(scopes));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }
    }
}
