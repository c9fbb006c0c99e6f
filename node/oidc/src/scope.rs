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
    let mut scopes: BTreeSet<String> = match &client.scope {
        Some(registered) => {
            registered.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect()
        }
        None => tenant.iter().cloned().collect(),
    };
    if !client.grant_types.contains(&GrantType::RefreshToken) {
        scopes.remove(OFFLINE_ACCESS);
    }
    scopes
}

/// Those of `scopes` that a client can have without a user (RFC 6749 §4.4).
pub fn without_user(scopes: BTreeSet<String>) -> BTreeSet<String> {
    scopes.into_iter().filter(|scope| !OF_A_USER.contains(&scope.as_str())).collect()
}

/// What of a `scope` text means something to other resource servers than the issuer, if anything does.
pub fn elsewhere(text: &str) -> Option<String> {
    let left: Vec<&str> = text.split(' ').filter(|scope| !OF_A_USER.contains(scope)).collect();
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
