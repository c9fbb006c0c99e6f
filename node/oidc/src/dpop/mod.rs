//! Demonstrating proof of possession (RFC 9449): tokens that only the holder of a key can use.
//!
//! A proof is hostile input until its signature verifies under the key that it brings itself; what it then
//! shows is only that whoever made it holds that key. Each must carry a nonce of ours, so that none can be made
//! in advance and none is remembered for longer than a nonce lives.

mod key;
mod nonce;
mod proof;

pub use nonce::{LIFETIME_S, Nonces};
pub use proof::{Expected, Proof, ProofFault, is_thumbprint, verify};

use domicile_iam::model::AssertionAlgorithm;

use crate::error::{ErrorCode, OAuthError};

/// The algorithms of proofs (RFC 9449 §5.1), as metadata lists them.
#[must_use]
pub fn algorithm_names() -> Vec<&'static str> {
    AssertionAlgorithm::ASYMMETRIC.into_iter().map(AssertionAlgorithm::name).collect()
}

impl From<ProofFault> for OAuthError {
    fn from(fault: ProofFault) -> Self {
        match fault {
            ProofFault::Nonce => {
                Self::new(ErrorCode::UseDpopNonce, "the DPoP proof needs the nonce given here")
            }
            ProofFault::Malformed
            | ProofFault::Header
            | ProofFault::Key
            | ProofFault::Signature
            | ProofFault::Claims
            | ProofFault::Request
            | ProofFault::Time
            | ProofFault::Token => invalid_proof(),
        }
    }
}

/// `invalid_dpop_proof`: one text for every cause.
#[must_use]
pub fn invalid_proof() -> OAuthError {
    OAuthError::new(ErrorCode::InvalidDpopProof, "the DPoP proof is not valid for this request")
}
