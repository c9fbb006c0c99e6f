//! Token introspection (RFC 7662).

use domicile_iam::model::{AccessTokenClaims, AuthMethod, ClientView};
use serde_json::{Map, Value, json};

use crate::error::OAuthError;
use crate::form::Form;
use crate::response::Response;

/// Bytes of a token at most; a longer one is none of ours.
const TOKEN_MAX: usize = 16 * 1024;

/// The token to look at. A secret: not for logs.
///
/// `token_type_hint` is read for its form only: our tokens show what they are (§2.1: it may be ignored).
///
/// # Errors
/// `invalid_request` without a token; `invalid_client` for a public client, which proves nothing (§2.1).
pub fn parse<'a>(form: &'a Form, caller: &ClientView) -> Result<&'a str, OAuthError> {
    if caller.metadata.token_endpoint_auth_method == AuthMethod::None {
        return Err(OAuthError::invalid_client());
    }
    form.get_within("token_type_hint", 128)?;
    form.require("token", TOKEN_MAX)
}

/// What is known of a refresh token in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshTokenFacts {
    /// Client it was issued to.
    pub client_id: String,
    /// Subject.
    pub subject: String,
    /// Scopes, space-delimited.
    pub scope: String,
    /// Seconds.
    pub issued_at: u64,
    /// Seconds.
    pub expires_at: u64,
}

/// The answer for every token that is not active, or not the caller's to see (§2.2).
pub fn inactive() -> Response {
    Response::json(200, &json!({ "active": false }))
}

/// The answer for a token that `iam` called active: facts for its client and for resource servers that
/// its audience names, nothing for others (§4).
pub fn access_token(claims: &AccessTokenClaims, caller: &ClientView) -> Response {
    let own = claims.client == caller.id;
    let served = claims.aud.iter().any(|aud| caller.metadata.resource_identifiers.contains(aud));
    if !own && !served {
        return inactive();
    }
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("active", true.into());
    put("token_type", "Bearer".into());
    put("iss", claims.iss.as_str().into());
    put("sub", claims.sub.as_str().into());
    put("aud", claims.aud.clone().into());
    put("client_id", claims.client_id.as_str().into());
    put("exp", claims.exp.into());
    put("iat", claims.iat.into());
    put("jti", claims.jti.to_string().into());
    for (name, value) in [("scope", &claims.scope), ("acr", &claims.acr)] {
        if let Some(value) = value {
            put(name, value.as_str().into());
        }
    }
    if let Some(auth_time) = claims.auth_time {
        put("auth_time", auth_time.into());
    }
    Response::json(200, &Value::Object(body))
}

/// The answer for a refresh token in use: its client alone may see it.
pub fn refresh_token(facts: &RefreshTokenFacts, issuer: &str, caller: &ClientView) -> Response {
    if facts.client_id != caller.client_id {
        return inactive();
    }
    let body = json!({
        "active": true,
        "iss": issuer,
        "sub": facts.subject,
        "client_id": facts.client_id,
        "scope": facts.scope,
        "iat": facts.issued_at,
        "exp": facts.expires_at,
    });
    Response::json(200, &body)
}
