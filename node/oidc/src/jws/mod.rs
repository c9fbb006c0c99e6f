//! Compact JWS (RFC 7515 §3.1) under our own keys: RS256, PS256, ES256, ES384 and EdDSA.
//!
//! Deliberately absent: `none`, symmetric algorithms, keys found in headers, `crit`.

mod key;
mod sign;
mod verify;

pub use key::{KeySet, jwks_response, published_jwks_response};
pub use sign::{SignFault, Signer, sign};
pub use verify::{TokenFault, TokenType, kid, payload, verify};

use domicile_iam::model::SigningAlgorithm;

/// The `alg` value (RFC 7518 §3.1, RFC 8037 §3.1).
pub fn algorithm_name(algorithm: SigningAlgorithm) -> &'static str {
    algorithm.name()
}

#[cfg(test)]
mod tests;
