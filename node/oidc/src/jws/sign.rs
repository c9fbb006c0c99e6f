//! Signing with a key that was parsed once: parsing costs more than an ES256 signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::SigningAlgorithm;
use serde::Serialize;

use super::{TokenType, algorithm_name};

/// Why nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    /// The claims do not serialise.
    #[error("claims do not serialise")]
    Claims,
    /// The key refused.
    #[error("signing key refused")]
    Key,
}

/// A private key ready to sign; `iam` keeps them.
pub trait Signer {
    /// Its algorithm.
    fn algorithm(&self) -> SigningAlgorithm;

    /// Its `kid`.
    fn kid(&self) -> &str;

    /// The signature in JWS form: for ES256 the fixed 64 bytes (RFC 7518 §3.4).
    ///
    /// # Errors
    /// [`SignFault::Key`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFault>;
}

/// Signs claims.
///
/// # Errors
/// [`SignFault`].
pub fn sign(
    signer: &dyn Signer,
    token_type: TokenType,
    claims: &impl Serialize,
) -> Result<String, SignFault> {
    let header = serde_json::json!({
        "alg": algorithm_name(signer.algorithm()),
        "kid": signer.kid(),
        "typ": token_type.name(),
    });
    let claims = serde_json::to_vec(claims).map_err(|_| SignFault::Claims)?;
    let mut token = String::with_capacity(claims.len() * 4 / 3 + 512);
    URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}
