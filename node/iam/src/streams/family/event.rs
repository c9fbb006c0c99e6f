//! What happens to a token family: what one redeemed code gave.

use std::collections::BTreeSet;

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, GrantId, SessionId, UserId};
use crate::model::{ClaimsRequest, FamilyMode};
use crate::streams::event_set::{Payload, event_set};

event_set! {
    /// Events of a token family. A rotation is a record transition, no event.
    FamilyEvent {
        /// A code was redeemed.
        Created(FamilyCreated) => "family.created", 1;
        /// A spent refresh token came back (RFC 9700 §4.14.2).
        ReuseDetected(FamilyReuseDetected) => "family.reuse_detected", 1;
        /// All its tokens are void.
        Revoked(FamilyRevoked) => "family.revoked", 1;
    }
}

/// `family.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyCreated {
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
    #[serde(default)]
    pub auth_time_wanted: bool,
    /// Assurance reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Methods used.
    #[serde(default)]
    pub amr: Vec<String>,
    /// Whether it outlives the session (OpenID Connect Core §11).
    pub offline: bool,
    /// Whether it has a refresh token.
    pub refreshable: bool,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// Thumbprint of the key that its refresh tokens are bound to: a public client's (RFC 9449 §5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// What its access tokens are for at most (RFC 8707); none: the issuer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
    /// Whether its refresh tokens rotate.
    #[serde(default, skip_serializing_if = "FamilyMode::is_rotate")]
    pub mode: FamilyMode,
}

impl Payload for FamilyCreated {}

/// `family.reuse_detected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyReuseDetected {
    /// Generation of the token that came back.
    pub generation: u32,
    /// Generation that was current.
    pub current: u32,
}

impl Payload for FamilyReuseDetected {}

/// Why a family was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FamilyRevocation {
    /// A spent refresh token came back.
    TokenReused,
    /// The code was used twice (RFC 6749 §4.1.2).
    CodeReused,
    /// The client asked (RFC 7009).
    Client,
    /// Someone with the right to do so asked.
    Administrator,
}

/// `family.revoked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyRevoked {
    /// Why.
    pub reason: FamilyRevocation,
}

impl Payload for FamilyRevoked {}
