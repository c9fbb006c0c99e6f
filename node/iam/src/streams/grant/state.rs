//! A grant as its events made it.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Allowed, GrantEvent};
use crate::ids::{ClientId, Id, UserId};

/// What one user allows one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who allows.
    pub user: UserId,
    /// Whom.
    pub client: ClientId,
    /// What; absent after a revocation.
    #[serde(default)]
    pub allowed: Option<Allowed>,
    /// Tokens from this time or before are void. 0 when nothing was ever voided.
    pub not_before: Timestamp,
    /// When it was first given.
    pub created_at: Timestamp,
}

impl Grant {
    /// Applies `event`, which happened at `at`. Total.
    pub(crate) fn evolve(state: Option<Self>, event: &GrantEvent, at: Timestamp) -> Self {
        let mut grant = state.unwrap_or_else(|| Self {
            user: UserId::from_bytes([0; 16]),
            client: ClientId::from_bytes([0; 16]),
            allowed: None,
            not_before: Timestamp(0),
            created_at: at,
        });
        match event {
            GrantEvent::Given(given) => {
                grant.user = given.user;
                grant.client = given.client;
                grant.allowed = Some(given.allowed.clone());
            }
            GrantEvent::Changed(changed) => grant.allowed = Some(changed.allowed.after.clone()),
            GrantEvent::Revoked(_) => {
                grant.allowed = None;
                grant.not_before = at;
            }
        }
        grant
    }
}
