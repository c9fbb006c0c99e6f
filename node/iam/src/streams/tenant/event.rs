//! What happens to a tenant, in its home partition.

use serde::{Deserialize, Serialize};

use crate::model::TenantSettings;
use crate::streams::event_set::{Change, Payload, event_set};

event_set! {
    /// Events of a tenant.
    TenantEvent {
        /// The tenant and its keys exist from here on.
        Created(TenantCreated) => "tenant.created", 1;
        /// Another name, other settings, disabled or enabled.
        Changed(TenantChanged) => "tenant.changed", 1;
        /// Another issuer; in development only.
        IssuerRepointed(TenantIssuerRepointed) => "tenant.issuer.repointed", 1;
        /// Gone for good.
        Deleted(TenantDeleted) => "tenant.deleted", 1;
    }
}

/// `tenant.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantCreated {
    /// Its name in paths.
    pub slug: String,
    /// Shown to people.
    pub display_name: String,
    /// `iss`.
    pub issuer: String,
    /// Settings.
    pub settings: TenantSettings,
    /// Ed25519 public key that signs its directory entry and its checkpoints.
    #[serde(with = "serde_bytes")]
    pub root_public_key: [u8; 32],
}

impl Payload for TenantCreated {}

/// `tenant.changed`: only what changed is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantChanged {
    /// Shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Change<String>>,
    /// Settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Change<TenantSettings>>,
    /// Whether disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Change<bool>>,
}

impl Payload for TenantChanged {}

/// `tenant.issuer.repointed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantIssuerRepointed {
    /// `iss`.
    pub issuer: Change<String>,
}

impl Payload for TenantIssuerRepointed {}

/// `tenant.deleted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantDeleted {}

impl Payload for TenantDeleted {}
