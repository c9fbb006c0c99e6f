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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::testing::form;

    #[test]
    fn rfc7009_s2_1_a_request_names_one_token() {
        let read =
            |pairs: &[(&str, &str)]| parse(&form(pairs)).map(str::to_owned).map_err(|error| error.code);
        assert_eq!(read(&[("token", "t"), ("token_type_hint", "made_up")]), Ok("t".to_owned()));
        assert_eq!(read(&[("token", "")]), Err(ErrorCode::InvalidRequest));
        assert_eq!(read(&[("token", "t"), ("token", "t")]), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn rfc7009_s2_2_the_answer_is_an_empty_200() {
        assert_eq!((done().status, done().body.len()), (200, 0));
    }
}
