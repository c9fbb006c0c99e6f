//! A login session as its events made it.

use std::collections::BTreeMap;

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::SessionEvent;
use crate::ids::{ClientId, UserId};
use crate::model::{Assurance, Authentication};

/// A login session. When it was last used is a record, not an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whose.
    pub user: UserId,
    /// In order of time.
    pub authentications: Vec<Authentication>,
    /// SHA-256 of the cookie's secret.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// `sid` by client.
    #[serde(default)]
    pub clients: BTreeMap<ClientId, String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was last (re-)authenticated.
    pub renewed_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

impl Session {
    /// When the user last proved who they are; `auth_time`. A second factor alone does not count: it neither
    /// makes a login newer nor revives what a new password voided.
    pub fn authenticated_at(&self) -> Timestamp {
        Assurance::of(&self.authentications).map(|proofs| proofs.first.at).unwrap_or_default()
    }

    /// When it ends unless used again: `last_seen` is from the touch record.
    pub fn idle_expires_at(&self, last_seen: Option<Timestamp>, session_idle_ms: u64) -> Timestamp {
        last_seen.unwrap_or_default().max(self.renewed_at).plus_ms(session_idle_ms).min(self.expires_at)
    }

    /// Whether it is over at `now`, given when it ends without use.
    pub fn is_over(&self, now: Timestamp, idle_expires_at: Timestamp) -> bool {
        self.ended_at.is_some() || now >= idle_expires_at || now >= self.expires_at
    }

    /// Applies `event`, which happened at `at`. Total: an event before the first is kept as far as
    /// it goes, in a session that is nobody's and over.
    pub(crate) fn evolve(state: Option<Self>, event: &SessionEvent, at: Timestamp) -> Self {
        let mut session = state.unwrap_or_else(|| Self::nobodys(at));
        match event {
            SessionEvent::Started(started) => {
                session = Self {
                    user: started.user,
                    authentications: started.authentications.clone(),
                    secret_sha256: started.secret_sha256,
                    clients: BTreeMap::new(),
                    started_at: at,
                    renewed_at: at,
                    expires_at: started.expires_at,
                    ended_at: None,
                };
            }
            SessionEvent::Reauthenticated(again) => {
                session.authentications.push(again.authentication.clone());
                session.secret_sha256 = again.secret_sha256;
                session.renewed_at = at;
            }
            SessionEvent::ClientJoined(joined) => {
                session.clients.insert(joined.client, joined.sid.clone());
            }
            SessionEvent::Ended(_) | SessionEvent::Expired(_) => session.ended_at = Some(at),
            // A fact for the audit log.
            SessionEvent::LogoutUndelivered(_) => {}
        }
        session
    }

    fn nobodys(at: Timestamp) -> Self {
        use crate::ids::Id;
        Self {
            user: UserId::from_bytes([0; 16]),
            authentications: Vec::new(),
            secret_sha256: [0; 32],
            clients: BTreeMap::new(),
            started_at: at,
            renewed_at: at,
            expires_at: at,
            ended_at: Some(at),
        }
    }
}
