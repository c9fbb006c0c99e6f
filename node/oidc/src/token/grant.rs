//! What is asked for.

use std::collections::BTreeSet;

use domicile_iam::model::{AuthMethod, ClientView, GrantType, TenantContext};

use crate::error::{ErrorCode, OAuthError};
use crate::exchange::{self, Exchange};
use crate::form::Form;
use crate::{assertion, device, jwt_bearer, pkce, redirect_uri, resource, scope};

/// Bytes of a code or refresh token at most.
const TOKEN_MAX: usize = 1024;

/// A request that its client may make. Codes and tokens are in it: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenRequest<'a> {
    /// RFC 6749 §4.1.3.
    AuthorizationCode {
        /// The code.
        code: &'a str,
        /// To compare with the authorization request's.
        redirect_uri: Option<&'a str>,
        /// RFC 7636 §4.5; well-formed.
        verifier: Option<&'a str>,
        /// What the access token is to be for (RFC 8707 §2.2).
        resources: BTreeSet<String>,
    },
    /// RFC 6749 §6.
    RefreshToken {
        /// The token.
        refresh_token: &'a str,
        /// A narrower scope, if asked for. Whether it is narrower, the family knows.
        scopes: Option<BTreeSet<String>>,
        /// What the access token is to be for (RFC 8707 §2.2).
        resources: BTreeSet<String>,
    },
    /// RFC 6749 §4.4.2.
    ClientCredentials {
        /// What the token allows.
        scopes: BTreeSet<String>,
        /// What it is to be for; none: the issuer. Whether they are registered, the caller knows.
        resources: BTreeSet<String>,
    },
    /// RFC 8628 §3.4.
    DeviceCode {
        /// The device's.
        device_code: &'a str,
        /// What the access token is to be for (RFC 8707 §2.2).
        resources: BTreeSet<String>,
    },
    /// RFC 8693.
    Exchange(Exchange<'a>),
    /// RFC 7523 §2.1.
    JwtBearer {
        /// Somebody else's word about a user.
        assertion: &'a str,
        /// What is asked for.
        scopes: Option<BTreeSet<String>>,
        /// What the access token is to be for; none: the issuer.
        resources: BTreeSet<String>,
    },
}

impl std::fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AuthorizationCode { .. } => "AuthorizationCode(..)",
            Self::RefreshToken { .. } => "RefreshToken(..)",
            Self::ClientCredentials { .. } => "ClientCredentials(..)",
            Self::DeviceCode { .. } => "DeviceCode(..)",
            Self::Exchange(_) => "Exchange(..)",
            Self::JwtBearer { .. } => "JwtBearer(..)",
        })
    }
}

/// Reads the request of an authenticated client.
///
/// # Errors
/// By RFC 6749 §5.2: `invalid_request`, `unsupported_grant_type`, `unauthorized_client`,
/// `invalid_scope`, `invalid_grant`.
pub fn parse<'a>(
    form: &'a Form,
    client: &ClientView,
    tenant: &TenantContext,
) -> Result<TokenRequest<'a>, OAuthError> {
    let grant_type = match form.require("grant_type", 128)? {
        "authorization_code" => GrantType::AuthorizationCode,
        "refresh_token" => GrantType::RefreshToken,
        "client_credentials" => GrantType::ClientCredentials,
        jwt_bearer::GRANT_TYPE => GrantType::JwtBearer,
        device::GRANT_TYPE => GrantType::DeviceCode,
        exchange::GRANT_TYPE => GrantType::TokenExchange,
        _ => return Err(OAuthError::new(ErrorCode::UnsupportedGrantType, "grant_type is not supported")),
    };
    if !client.metadata.grant_types.contains(&grant_type) {
        return Err(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "the client is not registered for this grant_type",
        ));
    }
    match grant_type {
        GrantType::AuthorizationCode => authorization_code(form),
        GrantType::RefreshToken => refresh_token(form),
        GrantType::ClientCredentials => client_credentials(form, client, tenant),
        GrantType::JwtBearer => jwt_bearer(form),
        GrantType::DeviceCode => device_code(form),
        GrantType::TokenExchange => exchange::parse(form).map(TokenRequest::Exchange),
    }
}

fn authorization_code(form: &Form) -> Result<TokenRequest<'_>, OAuthError> {
    let code = form.require("code", TOKEN_MAX)?;
    let redirect_uri = form.get_within("redirect_uri", redirect_uri::BYTES_MAX)?;
    let verifier = form.get_within("code_verifier", 256)?;
    if verifier.is_some_and(|verifier| !pkce::is_verifier(verifier)) {
        return Err(OAuthError::new(ErrorCode::InvalidGrant, "code_verifier is malformed"));
    }
    Ok(TokenRequest::AuthorizationCode { code, redirect_uri, verifier, resources: resource::read(form)? })
}

fn refresh_token(form: &Form) -> Result<TokenRequest<'_>, OAuthError> {
    let refresh_token = form.require("refresh_token", TOKEN_MAX)?;
    let scopes = form.get("scope")?.map(scope::parse).transpose()?;
    Ok(TokenRequest::RefreshToken { refresh_token, scopes, resources: resource::read(form)? })
}

fn device_code(form: &Form) -> Result<TokenRequest<'_>, OAuthError> {
    let device_code = form.require("device_code", TOKEN_MAX)?;
    Ok(TokenRequest::DeviceCode { device_code, resources: resource::read(form)? })
}

fn jwt_bearer(form: &Form) -> Result<TokenRequest<'_>, OAuthError> {
    let assertion = form.require("assertion", assertion::BYTES_MAX)?;
    let scopes = form.get("scope")?.map(scope::parse).transpose()?;
    Ok(TokenRequest::JwtBearer { assertion, scopes, resources: resource::read(form)? })
}

fn client_credentials<'a>(
    form: &'a Form,
    client: &ClientView,
    tenant: &TenantContext,
) -> Result<TokenRequest<'a>, OAuthError> {
    if client.metadata.token_endpoint_auth_method == AuthMethod::None {
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, "a public client has no credentials"));
    }
    let allowed = scope::allowed_without_user(&client.metadata, &tenant.settings.scopes);
    let resources = resource::read(form)?;
    let Some(asked) = form.get("scope")?.map(scope::parse).transpose()? else {
        return Ok(TokenRequest::ClientCredentials { scopes: allowed, resources });
    };
    let scopes: BTreeSet<String> = asked.intersection(&allowed).cloned().collect();
    if scopes.is_empty() {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "no scope that this client may ask for by itself",
        ));
    }
    Ok(TokenRequest::ClientCredentials { scopes, resources })
}
