//! What of a registration that no operator made is taken over: RFC 7591 §2 lets the server replace or leave
//! out what is asked for, and §3.2.1 has it say what came of it.

use serde_json::Value;
use url::Url;

use super::metadata::refuse;
use super::shown_names::deceptive;
use crate::commands::ClientRefusal;
use crate::model::{
    ACCESS_TOKEN_LIFETIME, ADMIN_SCOPE, ALLOWED_ORIGINS, ClientMetadata, REFRESH_TOKEN_MODE,
    RegistrationPolicy, SECTOR_IDENTIFIER_URI, SOFTWARE_STATEMENT, SigningAlgorithm, TenantSettings,
};

/// Members that are kept, besides the typed ones; a language tag may follow (RFC 7591 §2.2). Others are
/// ignored, as §2 asks: what is not known here, and what gives rights over others, which only operators do.
const KEPT: [&str; 19] = [
    "client_name",
    "client_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "contacts",
    "software_id",
    "software_version",
    SOFTWARE_STATEMENT,
    "initiate_login_uri",
    "jwks",
    "jwks_uri",
    "token_endpoint_auth_signing_alg",
    SECTOR_IDENTIFIER_URI,
    ACCESS_TOKEN_LIFETIME,
    ALLOWED_ORIGINS,
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    REFRESH_TOKEN_MODE,
];

fn is_kept(name: &str) -> bool {
    let base = name.split_once('#').map_or(name, |(base, _)| base);
    KEPT.contains(&base)
}

/// `metadata` within the bounds of `policy` and of the tenant.
///
/// # Errors
/// [`ClientRefusal`] for what cannot be replaced without changing what the client is.
pub fn admitted(
    mut metadata: ClientMetadata,
    policy: &RegistrationPolicy,
    settings: &TenantSettings,
) -> Result<ClientMetadata, ClientRefusal> {
    metadata.resource_identifiers.clear();
    metadata.extra.retain(|name, _| is_kept(name));
    if let Some(member) = deceptive(&metadata) {
        return Err(refuse(member, "has a control character, or one that turns the direction of text"));
    }
    if policy.require_software_statement && !metadata.extra.contains_key(SOFTWARE_STATEMENT) {
        return Err(refuse(SOFTWARE_STATEMENT, "is required here"));
    }
    metadata.grant_types.retain(|grant| policy.grant_types.contains(grant));
    if metadata.grant_types.is_empty() {
        return Err(refuse("grant_types", "has none that may be registered here"));
    }
    if !policy.token_endpoint_auth_methods.contains(&metadata.token_endpoint_auth_method) {
        return Err(refuse("token_endpoint_auth_method", "may not be registered here"));
    }
    for uri in &metadata.redirect_uris {
        if let Some(rule) = outside(uri, policy) {
            return Err(ClientRefusal::InvalidRedirectUri { uri: uri.clone(), rule });
        }
    }
    if let Some(rule) = metadata.post_logout_redirect_uris.iter().find_map(|uri| outside(uri, policy)) {
        return Err(refuse("post_logout_redirect_uris", rule));
    }
    let listed = metadata.extra.get(ALLOWED_ORIGINS).and_then(Value::as_array);
    if listed.into_iter().flatten().filter_map(Value::as_str).any(|origin| outside(origin, policy).is_some())
    {
        return Err(refuse(ALLOWED_ORIGINS, "has an origin that may not be registered here"));
    }
    restrict_scope(&mut metadata, policy, settings)?;
    restrict_algorithms(&mut metadata, settings);
    restrict_lifetime(&mut metadata, policy);
    if policy.forbid_static_refresh_tokens {
        metadata.extra.remove(REFRESH_TOKEN_MODE);
    }
    if !policy.token_endpoint_auth_audience.is_issuer() {
        metadata.extra.insert("token_endpoint_auth_audience".to_owned(), Value::from("token_endpoint"));
    }
    metadata.require_pkce |= policy.require_pkce;
    metadata.require_pushed_authorization_requests |= policy.require_pushed_authorization_requests;
    metadata.dpop_bound_access_tokens |= policy.dpop_bound_access_tokens;
    Ok(metadata)
}

/// What of the policy a redirect URI breaks. That it is one at all is checked elsewhere.
fn outside(uri: &str, policy: &RegistrationPolicy) -> Option<&'static str> {
    let url = Url::parse(uri).ok()?;
    let schemes = &policy.redirect_uri_schemes;
    if !schemes.is_empty() && !schemes.iter().any(|scheme| scheme == url.scheme()) {
        return Some("has a scheme that may not be registered here");
    }
    let hosts = &policy.redirect_uri_hosts;
    let fits = |host: &str| hosts.iter().any(|pattern| is_below(pattern, host));
    // An app's own scheme has no host to bound; the list of schemes bounds it.
    let bounded = !hosts.is_empty() && matches!(url.scheme(), "http" | "https");
    (bounded && !url.host_str().is_some_and(fits)).then_some("has a host that may not be registered here")
}

fn is_below(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|left| left.len() > 1 && left.ends_with('.')),
        None => pattern == host,
    }
}

/// Never more than the tenant or the policy has; none named is all of it.
fn restrict_scope(
    metadata: &mut ClientMetadata,
    policy: &RegistrationPolicy,
    settings: &TenantSettings,
) -> Result<(), ClientRefusal> {
    let listed = if policy.scopes.is_empty() { &settings.scopes } else { &policy.scopes };
    let allowed = |scope: &str| scope != ADMIN_SCOPE && listed.iter().any(|known| known == scope);
    let Some(asked) = &metadata.scope else {
        if !policy.scopes.is_empty() {
            let all: Vec<&str> = listed.iter().map(String::as_str).filter(|scope| allowed(scope)).collect();
            metadata.scope = Some(all.join(" "));
        }
        return Ok(());
    };
    let kept: Vec<&str> = asked.split(' ').filter(|scope| allowed(scope)).collect();
    if kept.is_empty() && asked.split(' ').any(|scope| !scope.is_empty()) {
        return Err(refuse("scope", "has none that may be registered here"));
    }
    metadata.scope = Some(kept.join(" "));
    Ok(())
}

/// An algorithm that the tenant keeps no key for would sign nothing.
fn restrict_algorithms(metadata: &mut ClientMetadata, settings: &TenantSettings) {
    let known = |algorithm: SigningAlgorithm| settings.signing_algorithms.contains(&algorithm);
    let Some(first) = settings.signing_algorithms.first().copied() else { return };
    for algorithm in
        [&mut metadata.id_token_signed_response_alg, &mut metadata.access_token_signed_response_alg]
    {
        if !known(*algorithm) {
            *algorithm = first;
        }
    }
    for algorithm in
        [&mut metadata.userinfo_signed_response_alg, &mut metadata.introspection_signed_response_alg]
    {
        if algorithm.is_some_and(|algorithm| !known(algorithm)) {
            *algorithm = Some(first);
        }
    }
}

fn restrict_lifetime(metadata: &mut ClientMetadata, policy: &RegistrationPolicy) {
    let Some(max) = policy.access_token_lifetime_max_s else { return };
    let asked = metadata.access_token_lifetime_s().unwrap_or(max);
    metadata.extra.insert(ACCESS_TOKEN_LIFETIME.to_owned(), Value::from(asked.min(max)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{AuthMethod, GrantType};

    #[allow(clippy::needless_pass_by_value, reason = "made where it is passed")]
    fn metadata(more: Value) -> ClientMetadata {
        let mut whole = json!({"redirect_uris": ["https://app.example.org/cb"]});
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn by(policy: Value, more: Value) -> Result<ClientMetadata, ClientRefusal> {
        let policy = serde_json::from_value(policy).unwrap();
        admitted(metadata(more), &policy, &TenantSettings::default())
    }

    #[test]
    fn rfc7591_s2_grants_and_scopes_beyond_the_policy_are_left_out() {
        let asked = json!({
            "grant_types": ["authorization_code", "client_credentials"],
            "scope": format!("openid profile {ADMIN_SCOPE} unheard-of"),
        });
        let got = by(json!({}), asked.clone()).unwrap();
        assert_eq!(got.grant_types, [GrantType::AuthorizationCode]);
        assert_eq!(got.scope.as_deref(), Some("openid profile"));
        let got = by(json!({"scopes": ["openid"]}), asked).unwrap();
        assert_eq!(got.scope.as_deref(), Some("openid"));
        assert_eq!(by(json!({"scopes": ["openid"]}), json!({})).unwrap().scope.as_deref(), Some("openid"));
        assert_eq!(by(json!({}), json!({})).unwrap().scope, None);
        assert!(by(json!({"scopes": ["openid"]}), json!({"scope": "email"})).is_err());
        assert!(by(json!({}), json!({"grant_types": ["client_credentials"]})).is_err());
        let machine = json!({"grant_types": ["client_credentials"]});
        let got = by(machine, json!({"grant_types": ["client_credentials"]})).unwrap();
        assert_eq!(got.grant_types, [GrantType::ClientCredentials]);
    }

    #[test]
    fn rfc7591_s5_redirect_uris_keep_to_the_hosts_and_schemes_of_the_policy() {
        let with = |policy: Value, uri: &str| by(policy, json!({"redirect_uris": [uri]})).is_ok();
        let hosts = || json!({"redirect_uri_hosts": ["app.example.org", "*.apps.example.net"]});
        for (uri, fits) in [
            ("https://app.example.org/cb", true),
            ("https://app.example.org:8443/cb", true),
            ("https://a.apps.example.net/cb", true),
            ("https://apps.example.net/cb", false),
            ("https://xapps.example.net/cb", false),
            ("https://app.example.org.evil.example/cb", false),
            ("https://evil.example/app.example.org", false),
            ("http://127.0.0.1/cb", false),
            ("org.example.app:/cb", true),
        ] {
            assert_eq!(with(hosts(), uri), fits, "{uri}");
        }
        let schemes = || json!({"redirect_uri_schemes": ["https", "org.example.app"]});
        assert!(with(schemes(), "org.example.app:/cb") && with(schemes(), "https://x.example/"));
        assert!(!with(schemes(), "org.other.app:/cb") && !with(schemes(), "http://127.0.0.1/cb"));
        let out = json!({"post_logout_redirect_uris": ["https://evil.example/bye"]});
        assert!(by(hosts(), out).is_err());
    }

    #[test]
    fn a_policy_forces_what_protects_and_bounds_the_lifetime() {
        let forced = json!({
            "require_pkce": true, "require_pushed_authorization_requests": true,
            "dpop_bound_access_tokens": true, "access_token_lifetime_max_s": 300,
        });
        let got = by(forced.clone(), json!({"require_pkce": false})).unwrap();
        assert!(
            got.require_pkce && got.require_pushed_authorization_requests && got.dpop_bound_access_tokens
        );
        assert_eq!(got.access_token_lifetime_s(), Some(300));
        let longer = by(forced.clone(), json!({"access_token_lifetime_s": 3_000})).unwrap();
        assert_eq!(longer.access_token_lifetime_s(), Some(300));
        let shorter = by(forced, json!({"access_token_lifetime_s": 30})).unwrap();
        assert_eq!(shorter.access_token_lifetime_s(), Some(30));
        let only_keys = json!({"token_endpoint_auth_methods": ["private_key_jwt"]});
        assert!(by(only_keys, json!({})).is_err());
        assert_eq!(
            by(json!({}), json!({})).unwrap().token_endpoint_auth_method,
            AuthMethod::ClientSecretBasic
        );
    }

    #[test]
    fn rfc9700_s4_14_2_a_policy_may_have_all_refresh_tokens_rotate() {
        let asked = || json!({"refresh_token_mode": "static"});
        let mode = |policy: Value| by(policy, asked()).unwrap().refresh_token_mode();
        assert_eq!(mode(json!({})), crate::model::FamilyMode::Static);
        assert_eq!(mode(json!({"forbid_static_refresh_tokens": true})), crate::model::FamilyMode::Rotate);
    }

    #[test]
    fn rfc7591_s2_what_is_not_known_or_for_operators_is_ignored() {
        let asked = json!({
            "resource_identifiers": ["https://api.example"],
            "token_exchange_x": 1, crate::model::TRUSTED_ISSUERS: [{"issuer": "https://evil.example", "scope": "openid"}],
        });
        let got = by(json!({}), asked).unwrap();
        assert!(got.resource_identifiers.is_empty() && got.extra.is_empty());
    }

    #[test]
    fn an_algorithm_without_a_key_is_replaced() {
        let settings =
            TenantSettings { signing_algorithms: vec![SigningAlgorithm::ES256], ..TenantSettings::default() };
        let asked = metadata(json!({"userinfo_signed_response_alg": "RS256"}));
        let got = admitted(asked, &RegistrationPolicy::default(), &settings).unwrap();
        assert_eq!(got.id_token_signed_response_alg, SigningAlgorithm::ES256);
        assert_eq!(got.userinfo_signed_response_alg, Some(SigningAlgorithm::ES256));
    }
}
