//! Targets: what clients send to the token endpoint and to that for devices.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use domicile_iam::model::{AccessTokenClaims, ClientView, GrantType, TOKEN_EXCHANGE};
use serde_json::json;
use url::Url;

use crate::exchange::{Brought, Exchange};
use crate::testing::{client, client_with, issue, other_client, tenant, user};
use crate::token::{self, TokenRequest};
use crate::{Form, access_token, assertion, device, exchange, pkce, scope};

const CODE_MAX: usize = 1024;
const TOKEN_MAX: usize = 16 * 1024;
const NAMES_MAX: usize = 16;
const NAME_MAX: usize = 2048;

const API: &str = "https://api.example";

/// A body for the token endpoint, of a client that may use every grant.
pub fn grant(input: &[u8]) {
    let Ok(form) = Form::parse(input) else { return };
    let tenant = tenant();
    let client = client_with(|metadata| {
        metadata.grant_types = vec![
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::ClientCredentials,
            GrantType::JwtBearer,
            GrantType::DeviceCode,
            GrantType::TokenExchange,
        ];
        metadata.scope = Some("openid offline_access read write".to_owned());
    });
    let Ok(request) = token::parse(&form, &client, &tenant) else { return };
    match request {
        TokenRequest::AuthorizationCode { code, verifier, resources, .. } => {
            assert!(is_within(code, CODE_MAX) && verifier.is_none_or(pkce::is_verifier));
            assert!(are_absolute(&resources));
        }
        TokenRequest::RefreshToken { refresh_token, scopes, resources } => {
            assert!(is_within(refresh_token, CODE_MAX) && are_words(scopes.as_ref()));
            assert!(are_absolute(&resources));
        }
        TokenRequest::ClientCredentials { scopes, resources } => {
            assert!(scopes.is_subset(&scope::allowed_without_user(&client.metadata, &[])), "{scopes:?}");
            assert!(are_absolute(&resources));
        }
        TokenRequest::DeviceCode { device_code, resources } => {
            assert!(is_within(device_code, CODE_MAX) && are_absolute(&resources));
            let _ = device::ends_at_s(device_code);
        }
        TokenRequest::Exchange(exchange) => assert!(is_bounded(&exchange)),
        TokenRequest::JwtBearer { assertion, scopes, resources } => {
            assert!(is_within(assertion, assertion::BYTES_MAX) && are_words(scopes.as_ref()));
            assert!(are_absolute(&resources));
        }
    }
}

/// The parameters of an exchange, then the policy, with a user's token as the subject.
pub fn token_exchange(input: &[u8]) {
    let Ok(form) = Form::parse(input) else { return };
    let Ok(asked) = exchange::parse(&form) else { return };
    assert!(is_bounded(&asked));
    let subject = subject();
    let brought = Brought { subject: &subject, actor: None, jkt: None };
    let Ok(given) = exchange::decide(&asked, brought, &gateway(), &tenant()) else { return };
    assert!(given.scopes.iter().all(|scope| ["read", "write"].contains(&scope.as_str())), "{given:?}");
    assert!(asked.scopes.as_ref().is_none_or(|asked| given.scopes.is_subset(asked)), "{given:?}");
    let named = |target: &String| [API, "backend"].contains(&target.as_str());
    assert!(given.terms.resources.iter().all(named), "{given:?}");
    assert!(given.act.is_some() && given.ends_at_s == subject.exp, "{given:?}");
}

/// What a device asks for.
pub fn device_authorization(input: &[u8]) {
    let Ok(form) = Form::parse(input) else { return };
    let tenant = tenant();
    let app = client_with(|metadata| {
        metadata.grant_types = vec![GrantType::DeviceCode, GrantType::RefreshToken];
        metadata.redirect_uris.clear();
    });
    if let Ok(wanted) = device::parse(&form, &app, &tenant) {
        assert!(wanted.scopes.is_subset(&scope::allowed(&app.metadata, &tenant.settings.scopes)));
        assert!(are_absolute(&wanted.resources));
    }
    assert!(device::parse(&form, &client(), &tenant).is_err(), "a client that is not registered for it");
}

/// May exchange the tokens of `app`, for these places.
fn gateway() -> ClientView {
    let mut gateway = other_client();
    gateway.metadata.scope = Some("read write offline_access".to_owned());
    let policy = json!({
        "scope": "read write admin offline_access", "subject_clients": ["app"], "audiences": [API, "backend"],
    });
    gateway.metadata.extra.insert(TOKEN_EXCHANGE.to_owned(), policy);
    gateway
}

/// A token of a user that `app` got.
fn subject() -> AccessTokenClaims {
    let issue = issue(&["openid", "read", "write", "offline_access"]);
    access_token::for_user(&tenant(), &client(), &issue, &user())
}

fn is_within(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len())
}

fn are_words(scopes: Option<&BTreeSet<String>>) -> bool {
    let is_word = |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
    scopes.is_none_or(|scopes| scopes.iter().all(is_word))
}

fn are_absolute(resources: &BTreeSet<String>) -> bool {
    let is_good = |uri: &String| is_within(uri, NAME_MAX) && !uri.contains('#') && Url::parse(uri).is_ok();
    resources.len() <= NAMES_MAX && resources.iter().all(is_good)
}

fn is_bounded(exchange: &Exchange<'_>) -> bool {
    let names = &exchange.audiences;
    is_within(exchange.subject_token, TOKEN_MAX)
        && exchange.actor_token.is_none_or(|token| is_within(token, TOKEN_MAX))
        && names.len() <= NAMES_MAX
        && names.iter().all(|name| is_within(name, NAME_MAX))
        && are_absolute(&exchange.resources)
        && are_words(exchange.scopes.as_ref())
}
