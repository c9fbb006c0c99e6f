//! Signing keys in memory: parsed once, used for every signature.
//!
//! Parsing an RSA key costs as much as a third of a signature, so a parsed key is cached with its id
//! and never built per token.

mod foreign;
mod generate;
mod jwk;
mod published;
mod sign;
mod verify;

pub use foreign::{ForeignKeys, KEYS_MAX};
pub use generate::{GeneratedKey, generate};
pub use jwk::{Jwk, Jwks, read_public_key};
pub use published::published_keys;
pub use sign::SigningKey;
pub use verify::{PublicVerifier, VerificationKey};

/// A key cannot be made, read or used. Says nothing about its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signing key is unusable")]
pub struct KeyFault;
