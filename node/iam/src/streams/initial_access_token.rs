//! An initial access token (RFC 7591 §1.2): who holds it may register clients.

use domicile_raft::Timestamp;
use domicile_storage::codec::CodecError;
use serde::{Deserialize, Serialize};

use super::event_set::{Payload, event_set};
use super::{Aggregate, EventMeta, StreamKind, decode_first_format};
use crate::ids::{ClientId, InitialAccessTokenId};
use crate::model::RegistrationPolicy;

event_set! {
    /// Events of an initial access token.
    InitialAccessTokenEvent {
        /// It can be used from here on.
        Created(InitialAccessTokenCreated) => "initial_access_token.created", 1;
        /// A client was registered with it.
        Used(InitialAccessTokenUsed) => "initial_access_token.used", 1;
        /// It can be used no more.
        Revoked(InitialAccessTokenRevoked) => "initial_access_token.revoked", 1;
    }
}

/// `initial_access_token.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialAccessTokenCreated {
    /// Of its 256 random bits.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// When it ends.
    pub expires_at: Timestamp,
    /// How many clients it may register; `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_max: Option<u32>,
    /// What may be registered with it, in place of the tenant's own bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<RegistrationPolicy>,
}

impl Payload for InitialAccessTokenCreated {}

/// `initial_access_token.used`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialAccessTokenUsed {
    /// For which client.
    pub client: ClientId,
}

impl Payload for InitialAccessTokenUsed {}

/// `initial_access_token.revoked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialAccessTokenRevoked {}

impl Payload for InitialAccessTokenRevoked {}

/// An initial access token as its events made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialAccessToken {
    /// Of its 256 random bits.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How many clients it may register; `None`: any number.
    #[serde(default)]
    pub uses_max: Option<u32>,
    /// How many it registered.
    #[serde(default)]
    pub uses: u32,
    /// What may be registered with it, in place of the tenant's own bounds.
    #[serde(default)]
    pub policy: Option<RegistrationPolicy>,
    /// Whether it was revoked.
    #[serde(default)]
    pub revoked: bool,
}

impl InitialAccessToken {
    /// Whether it may register one more client.
    #[must_use]
    pub fn counts_at(&self, now: Timestamp) -> bool {
        !self.revoked && now < self.expires_at && self.uses_max.is_none_or(|max| self.uses < max)
    }
}

impl Aggregate for InitialAccessToken {
    const KIND: StreamKind = StreamKind::InitialAccessToken;
    const STATE_FORMAT: u8 = 1;
    type Id = InitialAccessTokenId;
    type Event = InitialAccessTokenEvent;

    fn evolve(state: Option<Self>, event: &Self::Event, meta: &EventMeta) -> Self {
        let mut token = state.unwrap_or(Self {
            secret_sha256: [0; 32],
            created_at: meta.at,
            expires_at: meta.at,
            uses_max: None,
            uses: 0,
            policy: None,
            revoked: false,
        });
        match event {
            InitialAccessTokenEvent::Created(created) => {
                token.secret_sha256 = created.secret_sha256;
                token.expires_at = created.expires_at;
                token.uses_max = created.uses_max;
                token.policy.clone_from(&created.policy);
            }
            InitialAccessTokenEvent::Used(_) => token.uses = token.uses.saturating_add(1),
            InitialAccessTokenEvent::Revoked(_) => token.revoked = true,
        }
        token
    }

    fn decode_state(format: u8, body: &[u8]) -> Result<Self, CodecError> {
        decode_first_format(format, body)
    }
}
