//! A tenant's directory entry as its events made it.

use domicile_raft::{PartitionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::event::{DirectoryTenantEvent, SignedEntry};

/// How far a tenant's creation came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryPhase {
    /// Taken until then.
    Reserved {
        /// When it runs out.
        expires_at: Timestamp,
    },
    /// Routed.
    Active {
        /// Pinned.
        #[serde(with = "serde_bytes")]
        root_public_key: [u8; 32],
        /// Newest.
        signed: SignedEntry,
        /// Its `iss`, where the event told it.
        #[serde(default)]
        issuer: Option<String>,
    },
    /// Free again.
    Released,
}

/// A tenant's directory entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryTenant {
    /// Its name in paths.
    pub slug: String,
    /// Where it lives.
    pub home: PartitionId,
    /// How far it came.
    pub phase: EntryPhase,
    /// When it was reserved.
    pub created_at: Timestamp,
}

impl DirectoryTenant {
    /// Applies `event`, which happened at `at`. Total.
    pub(crate) fn evolve(state: Option<Self>, event: &DirectoryTenantEvent, at: Timestamp) -> Self {
        let mut entry = state.unwrap_or(Self {
            slug: String::new(),
            home: PartitionId::DIRECTORY,
            phase: EntryPhase::Released,
            created_at: at,
        });
        match event {
            DirectoryTenantEvent::Reserved(reserved) => {
                entry.slug.clone_from(&reserved.slug);
                entry.home = reserved.home;
                entry.phase = EntryPhase::Reserved { expires_at: reserved.expires_at };
            }
            DirectoryTenantEvent::Activated(activated) => {
                entry.phase = EntryPhase::Active {
                    root_public_key: activated.root_public_key,
                    signed: activated.signed.clone(),
                    issuer: activated.issuer.clone(),
                };
            }
            DirectoryTenantEvent::EntryChanged(changed) => {
                if let EntryPhase::Active { signed, issuer, .. } = &mut entry.phase {
                    *signed = changed.signed.after.clone();
                    issuer.clone_from(&changed.issuer);
                }
            }
            DirectoryTenantEvent::Released(_) => entry.phase = EntryPhase::Released,
        }
        entry
    }
}
