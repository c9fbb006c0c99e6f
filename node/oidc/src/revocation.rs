//! Token revocation (RFC 7009).

use crate::error::OAuthError;
use crate::form::Form;
use crate::response::Response;

/// Bytes of a token at most.
const TOKEN_MAX: usize = 16 * 1024;

/// The token to revoke. A secret: not for logs. The hint is not needed (§2.1: it may be ignored).
///
/// # Errors
/// `invalid_request` without a token.
pub fn parse(form: &Form) -> Result<&str, OAuthError> {
    form.get_within("token_type_hint", 128)?;
    form.require("token", TOKEN_MAX)
}

/// The answer when it is revoked, and when there was nothing to revoke (§2.2).
pub fn done() -> Response {
    Response::empty(200)
}
