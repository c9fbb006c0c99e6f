//! A tenant in the list of all tenants, whose homes may not all answer.

use domicile_raft::PartitionId;

use super::TenantView;
use crate::ids::TenantId;

/// One of all tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedTenant {
    /// As its home shows it.
    Shown(Box<TenantView>),
    /// Its home did not answer in time, or its entry cannot be believed.
    Unanswered(KnownTenant),
}

/// What the directory knows of a tenant without asking its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTenant {
    /// Its id.
    pub id: TenantId,
    /// Its name in paths.
    pub slug: String,
    /// Where it lives.
    pub home: PartitionId,
}

impl ListedTenant {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> TenantId {
        match self {
            Self::Shown(tenant) => tenant.id,
            Self::Unanswered(tenant) => tenant.id,
        }
    }
}
