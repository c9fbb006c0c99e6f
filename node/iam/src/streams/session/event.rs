//! What happens to a login session.

use domicile_raft::Timestamp;
use domicile_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, SessionId, UserId};
use crate::model::Authentication;
use crate::streams::event_set::{Payload, event_set};

event_set! {
    /// Events of a session.
    SessionEvent {
        /// A user logged in.
        Started(SessionStarted) => "session.started", 2;
        /// The user proved who they are again; the cookie changed.
        Reauthenticated(SessionReauthenticated) => "session.reauthenticated", 1;
        /// A client got its first code in this session.
        ClientJoined(SessionClientJoined) => "session.client.joined", 1;
        /// Over: what was issued in it is void, but for offline families.
        Ended(SessionEnded) => "session.ended", 1;
        /// A client could not be told of a logout and will not be any more.
        LogoutUndelivered(SessionLogoutUndelivered) => "session.logout.undelivered", 1;
        /// Over by itself, unused or at its latest; written where a client wants to hear of it.
        Expired(SessionExpired) => "session.expired", 1;
    }
}

/// `session.started`.
///
/// Schema 1 held one authentication flat (`method`, `at`, `acr`); schema 2 holds a list, since a
/// second factor is a second authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStarted {
    /// Whose.
    pub user: UserId,
    /// How they proved who they are.
    pub authentications: Vec<Authentication>,
    /// SHA-256 of the cookie's secret.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// The session of this browser that it takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<SessionId>,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct SessionStartedV1 {
    user: UserId,
    method: String,
    at: Timestamp,
    acr: String,
    #[serde(with = "serde_bytes")]
    secret_sha256: [u8; 32],
    #[serde(default)]
    replaces: Option<SessionId>,
    expires_at: Timestamp,
}

impl Payload for SessionStarted {
    fn upcast(schema: u16, body: &[u8]) -> Result<Self, CodecError> {
        if schema != 1 {
            return Err(CodecError::Malformed(format!("unknown event schema {schema}")));
        }
        let old: SessionStartedV1 = codec::decode_open(body)?;
        Ok(Self {
            user: old.user,
            authentications: vec![Authentication { method: old.method, at: old.at, acr: old.acr }],
            secret_sha256: old.secret_sha256,
            replaces: old.replaces,
            expires_at: old.expires_at,
        })
    }
}

/// `session.reauthenticated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReauthenticated {
    /// The new proof; those before it stay.
    pub authentication: Authentication,
    /// SHA-256 of the new cookie's secret.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
}

impl Payload for SessionReauthenticated {}

/// `session.client.joined`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClientJoined {
    /// Which.
    pub client: ClientId,
    /// `sid` for this client.
    pub sid: String,
}

impl Payload for SessionClientJoined {}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEndReason {
    /// The user logged out.
    Logout,
    /// Another login in the same browser took its place.
    Replaced,
    /// Someone with the right to do so ended it.
    Administrator,
}

/// `session.ended`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnded {
    /// Why.
    pub reason: SessionEndReason,
}

impl Payload for SessionEnded {}

/// Why a client was not told of a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogoutFailure {
    /// It was tried as often as it may be.
    Attempts,
    /// The logout is too long ago.
    Age,
    /// What is registered is no address that can be called.
    Address,
}

/// `session.logout.undelivered`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLogoutUndelivered {
    /// Who was not told.
    pub client: ClientId,
    /// Why.
    pub reason: LogoutFailure,
}

impl Payload for SessionLogoutUndelivered {}

/// `session.expired`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionExpired {}

impl Payload for SessionExpired {}
