//! Tenants.

use std::sync::Arc;

use domicile_storage::{KeyRange, Order};

use super::Iam;
use super::cache::Versions;
use super::route::{read_failed, step_of, with_reply};
use crate::commands::{
    DeleteHome, PublishEntry, ReleaseTenant, RepointIssuer, TenantPatch, TenantRefusal, UpdateTenant,
};
use crate::execute::{ExecuteError, RequestContext, Written};
use crate::ids::{Id, TenantId};
use crate::model::{Page, PageRequest, TenantContext, TenantView};
use crate::projections::{Projection, id_of_row, tenant_prefix};
use crate::query::{Consistency, QueryError, fault, next_token, parse_token, stream_version};
use crate::streams::directory::{DirectoryTenant, EntryPhase};
use crate::streams::tenant::Tenant;
use crate::tables::directory_tenant;

type Outcome<T> = Result<Written<T>, ExecuteError<TenantRefusal>>;

impl Iam {
    /// A tenant by its name in paths; cached until it changes. Local consistency.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<Arc<TenantContext>>, QueryError> {
        if let Some(id) = self.inner.slugs.get(slug) {
            // A slug can become another tenant's; the context says whose it is.
            if let Some(context) = self.tenant(id).await?.filter(|context| context.slug == slug) {
                return Ok(Some(context));
            }
        }
        let Some(id) = self.slug_owner(slug)? else { return Ok(None) };
        self.inner.slugs.put(slug.to_owned(), id);
        self.tenant(id).await
    }

    /// A tenant by id; cached until it changes. Local consistency. Its directory entry is verified.
    ///
    /// # Errors
    /// [`QueryError`].
    #[allow(clippy::unused_async, reason = "a replica elsewhere will be asked when this node has none")]
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Arc<TenantContext>>, QueryError> {
        let routed =
            stream_version::<DirectoryTenant>(&*self.inner.directory.engine(), directory_tenant(), id)?;
        if routed == 0 {
            return Ok(None);
        }
        let home = self.home(id)?;
        let versions = [routed, stream_version::<Tenant>(&*home.engine(), id, id)?];
        if let Some(context) = self.inner.tenants.current(&id, versions) {
            return Ok(Some(context));
        }
        let Some((_, stored)) = self.directory_tenant(id)? else { return Ok(None) };
        if self.verified_entry(id, &stored)?.is_none() {
            return Ok(None);
        }
        let Some(context) = self.local_view(id)?.tenant_context()?.map(Arc::new) else { return Ok(None) };
        self.inner.tenants.put(id, Versions { versions, value: Arc::clone(&context) });
        Ok(Some(context))
    }

    /// A tenant with all that the admin API shows.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn get_tenant(
        &self,
        id: TenantId,
        consistency: &Consistency,
    ) -> Result<Option<TenantView>, QueryError> {
        match self.view(id, consistency).await {
            Ok(view) => view.tenant_view(),
            Err(QueryError::UnknownTenant) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All routed tenants, in order of creation. The directory is read after a barrier, tenants at
    /// home as they are here; a consistency token is a tenant's and does not fit.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_tenants(
        &self,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<TenantView>, QueryError> {
        let wanted = match consistency {
            Consistency::AtLeast(_) => &Consistency::Linearizable,
            Consistency::Linearizable | Consistency::BoundedMs(_) | Consistency::Local => consistency,
        };
        self.wait(&self.inner.directory, directory_tenant(), wanted).await?;
        let prefix = tenant_prefix(Projection::DirectoryTenants, directory_tenant());
        let mut range = KeyRange::prefix(&prefix);
        if let Some(after) = page.page_token.as_deref().map(parse_token).transpose()? {
            range.start = std::ops::Bound::Excluded([&prefix[..], &after].concat());
        }
        let rows =
            self.inner.directory.engine().scan(&range, Order::Ascending, page.size() + 1).map_err(fault)?;
        let ids: Vec<TenantId> = rows.iter().filter_map(|(key, _)| id_of_row(key)).collect();
        let mut listed = Page { items: Vec::new(), next_page_token: None };
        for id in ids.iter().take(page.size()) {
            match self.listed_tenant(*id) {
                Ok(tenant) => listed.items.extend(tenant),
                // One that is broken, or half deleted, does not hide the others.
                Err(error) => tracing::warn!(tenant = %id, %error, "a tenant is left out of the list"),
            }
        }
        if ids.len() > page.size() {
            listed.next_page_token = ids.get(page.size() - 1).map(|last| next_token(last.bytes()));
        }
        Ok(listed)
    }

    fn listed_tenant(&self, id: TenantId) -> Result<Option<TenantView>, QueryError> {
        let Some((_, stored)) = self.directory_tenant(id)? else { return Ok(None) };
        match self.verified_entry(id, &stored)? {
            Some(_) => self.local_view(id)?.tenant_view(),
            None => Ok(None),
        }
    }

    /// Changes `ctx.tenant`.
    ///
    /// # Errors
    /// [`TenantRefusal`].
    pub async fn update_tenant(&self, ctx: &RequestContext, patch: TenantPatch) -> Outcome<TenantView> {
        let written = self.run(ctx, &UpdateTenant { patch }).await?;
        let view =
            self.local_view(ctx.tenant).and_then(|view| view.tenant_view()).map_err(|e| read_failed(&e))?;
        Ok(with_reply(&written, view.ok_or(ExecuteError::Refused(TenantRefusal::NotFound))?))
    }

    /// The tenant to delete by its name in paths: also one whose deletion was begun and not finished,
    /// which is served no more. Local consistency.
    ///
    /// # Errors
    /// [`QueryError`].
    #[allow(clippy::unused_async, reason = "a replica elsewhere will be asked when this node has none")]
    pub async fn tenant_to_delete(&self, slug: &str) -> Result<Option<TenantId>, QueryError> {
        let Some(id) = self.slug_owner(slug)? else { return Ok(None) };
        let entry = self.directory_tenant(id)?.map(|(_, entry)| entry.phase);
        Ok(matches!(entry, Some(EntryPhase::Active { .. })).then_some(id))
    }

    /// Deletes `ctx.tenant`: its keys are destroyed, its slug is free again. May be repeated after a
    /// failure half way; [`Iam::housekeep`] finishes it otherwise.
    ///
    /// # Errors
    /// [`TenantRefusal::NotFound`]; [`TenantRefusal::Stale`] if it is not at `if_revision`.
    pub async fn delete_tenant(&self, ctx: &RequestContext, if_revision: Option<u64>) -> Outcome<()> {
        // A kept reply would be sealed by the key that this destroys. The command says the same again.
        let unkept = RequestContext { idempotency: None, ..ctx.clone() };
        let written = self.run(&unkept, &DeleteHome { if_revision }).await?;
        // The directory hears from all tenants: the key is one tenant's.
        let step = step_of(ctx, directory_tenant(), &format!("release {}", ctx.tenant));
        self.inner.directory.execute(&step, &ReleaseTenant { tenant: ctx.tenant }).await?;
        Ok(written)
    }

    /// Gives `ctx.tenant` another issuer. For development only: every token issued before names the
    /// old one.
    ///
    /// # Errors
    /// [`TenantRefusal::InvalidIssuer`].
    pub async fn repoint_issuer(&self, ctx: &RequestContext, issuer: String) -> Outcome<()> {
        let written = self.run(ctx, &RepointIssuer { issuer }).await?;
        let signed = self.sign_entry(ctx, ctx.tenant).await?.reply;
        let step = step_of(ctx, directory_tenant(), &format!("publish {}", ctx.tenant));
        self.inner.directory.execute(&step, &PublishEntry { tenant: ctx.tenant, signed }).await?;
        Ok(written)
    }
}
