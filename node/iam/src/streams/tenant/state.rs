//! A tenant as its events made it.

use domicile_raft::Timestamp;
use domicile_raft::placement::Placement;
use serde::{Deserialize, Serialize};

use super::event::TenantEvent;
use crate::model::TenantSettings;

/// A tenant in its home partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
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
    /// Where it may live; `None` where it asked for nothing.
    #[serde(default)]
    pub placement: Option<Placement>,
    /// Whether disabled.
    pub disabled: bool,
    /// Whether it is gone.
    #[serde(default)]
    pub deleted: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Tenant {
    /// Applies `event`, which happened at `at`. Total.
    pub(crate) fn evolve(state: Option<Self>, event: &TenantEvent, at: Timestamp) -> Self {
        let mut tenant = state.unwrap_or_else(|| Self::nobodys(at));
        tenant.updated_at = at;
        match event {
            TenantEvent::Created(created) => {
                tenant = Self {
                    slug: created.slug.clone(),
                    display_name: created.display_name.clone(),
                    issuer: created.issuer.clone(),
                    settings: created.settings.clone(),
                    root_public_key: created.root_public_key,
                    placement: created.placement.clone(),
                    disabled: false,
                    deleted: false,
                    created_at: at,
                    updated_at: at,
                };
            }
            TenantEvent::Changed(changed) => {
                if let Some(change) = &changed.display_name {
                    tenant.display_name.clone_from(&change.after);
                }
                if let Some(change) = &changed.settings {
                    tenant.settings = change.after.clone();
                }
                if let Some(change) = &changed.disabled {
                    tenant.disabled = change.after;
                }
            }
            TenantEvent::IssuerRepointed(repointed) => tenant.issuer.clone_from(&repointed.issuer.after),
            TenantEvent::Deleted(_) => tenant.deleted = true,
        }
        tenant
    }

    fn nobodys(at: Timestamp) -> Self {
        Self {
            slug: String::new(),
            display_name: String::new(),
            issuer: String::new(),
            settings: TenantSettings::default(),
            root_public_key: [0; 32],
            placement: None,
            disabled: true,
            deleted: true,
            created_at: at,
            updated_at: at,
        }
    }
}
