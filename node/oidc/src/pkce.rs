//! Proof Key for Code Exchange (RFC 7636): S256 and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::{AuthMethod, ClientMetadata, PkceChallenge};

use crate::error::OAuthError;
use crate::form::Form;

/// Reads `code_challenge` and `code_challenge_method` (RFC 7636 §4.3).
///
/// An absent method means `plain` there, which is refused (RFC 9700 §2.1.1).
///
/// # Errors
/// `invalid_request` (RFC 7636 §4.4.1).
pub fn challenge(form: &Form, client: &ClientMetadata) -> Result<Option<PkceChallenge>, OAuthError> {
    let challenge = form.get_within("code_challenge", 128)?;
    let method = form.get_within("code_challenge_method", 16)?;
    match (challenge, method) {
        (Some(s256), Some("S256")) if is_sha256(s256) => Ok(Some(PkceChallenge { s256: s256.to_owned() })),
        (Some(_), Some("S256")) => Err(OAuthError::invalid_request("code_challenge is malformed")),
        (Some(_), _) => Err(OAuthError::invalid_request("code_challenge_method must be S256")),
        (None, Some(_)) => Err(OAuthError::invalid_request("code_challenge is missing")),
        (None, None) if required(client) => Err(OAuthError::invalid_request("code_challenge is required")),
        (None, None) => Ok(None),
    }
}

/// Whether a client must use PKCE: public ones always (RFC 9700 §2.1.1).
pub fn required(client: &ClientMetadata) -> bool {
    client.require_pkce || client.token_endpoint_auth_method == AuthMethod::None
}

/// `code-verifier` of RFC 7636 §4.1.
pub fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

fn is_sha256(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CHALLENGE, VERIFIER};

    #[test]
    fn rfc7636_s4_1_a_verifier_is_43_to_128_unreserved_characters() {
        assert!(is_verifier(VERIFIER) && is_verifier(&"~".repeat(128)));
        for bad in ["", &"a".repeat(42), &"a".repeat(129), &format!("{VERIFIER}+"), &format!("{VERIFIER} ")] {
            assert!(!is_verifier(bad), "{bad}");
        }
    }

    #[test]
    fn rfc7636_s4_2_a_challenge_is_the_encoding_of_32_bytes() {
        assert!(is_sha256(CHALLENGE));
        for bad in
            ["", "AAAA", &format!("{CHALLENGE}="), &CHALLENGE.replace('-', "+"), &format!("{CHALLENGE}A")]
        {
            assert!(!is_sha256(bad), "{bad}");
        }
    }
}
