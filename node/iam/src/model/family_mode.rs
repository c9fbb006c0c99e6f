//! Whether a client's refresh tokens rotate.

use serde::{Deserialize, Serialize};

use super::client::ClientMetadata;

/// The client metadata member. Ours, not registered.
pub const REFRESH_TOKEN_MODE: &str = "refresh_token_mode";

/// What becomes of a refresh token that was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FamilyMode {
    /// Another takes its place, and its reuse ends the family (RFC 9700 §4.14.2).
    #[default]
    Rotate,
    /// It stays. For clients that prove themselves, or whose tokens are bound to a key, only.
    Static,
}

impl FamilyMode {
    /// Whether it is the default, which is left out of what is stored.
    #[must_use]
    pub fn is_rotate(&self) -> bool {
        match self {
            Self::Rotate => true,
            Self::Static => false,
        }
    }
}

impl ClientMetadata {
    /// What was registered. Like all that is kept in `extra`, what does not fit counts as absent.
    #[must_use]
    pub fn refresh_token_mode(&self) -> FamilyMode {
        let mode = self.extra.get(REFRESH_TOKEN_MODE);
        mode.and_then(|mode| FamilyMode::deserialize(mode).ok()).unwrap_or_default()
    }
}
