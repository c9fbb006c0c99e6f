//! Tenants.

use std::sync::Arc;

use super::Iam;
use crate::commands::{CreateTenant, TenantPatch, TenantRefusal};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::TenantId;
use crate::model::{Page, PageRequest, TenantContext, TenantView};
use crate::query::{Consistency, QueryError};

type Outcome<T> = Result<Written<T>, ExecuteError<TenantRefusal>>;

impl Iam {
    /// Creates a tenant: the directory reserves, the home partition creates and signs, the directory
    /// activates. `ctx.tenant` is not looked at. Signing keys but RS256 are active on return.
    ///
    /// # Errors
    /// [`TenantRefusal::SlugTaken`] and others of validity. After any other error the call may be
    /// repeated with the same idempotency key; a reservation that is not finished runs out.
    pub async fn create_tenant(&self, ctx: &RequestContext, new: CreateTenant) -> Outcome<TenantView> {
        todo!()
    }

    /// A tenant by its name in paths; cached until it changes. Local consistency.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<Arc<TenantContext>>, QueryError> {
        todo!()
    }

    /// A tenant by id; cached until it changes. Local consistency.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Arc<TenantContext>>, QueryError> {
        todo!()
    }

    /// A tenant with all that the admin API shows.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn get_tenant(&self, id: TenantId, consistency: &Consistency) -> Result<Option<TenantView>, QueryError> {
        todo!()
    }

    /// All tenants, in order of creation.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_tenants(
        &self,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<TenantView>, QueryError> {
        todo!()
    }

    /// Changes `ctx.tenant`.
    ///
    /// # Errors
    /// [`TenantRefusal`].
    pub async fn update_tenant(&self, ctx: &RequestContext, patch: TenantPatch) -> Outcome<TenantView> {
        todo!()
    }

    /// Deletes `ctx.tenant`: its keys are destroyed, its slug is free again.
    ///
    /// # Errors
    /// [`TenantRefusal::NotFound`].
    pub async fn delete_tenant(&self, ctx: &RequestContext) -> Outcome<()> {
        todo!()
    }

    /// Gives `ctx.tenant` another issuer. For development only: every token issued before names the
    /// old one.
    ///
    /// # Errors
    /// [`TenantRefusal::InvalidIssuer`].
    pub async fn repoint_issuer(&self, ctx: &RequestContext, issuer: String) -> Outcome<()> {
        todo!()
    }
}
