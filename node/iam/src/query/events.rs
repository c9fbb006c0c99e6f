//! The audit log as the admin API shows it.

use domicile_raft::Timestamp;
use serde::Serialize;

/// Which events are wanted; what is `None` does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// One stream, by its id's text (`usr_...`).
    pub stream: Option<String>,
    /// One type, such as `user.created`.
    pub event_type: Option<String>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventView {
    /// Its number in the tenant's chain, from 1.
    pub sequence: u64,
    /// Such as `user.created`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Schema it was written in.
    pub schema: u16,
    /// The stream's id (`usr_...`).
    pub stream: String,
    /// Its number in the stream, from 1.
    pub revision: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Who did it.
    pub actor: serde_json::Value,
    /// In which request.
    pub request_id: Option<String>,
    /// Its content; sealed values are opened where the key exists, else `{"sealed":true}`.
    pub data: serde_json::Value,
}
