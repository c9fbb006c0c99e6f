//! The audit log, read.

use super::Iam;
use crate::ids::TenantId;
use crate::model::{Page, PageRequest};
use crate::query::{Consistency, EventFilter, EventView, QueryError};

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
}
