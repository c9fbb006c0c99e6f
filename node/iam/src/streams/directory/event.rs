//! What the directory knows of a tenant: its name, its home, and the entry its root key signed.

use domicile_raft::{PartitionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::streams::event_set::{Change, Payload, event_set};

event_set! {
    /// Events of a tenant's directory entry.
    DirectoryTenantEvent {
        /// Slug, id and home are taken; the home partition creates the tenant next.
        Reserved(DirectoryTenantReserved) => "directory.tenant.reserved", 1;
        /// The home partition signed; requests are routed from here on.
        Activated(DirectoryTenantActivated) => "directory.tenant.activated", 1;
        /// Another signed entry, after a change of the tenant.
        EntryChanged(DirectoryTenantEntryChanged) => "directory.tenant.entry_changed", 1;
        /// The reservation ran out, or the tenant was deleted; the slug is free.
        Released(DirectoryTenantReleased) => "directory.tenant.released", 1;
    }
}

/// `directory.tenant.reserved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryTenantReserved {
    /// Its name in paths.
    pub slug: String,
    /// Where it lives.
    pub home: PartitionId,
    /// When the reservation runs out unless activated.
    pub expires_at: Timestamp,
}

impl Payload for DirectoryTenantReserved {}

/// A tenant's entry with its root key's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedEntry {
    /// The signed bytes: an encoded `DirectoryEntry`.
    #[serde(with = "serde_bytes")]
    pub entry: Vec<u8>,
    /// Ed25519.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// `directory.tenant.activated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryTenantActivated {
    /// Root public key, pinned from here on.
    #[serde(with = "serde_bytes")]
    pub root_public_key: [u8; 32],
    /// Signed.
    pub signed: SignedEntry,
    /// `iss` as the entry says, so that nothing signed is read when this is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

impl Payload for DirectoryTenantActivated {}

/// `directory.tenant.entry_changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryTenantEntryChanged {
    /// Signed by the pinned key.
    pub signed: Change<SignedEntry>,
    /// `iss` as the new entry says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

impl Payload for DirectoryTenantEntryChanged {}

/// Why a name was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    /// The creation was not finished in time.
    Expired,
    /// The tenant was deleted.
    Deleted,
}

/// `directory.tenant.released`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryTenantReleased {
    /// Why.
    pub reason: ReleaseReason,
}

impl Payload for DirectoryTenantReleased {}
