//! A second factor beside the password.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

/// When a tenant asks for a second factor, besides where a client asks for one by `acr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondFactorPolicy {
    /// Only where a client, or the account page, asks.
    WhenAsked,
    /// Of everybody who has one. The default.
    #[default]
    WhenEnrolled,
    /// Of everybody; who has none sets one up on the way.
    Required,
}

impl SecondFactorPolicy {
    /// Whether it is the default, which is left out of what is stored.
    #[must_use]
    pub fn is_default(&self) -> bool {
        match self {
            Self::WhenEnrolled => true,
            Self::WhenAsked | Self::Required => false,
        }
    }
}

/// What kind of second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondFactorKind {
    /// Codes of an authenticator app (RFC 6238).
    Totp,
}

/// That a user has a second factor. No secret in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactorView {
    /// What it is.
    pub kind: SecondFactorKind,
    /// Since when.
    pub added_at: Timestamp,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: u32,
}
