//! Client metadata as RFC 7591 §2, OpenID Connect Registration §2 and RFC 9700 allow it.

use serde::Deserialize as _;
use serde_json::Value;
use url::Url;

use super::assertion::check_assertions;
use super::backchannel::check_backchannel;
use super::exchange::check_exchange;
use super::family_mode::check_family_mode;
use super::redirect::{check_redirect_uri, rule_broken};
use super::trusted_issuer::check_trusted_issuers;
use crate::commands::ClientRefusal;
use crate::model::{
    ACCESS_TOKEN_FORMAT, ACCESS_TOKEN_LIFETIME, ALLOWED_ORIGINS, AccessTokenFormat, ApplicationType,
    AuthMethod, ClientMetadata, GrantType, ORIGINS_MAX, RESOURCE_SCOPES, SECTOR_IDENTIFIER_URI, SubjectType,
    is_origin, is_scope_token,
};

const URIS_MAX: usize = 64;
const SCOPES_MAX: usize = 256;
const DAY_S: u64 = 86_400;
const EXTRA_BYTES_MAX: usize = 32 * 1024;
/// The store refuses what is nested deeper than it decodes; no registered member needs this much.
const EXTRA_DEPTH_MAX: usize = 16;
/// Given by us, never registered.
const RESERVED: [&str; 8] = [
    "client_id",
    "client_secret",
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
    "disabled",
    "id",
];
const URL_MEMBERS: [&str; 5] = ["client_uri", "logo_uri", "policy_uri", "tos_uri", "initiate_login_uri"];

pub(super) fn refuse(field: &str, rule: &'static str) -> ClientRefusal {
    ClientRefusal::InvalidClientMetadata { field: field.to_owned(), rule }
}

/// Checks metadata and makes it whole: duplicates go, a public client always requires PKCE.
///
/// # Errors
/// [`ClientRefusal::InvalidRedirectUri`] and [`ClientRefusal::InvalidClientMetadata`] (RFC 7591 §3.2.2).
pub fn check_metadata(mut metadata: ClientMetadata) -> Result<ClientMetadata, ClientRefusal> {
    metadata.grant_types.sort_unstable();
    metadata.grant_types.dedup();
    check_grants(&metadata)?;
    check_uris(&metadata)?;
    check_backchannel(&metadata)?;
    check_sector(&metadata)?;
    check_texts(&metadata)?;
    check_extra(&metadata)?;
    check_assertions(&metadata)?;
    check_trusted_issuers(&metadata)?;
    check_exchange(&metadata)?;
    check_family_mode(&metadata)?;
    if metadata.token_endpoint_auth_method == AuthMethod::None {
        metadata.require_pkce = true;
    }
    Ok(metadata)
}

/// RFC 7591 §2.1: response types and grant types agree.
fn check_grants(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    let has = |grant| metadata.grant_types.contains(&grant);
    if metadata.grant_types.is_empty() {
        return Err(refuse("grant_types", "is empty"));
    }
    if metadata.response_types.iter().any(|kind| kind != "code") {
        return Err(refuse("response_types", "has a value other than `code`"));
    }
    let interactive = has(GrantType::AuthorizationCode);
    if interactive && metadata.response_types.is_empty() {
        return Err(refuse("response_types", "lacks `code`, which `authorization_code` needs"));
    }
    if has(GrantType::RefreshToken) && !interactive && !has(GrantType::DeviceCode) {
        return Err(refuse(
            "grant_types",
            "has `refresh_token` without `authorization_code` or device codes",
        ));
    }
    if has(GrantType::ClientCredentials) && metadata.token_endpoint_auth_method == AuthMethod::None {
        return Err(refuse("grant_types", "has `client_credentials`, which a public client may not use"));
    }
    if has(GrantType::JwtBearer) && metadata.token_endpoint_auth_method == AuthMethod::None {
        return Err(refuse("grant_types", "has the JWT bearer grant, which a public client may not use"));
    }
    Ok(())
}

fn check_uris(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    let needs_redirect = metadata.grant_types.contains(&GrantType::AuthorizationCode);
    if needs_redirect && metadata.redirect_uris.is_empty() {
        return Err(ClientRefusal::InvalidRedirectUri { uri: String::new(), rule: "is missing" });
    }
    if metadata.redirect_uris.len() > URIS_MAX {
        return Err(refuse("redirect_uris", "has over 64 values"));
    }
    for uri in &metadata.redirect_uris {
        check_redirect_uri(uri, metadata.application_type)?;
    }
    if metadata.post_logout_redirect_uris.len() > URIS_MAX {
        return Err(refuse("post_logout_redirect_uris", "has over 64 values"));
    }
    match metadata
        .post_logout_redirect_uris
        .iter()
        .find_map(|uri| rule_broken(uri, metadata.application_type))
    {
        Some(rule) => Err(refuse("post_logout_redirect_uris", rule)),
        None => Ok(()),
    }
}

/// OpenID Connect Core §8.1: the sector is the host of `sector_identifier_uri`, else the one host of all
/// redirect URIs. That the former lists them all, who registers has looked up (OpenID Connect Registration §5).
fn check_sector(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    if let Some(value) = metadata.extra.get(SECTOR_IDENTIFIER_URI) {
        let known = value.as_str().and_then(|text| rule_broken(text, ApplicationType::Web));
        return match (value.as_str(), known) {
            (Some(_), None) => Ok(()),
            (None, _) | (Some(_), Some(_)) => Err(refuse(SECTOR_IDENTIFIER_URI, "is not an https URL")),
        };
    }
    if metadata.subject_type != Some(SubjectType::Pairwise) {
        return Ok(());
    }
    let hosts: Vec<Option<String>> = metadata
        .redirect_uris
        .iter()
        .map(|uri| Url::parse(uri).ok().and_then(|url| url.host_str().map(str::to_owned)))
        .collect();
    match hosts.split_first() {
        Some((Some(first), rest)) if rest.iter().all(|host| host.as_ref() == Some(first)) => Ok(()),
        Some(_) | None => {
            Err(refuse("subject_type", "is `pairwise`, and the redirect URIs are not of one host"))
        }
    }
}

fn check_texts(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    if metadata.client_name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 200) {
        return Err(refuse("client_name", "is not 1 to 200 characters"));
    }
    if let Some(scope) = &metadata.scope {
        let mut count = 0;
        for token in scope.split(' ').filter(|token| !token.is_empty()) {
            count += 1;
            if !is_scope_token(token) || count > 256 {
                return Err(refuse("scope", "is not a list of scope tokens"));
            }
        }
    }
    if metadata.default_max_age.is_some_and(|seconds| seconds > 366 * 24 * 3600) {
        return Err(refuse("default_max_age", "is over a year"));
    }
    if metadata.default_acr_values.iter().any(|value| value.is_empty() || value.contains(' ')) {
        return Err(refuse("default_acr_values", "has an empty value or one with a space"));
    }
    let is_identifier = |text: &String| Url::parse(text).is_ok() && !text.contains('#');
    if !metadata.resource_identifiers.iter().all(is_identifier) {
        return Err(refuse(
            "resource_identifiers",
            "has a value that is not an absolute URI without fragment (RFC 8707 §2)",
        ));
    }
    Ok(())
}

fn check_extra(metadata: &ClientMetadata) -> Result<(), ClientRefusal> {
    if let Some((name, _)) = metadata.extra.iter().find(|(_, value)| is_deeper(value, EXTRA_DEPTH_MAX)) {
        return Err(refuse(name, "is nested over 16 deep"));
    }
    let size: usize = metadata.extra.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
    if size > EXTRA_BYTES_MAX {
        return Err(refuse("metadata", "is over 32 KiB"));
    }
    for (name, value) in &metadata.extra {
        if RESERVED.contains(&name.as_str()) {
            return Err(refuse(name, "is not set this way"));
        }
        if name == "initiate_login_uri" && !value.as_str().is_some_and(is_https_url) {
            return Err(refuse(name, "is not an https URL (OpenID Connect Registration §2)"));
        }
        if name == ACCESS_TOKEN_LIFETIME
            && !value.as_u64().is_some_and(|seconds| (1..=DAY_S).contains(&seconds))
        {
            return Err(refuse(name, "is not 1 to 86400 seconds"));
        }
        if name == ALLOWED_ORIGINS && !is_origin_list(value) {
            return Err(refuse(
                name,
                "is not a list of at most 16 exact origins of https or of this machine",
            ));
        }
        let base = name.split_once('#').map_or(name.as_str(), |(base, _)| base);
        if URL_MEMBERS.contains(&base) && !value.as_str().is_some_and(is_web_url) {
            return Err(refuse(name, "is not an http(s) URL"));
        }
        if base == "client_name" && !value.is_string() {
            return Err(refuse(name, "is not a string"));
        }
        if name == ACCESS_TOKEN_FORMAT && AccessTokenFormat::deserialize(value).is_err() {
            return Err(refuse(name, "is neither `jwt` nor `opaque`"));
        }
        if name == RESOURCE_SCOPES && !is_scope_list(value) {
            return Err(refuse(name, "is not a list of at most 256 scope tokens"));
        }
        if name == RESOURCE_SCOPES && metadata.resource_identifiers.is_empty() {
            return Err(refuse(name, "is without `resource_identifiers`"));
        }
        if name == "contacts" && !is_text_list(value) {
            return Err(refuse(name, "is not a list of strings"));
        }
    }
    Ok(())
}

/// Whether lists and objects are nested more than `max` deep. Looks no deeper than that.
fn is_deeper(value: &Value, max: usize) -> bool {
    let Some(left) = max.checked_sub(1) else { return value.is_array() || value.is_object() };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper(item, left)),
        Value::Object(members) => members.values().any(|member| is_deeper(member, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_web_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn is_https_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.has_host() && url.fragment().is_none())
}

fn is_origin_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| {
        items.len() <= ORIGINS_MAX && items.iter().all(|item| item.as_str().is_some_and(is_origin))
    })
}

fn is_scope_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| {
        items.len() <= SCOPES_MAX && items.iter().all(|item| item.as_str().is_some_and(is_scope_token))
    })
}

fn is_text_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(value: Value) -> Result<ClientMetadata, ClientRefusal> {
        check_metadata(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn rfc7591_s3_2_2_each_broken_rule_names_its_kind() {
        let redirect = [
            json!({}),
            json!({"redirect_uris": ["https://rp.example/cb#f"]}),
            json!({"redirect_uris": ["http://rp.example/cb"]}),
        ];
        for case in redirect {
            let refusal = metadata(case.clone());
            assert!(matches!(refusal, Err(ClientRefusal::InvalidRedirectUri { .. })), "{case} {refusal:?}");
        }
        let uris = json!(["https://rp.example/cb"]);
        let other = [
            json!({"redirect_uris": uris, "response_types": ["token"]}),
            json!({"redirect_uris": uris, "grant_types": ["refresh_token"]}),
            json!({"redirect_uris": uris, "grant_types": []}),
            json!({"redirect_uris": uris, "client_uri": "nowhere"}),
            json!({"redirect_uris": uris, "contacts": "me"}),
            json!({"redirect_uris": uris, "scope": "a\"b"}),
            json!({"redirect_uris": uris, "client_secret": "mine"}),
            json!({"redirect_uris": uris, "jwks": {}, "jwks_uri": "https://rp.example/jwks"}),
            json!({"grant_types": ["client_credentials"], "token_endpoint_auth_method": "none"}),
        ];
        for case in other {
            let refusal = metadata(case.clone());
            assert!(
                matches!(refusal, Err(ClientRefusal::InvalidClientMetadata { .. })),
                "{case} {refusal:?}"
            );
        }
    }

    #[test]
    fn rfc9700_s2_1_1_public_clients_always_use_pkce() {
        let public =
            json!({"redirect_uris": ["https://rp.example/cb"], "token_endpoint_auth_method": "none"});
        assert!(metadata(public).unwrap().require_pkce);
        assert!(!metadata(json!({"redirect_uris": ["https://rp.example/cb"]})).unwrap().require_pkce);
    }

    #[test]
    fn what_is_nested_deeper_than_the_store_decodes_is_refused() {
        let nested = |depth: usize| (0..depth).fold(json!("x"), |inner, _| json!([inner]));
        let with = |value: Value| {
            metadata(json!({"redirect_uris": ["https://rp.example/cb"], "software_statement_x": value}))
        };
        assert!(with(nested(16)).is_ok());
        assert!(matches!(with(nested(17)), Err(ClientRefusal::InvalidClientMetadata { .. })));
        assert!(with(json!({"a": nested(16)})).is_err());
    }

    #[test]
    fn oidc_core_s8_1_the_sector_of_pairwise_subjects_is_the_one_host_of_the_redirect_uris() {
        let with = |uris: Value| {
            metadata(json!({"redirect_uris": uris, "subject_type": "pairwise"})).map(|made| made.subject_type)
        };
        let good = with(json!(["https://rp.example/a", "https://rp.example:8443/b"]));
        assert_eq!(good.unwrap(), Some(SubjectType::Pairwise));
        assert!(with(json!(["https://rp.example/a", "https://other.example/b"])).is_err());
        let named = |uri: &str| {
            metadata(json!({
                "redirect_uris": ["https://rp.example/a", "https://other.example/b"],
                "subject_type": "pairwise", "sector_identifier_uri": uri,
            }))
        };
        assert!(named("https://sector.example/uris.json").is_ok());
        assert!(named("http://sector.example/uris.json").is_err(), "Registration §5: https");
        assert!(named("nowhere").is_err());
    }

    #[test]
    fn oidc_registration_s2_third_party_initiated_login_is_https() {
        let with = |uri: &str| {
            metadata(json!({"redirect_uris": ["https://rp.example/a"], "initiate_login_uri": uri}))
        };
        assert!(with("https://rp.example/start").is_ok());
        for bad in ["http://rp.example/start", "http://localhost/start", "javascript:alert(1)", "/start"] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_resource_server_lists_scope_tokens_for_its_identifiers() {
        let with = |identifiers: &[&str], scopes: Value| {
            metadata(json!({
                "grant_types": ["client_credentials"], "resource_identifiers": identifiers,
                "resource_scopes": scopes,
            }))
            .map(|made| made.resource_scopes().map(|scopes| scopes.into_iter().collect::<Vec<_>>()))
        };
        let api = &["https://api.example"];
        let listed = with(api, json!(["write", "read", "read"])).unwrap();
        assert_eq!(listed, Some(vec!["read".to_owned(), "write".to_owned()]));
        assert_eq!(with(api, json!([])).unwrap(), Some(Vec::new()), "no scope means anything there");
        for bad in [json!("read"), json!(["a b"]), json!([""]), json!([7]), json!(vec!["a"; SCOPES_MAX + 1])]
        {
            assert!(with(api, bad).is_err());
        }
        assert!(with(&[], json!(["read"])).is_err());
    }

    #[test]
    fn a_machine_client_needs_no_redirect_uri() {
        let machine = json!({"grant_types": ["client_credentials"], "response_types": []});
        assert!(metadata(machine).is_ok());
    }
}
