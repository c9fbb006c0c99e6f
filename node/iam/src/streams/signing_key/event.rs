//! What happens to a signing key of a tenant.

use serde::{Deserialize, Serialize};

use crate::ids::DataKeyId;
use crate::model::SigningAlgorithm;
use crate::streams::event_set::{Payload, event_set};

event_set! {
    /// Events of a signing key, in the order of its life.
    SigningKeyEvent {
        /// Made; the private bytes are in the keys table, wrapped.
        Created(SigningKeyCreated) => "signing_key.created", 1;
        /// In the key set, so that verifiers learn it before it signs.
        Published(SigningKeyPublished) => "signing_key.published", 1;
        /// Signs.
        Activated(SigningKeyActivated) => "signing_key.activated", 1;
        /// Signs no more, still in the key set.
        Retired(SigningKeyRetired) => "signing_key.retired", 1;
        /// Gone because it leaked, or never signed; the private bytes are destroyed with this event. Until there was
        /// `signing_key.ended`, also as planned.
        Removed(SigningKeyRemoved) => "signing_key.removed", 1;
        /// Gone as planned, out of the key set; the private bytes are destroyed with this event.
        Ended(SigningKeyEnded) => "signing_key.ended", 1;
    }
}

/// `signing_key.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyCreated {
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Its public half.
    pub public_key: PublicKey,
    /// Under which its PKCS#8 bytes are in the keys table.
    pub private_key: DataKeyId,
}

/// A public key, in the parts that a JWK shows (RFC 7518 §6, RFC 8037 §2). Big-endian bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicKey {
    /// Modulus and exponent.
    Rsa {
        /// Modulus.
        #[serde(with = "serde_bytes")]
        n: Vec<u8>,
        /// Exponent.
        #[serde(with = "serde_bytes")]
        e: Vec<u8>,
    },
    /// A point of P-256.
    P256 {
        /// 32 bytes.
        #[serde(with = "serde_bytes")]
        x: Vec<u8>,
        /// 32 bytes.
        #[serde(with = "serde_bytes")]
        y: Vec<u8>,
    },
    /// A point of P-384.
    P384 {
        /// 48 bytes.
        #[serde(with = "serde_bytes")]
        x: Vec<u8>,
        /// 48 bytes.
        #[serde(with = "serde_bytes")]
        y: Vec<u8>,
    },
    /// Ed25519.
    Ed25519 {
        /// 32 bytes.
        #[serde(with = "serde_bytes")]
        x: Vec<u8>,
    },
}

impl Payload for SigningKeyCreated {}

/// `signing_key.published`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyPublished {}

impl Payload for SigningKeyPublished {}

/// `signing_key.activated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyActivated {}

impl Payload for SigningKeyActivated {}

/// `signing_key.retired`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyRetired {}

impl Payload for SigningKeyRetired {}

/// `signing_key.removed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyRemoved {}

impl Payload for SigningKeyRemoved {}

/// `signing_key.ended`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyEnded {}

impl Payload for SigningKeyEnded {}
