//! A client as the API shows it; `schemas.rs` describes it.

use domicile_iam::ids::{ClientId, CredentialId};
use domicile_iam::model::{ClientMetadata, ClientView, CredentialView, Delegation};
use domicile_raft::Timestamp;
use serde::Serialize;

use super::instant;

/// RFC 7591 §3.2.1, with our own members.
#[derive(Serialize)]
pub(super) struct ClientDocument {
    pub(super) id: ClientId,
    client_id: String,
    /// Seconds.
    client_id_issued_at: u64,
    /// Shown once: when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// 0: never. Goes with the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u64>,
    #[serde(flatten)]
    metadata: ClientMetadata,
    credentials: Vec<CredentialDocument>,
    disabled: bool,
    /// Who had it registered, where that was no operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    delegation: Option<Delegation>,
    #[serde(serialize_with = "instant::serialize")]
    created_at: Timestamp,
    pub(super) revision: u64,
}

#[derive(Serialize)]
struct CredentialDocument {
    id: CredentialId,
    #[serde(serialize_with = "instant::serialize")]
    created_at: Timestamp,
    /// Null: never.
    expires_at: Option<String>,
}

impl From<&CredentialView> for CredentialDocument {
    fn from(view: &CredentialView) -> Self {
        Self { id: view.id, created_at: view.created_at, expires_at: view.expires_at.map(instant::rfc3339) }
    }
}

impl ClientDocument {
    /// Without a secret.
    pub(super) fn new(view: &ClientView) -> Self {
        Self::with_secret(view, None)
    }

    /// With a secret that was just made.
    pub(super) fn with_secret(view: &ClientView, client_secret: Option<String>) -> Self {
        Self {
            id: view.id,
            client_id: view.client_id.clone(),
            client_id_issued_at: view.created_at.seconds(),
            client_secret_expires_at: client_secret.is_some().then_some(0),
            client_secret,
            metadata: view.metadata.clone(),
            credentials: view.credentials.iter().map(CredentialDocument::from).collect(),
            disabled: view.disabled,
            delegation: view.delegation.clone(),
            created_at: view.created_at,
            revision: view.revision,
        }
    }
}
