//! Client authentication at the token, introspection and revocation endpoints (RFC 6749 §2.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domicile_iam::model::{AuthMethod, ClientView};
use zeroize::Zeroizing;

use crate::error::OAuthError;
use crate::form::{self, Form};

/// Bytes of a `client_id` at most.
const CLIENT_ID_MAX: usize = 256;
/// Bytes of a `client_secret` at most.
const SECRET_MAX: usize = 1024;

/// What a request shows about its client. Nothing is proved yet.
pub struct Presented {
    /// Who it says it is; to be looked up.
    pub client_id: String,
    method: AuthMethod,
    secret: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presented({:?})", self.method)
    }
}

/// What is left to do for a client that used its registered method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// Verify this secret against the client's credentials.
    Secret(&'a str),
    /// Nothing: a public client only names itself.
    Public,
}

/// Reads the authentication. `authorization` is the header's value, if there is exactly one.
///
/// # Errors
/// `invalid_request` if more than one method is used, `invalid_client` if none can be made out.
pub fn parse(authorization: Option<&str>, form: &Form) -> Result<Presented, OAuthError> {
    let body_id = form.get_within("client_id", CLIENT_ID_MAX)?;
    let body_secret = form.get_within("client_secret", SECRET_MAX)?;
    let assertion = form.get("client_assertion")?.is_some() || form.get("client_assertion_type")?.is_some();
    if let Some(header) = authorization {
        if body_secret.is_some() || assertion {
            return Err(OAuthError::invalid_request("more than one client authentication method is used"));
        }
        let (client_id, secret) = basic(header).ok_or(OAuthError::invalid_client())?;
        if body_id.is_some_and(|id| id != client_id) {
            return Err(OAuthError::invalid_request("client_id differs from the Authorization header"));
        }
        return Ok(Presented { client_id, method: AuthMethod::ClientSecretBasic, secret: Some(secret) });
    }
    if assertion {
        return Err(OAuthError::invalid_client());
    }
    let client_id = body_id.ok_or(OAuthError::invalid_client())?.to_owned();
    let secret = body_secret.map(|secret| Zeroizing::new(secret.to_owned()));
    let method = if secret.is_some() { AuthMethod::ClientSecretPost } else { AuthMethod::None };
    Ok(Presented { client_id, method, secret })
}

impl Presented {
    /// What proves that this is `client`: only its registered method counts.
    ///
    /// # Errors
    /// `invalid_client`, also for a disabled client.
    pub fn proof(&self, client: &ClientView) -> Result<Proof<'_>, OAuthError> {
        let registered = client.metadata.token_endpoint_auth_method == self.method;
        if client.disabled || !registered || client.client_id != self.client_id {
            return Err(OAuthError::invalid_client());
        }
        Ok(self.secret.as_deref().map_or(Proof::Public, |secret| Proof::Secret(secret)))
    }
}

/// `Basic` with form-encoded parts (RFC 6749 §2.3.1, RFC 7617 §2).
fn basic(header: &str) -> Option<(String, Zeroizing<String>)> {
    let (scheme, token) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || token.len() > 2 * (CLIENT_ID_MAX + SECRET_MAX) {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(token.trim_matches(' ')).ok()?);
    let colon = pair.iter().position(|&byte| byte == b':')?;
    let (id, secret) = pair.split_at_checked(colon)?;
    let id = form::decode(id).ok().filter(|id| !id.is_empty() && id.len() <= CLIENT_ID_MAX)?;
    let secret = Zeroizing::new(form::decode(secret.get(1..)?).ok()?);
    (!secret.is_empty() && secret.len() <= SECRET_MAX).then_some((id, secret))
}

#[cfg(test)]
mod tests;
