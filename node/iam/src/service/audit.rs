//! The audit log, read.

use super::Iam;
use crate::audit::Export;
use crate::ids::TenantId;
use crate::model::{Page, PageRequest};
use crate::query::{Consistency, EventFilter, EventView, QueryError, fault};

impl Iam {
    /// A page of the tenant's events, oldest first, opened where the keys still exist.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn events(
        &self,
        tenant: TenantId,
        page: &PageRequest,
        filter: &EventFilter,
        consistency: &Consistency,
    ) -> Result<Page<EventView>, QueryError> {
        self.view(tenant, consistency).await?.events(page, filter)
    }

    /// Begins an export of the tenant's events: sealed, chained and signed, for `audit verify`. What
    /// commits meanwhile is left to the next one.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn export(&self, tenant: TenantId, consistency: &Consistency) -> Result<Export, QueryError> {
        let view = self.view(tenant, consistency).await?;
        let root = view.keys.root().map_err(fault)?;
        Export::begin(std::sync::Arc::clone(&view.engine), tenant, &root, view.now).map_err(fault)
    }
}
