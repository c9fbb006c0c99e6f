//! What happens to a tenant, in its home partition.

use domicile_raft::placement::Placement;
use domicile_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use crate::model::TenantSettings;
use crate::streams::event_set::{Change, Payload, event_set};

event_set! {
    /// Events of a tenant.
    TenantEvent {
        /// The tenant and its keys exist from here on.
        Created(TenantCreated) => "tenant.created", 2;
        /// Another name, other settings, disabled or enabled.
        Changed(TenantChanged) => "tenant.changed", 2;
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
    /// Where it may live; absent where it asked for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
}

/// Revision 1 had fewer settings and no placement: what is absent has its default.
impl Payload for TenantCreated {
    fn upcast(schema: u16, body: &[u8]) -> Result<Self, CodecError> {
        read_first(schema, body)
    }
}

fn read_first<T: serde::de::DeserializeOwned>(schema: u16, body: &[u8]) -> Result<T, CodecError> {
    if schema == 1 {
        codec::decode_open(body)
    } else {
        Err(CodecError::Malformed(format!("unknown event schema {schema}")))
    }
}

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

/// Revision 1 had fewer settings: what is absent has its default, before and after.
impl Payload for TenantChanged {
    fn upcast(schema: u16, body: &[u8]) -> Result<Self, CodecError> {
        read_first(schema, body)
    }
}

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
