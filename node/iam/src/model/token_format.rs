//! How a client's access tokens look.

use serde::{Deserialize, Serialize};

use super::client::ClientMetadata;

/// The client metadata member. Ours, not registered.
pub const ACCESS_TOKEN_FORMAT: &str = "access_token_format";

/// What whoever holds an access token can make of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessTokenFormat {
    /// Read it (RFC 9068).
    #[default]
    Jwt,
    /// Nothing: it is sealed, and resource servers ask for the JWT behind it.
    Opaque,
}

impl ClientMetadata {
    /// What was registered. Like all that is kept in `extra`, what does not fit counts as absent.
    pub fn access_token_format(&self) -> AccessTokenFormat {
        let format = self.extra.get(ACCESS_TOKEN_FORMAT);
        format.and_then(|format| AccessTokenFormat::deserialize(format).ok()).unwrap_or_default()
    }
}
