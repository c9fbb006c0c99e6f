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

/// A JOSE header, in the order of its members' names.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

/// Bytes of most tokens. Allocators have blocks up to about this size at hand; longer ones cost more.
const TOKEN_BYTES: usize = 1_024;

/// Signs claims.
///
/// # Errors
/// [`SignFault`].
pub fn sign(
    signer: &dyn Signer,
    token_type: TokenType,
    claims: &impl Serialize,
) -> Result<String, SignFault> {
    let alg = algorithm_name(signer.algorithm());
    let header = Header { alg, kid: signer.kid(), typ: token_type.name() };
    let mut part = Vec::with_capacity(TOKEN_BYTES);
    serde_json::to_writer(&mut part, &header).map_err(|_| SignFault::Claims)?;
    let mut token = String::with_capacity(TOKEN_BYTES);
    URL_SAFE_NO_PAD.encode_string(&part, &mut token);
    token.push('.');
    part.clear();
    serde_json::to_writer(&mut part, claims).map_err(|_| SignFault::Claims)?;
    URL_SAFE_NO_PAD.encode_string(&part, &mut token);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}
