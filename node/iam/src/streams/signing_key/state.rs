//! A signing key as its events made it.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{PublicKey, SigningKeyEvent};
use crate::ids::DataKeyId;
use crate::model::SigningAlgorithm;

/// Where in its life a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPhase {
    /// Made, unknown outside.
    Created,
    /// In the key set, does not sign yet.
    Published,
    /// Signs.
    Active,
    /// In the key set, signs no more.
    Retired,
    /// Gone.
    Removed,
}

impl KeyPhase {
    /// Whether a key of this phase is in the key set.
    pub fn is_public(self) -> bool {
        match self {
            Self::Published | Self::Active | Self::Retired => true,
            Self::Created | Self::Removed => false,
        }
    }
}

/// A signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyState {
    /// What it signs with; absent only if it was never created.
    #[serde(default)]
    pub material: Option<KeyMaterial>,
    /// Where in its life it is.
    pub phase: KeyPhase,
    /// Since when.
    pub phase_since: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it went as planned: what it signed was good, and is still known for a hint. Absent in older states,
    /// which do not tell a key that leaked from one whose time was over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMaterial {
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Its public half.
    pub public_key: PublicKey,
    /// Under which its PKCS#8 bytes are in the keys table.
    pub private_key: DataKeyId,
}

impl SigningKeyState {
    /// Applies `event`, which happened at `at`. Total.
    pub(crate) fn evolve(state: Option<Self>, event: &SigningKeyEvent, at: Timestamp) -> Self {
        let mut key = state.unwrap_or(Self {
            material: None,
            phase: KeyPhase::Removed,
            phase_since: at,
            created_at: at,
            ended: false,
        });
        key.ended = matches!(event, SigningKeyEvent::Ended(_));
        key.phase = match event {
            SigningKeyEvent::Created(created) => {
                key.material = Some(KeyMaterial {
                    algorithm: created.algorithm,
                    public_key: created.public_key.clone(),
                    private_key: created.private_key,
                });
                key.created_at = at;
                KeyPhase::Created
            }
            SigningKeyEvent::Published(_) => KeyPhase::Published,
            SigningKeyEvent::Activated(_) => KeyPhase::Active,
            SigningKeyEvent::Retired(_) => KeyPhase::Retired,
            SigningKeyEvent::Removed(_) | SigningKeyEvent::Ended(_) => KeyPhase::Removed,
        };
        key.phase_since = at;
        key
    }

    /// Whether ID tokens that it signed are still taken for hints at `now`: it went as planned, and a session may be
    /// as old as what it signed last.
    pub fn reads_hints(&self, session_absolute_ms: u64, now: Timestamp) -> bool {
        self.ended && now < self.phase_since.plus_ms(session_absolute_ms)
    }
}
