//! Which tenants have something to be told: a hint in memory beside the records, so that who tells need not
//! look through all of them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::TenantId;
use crate::proposal::{Proposal, RecordChange, RecordKind};

/// Tenants with new notices.
#[derive(Default)]
pub(super) struct Notices(Mutex<BTreeSet<TenantId>>);

impl Notices {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<TenantId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All since the last time.
    pub(super) fn take(&self) -> BTreeSet<TenantId> {
        std::mem::take(&mut *self.lock())
    }

    /// Notes the tenant when it is dropped: once the proposal is through, or given up.
    pub(super) fn noted(&self, tenant: TenantId) -> Noted<'_> {
        Noted { notices: self, tenant }
    }
}

/// See [`Notices::noted`].
pub(super) struct Noted<'n> {
    notices: &'n Notices,
    tenant: TenantId,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.notices.lock().insert(self.tenant);
    }
}

/// Whether a proposal leaves a logout notice.
pub(super) fn in_proposal(proposal: &Proposal) -> bool {
    proposal
        .records
        .iter()
        .any(|change| matches!(change, RecordChange::Put { key, .. } if key.kind == RecordKind::LogoutNotice))
}
