//! A token family as its events made it.

use std::collections::BTreeSet;

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::FamilyEvent;
use crate::ids::{ClientId, GrantId, SessionId, UserId};
use crate::model::{ClaimsRequest, FamilyMode};

/// A token family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// Absent only if it was never created.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// When it was revoked.
    #[serde(default)]
    pub revoked_at: Option<Timestamp>,
}

/// What a family was made from; never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The grant it stands on.
    pub grant: GrantId,
    /// The session it came from.
    pub session: SessionId,
    /// `sid`.
    pub sid: String,
    /// The user.
    pub user: UserId,
    /// The client.
    pub client: ClientId,
    /// Scopes at most.
    pub scopes: BTreeSet<String>,
    /// The `claims` parameter.
    #[serde(default)]
    pub claims: ClaimsRequest,
    /// When the user had proved who they are.
    pub auth_time: Timestamp,
    /// Whether ID tokens say it.
    pub auth_time_wanted: bool,
    /// Assurance reached.
    #[serde(default)]
    pub acr: Option<String>,
    /// Methods used.
    #[serde(default)]
    pub amr: Vec<String>,
    /// Whether it outlives the session.
    pub offline: bool,
    /// Whether it has a refresh token.
    pub refreshable: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// Thumbprint of the key that its refresh tokens are bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// What its access tokens are for at most; none: the issuer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
    /// Whether its refresh tokens rotate.
    #[serde(default, skip_serializing_if = "FamilyMode::is_rotate")]
    pub mode: FamilyMode,
}

impl Family {
    /// The origin, unless revoked or ended at `now`.
    pub fn live(&self, now: Timestamp) -> Option<&Origin> {
        self.origin.as_ref().filter(|origin| self.revoked_at.is_none() && now < origin.expires_at)
    }

    /// Applies `event`, which happened at `at`. Total.
    pub(crate) fn evolve(mut self, event: &FamilyEvent, at: Timestamp) -> Self {
        match event {
            FamilyEvent::Created(created) => {
                self.origin = Some(Origin {
                    grant: created.grant,
                    session: created.session,
                    sid: created.sid.clone(),
                    user: created.user,
                    client: created.client,
                    scopes: created.scopes.clone(),
                    claims: created.claims.clone(),
                    auth_time: created.auth_time,
                    auth_time_wanted: created.auth_time_wanted,
                    acr: created.acr.clone(),
                    amr: created.amr.clone(),
                    offline: created.offline,
                    refreshable: created.refreshable,
                    created_at: at,
                    expires_at: created.expires_at,
                    dpop_jkt: created.dpop_jkt.clone(),
                    resources: created.resources.clone(),
                    mode: created.mode,
                });
            }
            // The revocation that comes with it is its own event.
            FamilyEvent::ReuseDetected(_) => {}
            FamilyEvent::Revoked(_) => self.revoked_at = self.revoked_at.or(Some(at)),
        }
        self
    }
}
