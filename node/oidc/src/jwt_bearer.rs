//! The JWT bearer grant (RFC 7523 §2.1, RFC 7521 §4.1): a trusted issuer's word about a user, for a token.

use std::collections::BTreeSet;

use domicile_iam::model::{ADMIN_SCOPE, ClientView, TenantContext, TrustedIssuer};

use crate::assertion::{Assertion, AssertionFault, Rules, Use};
use crate::error::{ErrorCode, OAuthError};
use crate::{Timestamp, scope};

/// `grant_type`.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How far `exp` of a grant may be away, in seconds.
const LIFETIME_MAX_S: u64 = 3_600;

/// Whose word it is, if this client may bring it here now. Nothing is proved before its signature is
/// verified with the issuer's keys.
///
/// # Errors
/// [`AssertionFault`]; its sender learns `invalid_grant` (RFC 7523 §3.1).
pub fn judge(
    assertion: &Assertion,
    client: &ClientView,
    tenant: &TenantContext,
    now: Timestamp,
) -> Result<(TrustedIssuer, Option<Use>), AssertionFault> {
    let issuer = client.metadata.trusted_issuer(assertion.issuer()).ok_or(AssertionFault::Party)?;
    let rules = Rules {
        issuer: &issuer.issuer,
        subject: None,
        audiences: &[tenant.issuer.as_str()],
        audience_among_others: false,
        typ: "authorization-grant+jwt",
        lifetime_max_s: LIFETIME_MAX_S,
        age_max_s: None,
        needs_jti: false,
    };
    let used = assertion.check(&rules, now)?;
    Ok((issuer, used))
}

/// What is given: what is asked for, as far as the issuer's assertions and the client may have it. Neither an
/// ID token nor a refresh token is given, so not what asks for those; and operators prove themselves.
///
/// # Errors
/// `invalid_scope` if something was asked for and nothing of it may be had.
pub fn scopes(
    asked: Option<BTreeSet<String>>,
    issuer: &TrustedIssuer,
    client: &ClientView,
    tenant: &TenantContext,
) -> Result<BTreeSet<String>, OAuthError> {
    let allowed = scope::allowed(&client.metadata, &tenant.settings.scopes);
    let mut given: BTreeSet<String> = issuer.scopes().intersection(&allowed).cloned().collect();
    for scope in [scope::OPENID, scope::OFFLINE_ACCESS, ADMIN_SCOPE] {
        given.remove(scope);
    }
    let Some(asked) = asked else { return Ok(given) };
    given.retain(|scope| asked.contains(scope));
    if given.is_empty() && !asked.is_empty() {
        return Err(OAuthError::new(ErrorCode::InvalidScope, "no scope that such an assertion gives"));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use domicile_iam::model::{SigningAlgorithm, TRUSTED_ISSUERS};
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{ISSUER, NOW, client_with, set, tenant, unsigned_assertion};

    const IDP: &str = "https://idp.example";

    fn trusting() -> ClientView {
        client_with(|metadata| {
            let issuer = json!({"issuer": IDP, "jwks_uri": "https://idp.example/jwks", "scope": "read write openid domicile:admin"});
            metadata.extra.insert(TRUSTED_ISSUERS.to_owned(), json!([issuer]));
            metadata.scope = Some("read profile openid offline_access domicile:admin".to_owned());
            metadata.access_token_signed_response_alg = SigningAlgorithm::ES256;
        })
    }

    fn judged(change: &[(&str, Value)], client: &ClientView) -> Result<Option<Use>, AssertionFault> {
        let now = NOW.seconds();
        let mut claims = json!({"iss": IDP, "sub": "ada", "aud": ISSUER, "exp": now + 60});
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        let token = unsigned_assertion(&json!({"alg": "RS256"}), &claims, b"s");
        judge(&Assertion::parse(&token)?, client, &tenant(), NOW).map(|(_, used)| used)
    }

    #[test]
    fn rfc7523_s3_only_trusted_issuers_speak_and_only_to_this_server() {
        let client = trusting();
        assert_eq!(judged(&[], &client), Ok(None));
        assert!(judged(&[("jti", json!("j"))], &client).unwrap().is_some());
        assert_eq!(judged(&[("iss", json!("https://other.example"))], &client), Err(AssertionFault::Party));
        assert_eq!(
            judged(&[], &client_with(|_| {})),
            Err(AssertionFault::Party),
            "this client trusts nobody"
        );
        assert_eq!(
            judged(&[("aud", json!("https://other.example"))], &client),
            Err(AssertionFault::Audience)
        );
        let far = json!(NOW.seconds() + 2 * LIFETIME_MAX_S);
        assert_eq!(judged(&[("exp", far)], &client), Err(AssertionFault::Lifetime));
    }

    #[test]
    fn rfc7521_s4_1_scopes_are_those_of_issuer_and_client_both() {
        let client = trusting();
        let issuer = client.metadata.trusted_issuer(IDP).unwrap();
        let given = |asked: Option<&[&str]>| {
            scopes(asked.map(set), &issuer, &client, &tenant()).map_err(|error| error.code)
        };
        assert_eq!(given(None), Ok(set(&["read"])));
        assert_eq!(given(Some(&["read", "write", "profile"])), Ok(set(&["read"])));
        assert_eq!(given(Some(&["write"])), Err(ErrorCode::InvalidScope));
        assert_eq!(given(Some(&["openid", "offline_access", ADMIN_SCOPE])), Err(ErrorCode::InvalidScope));
    }
}
