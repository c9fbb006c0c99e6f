//! Tenants.

use std::sync::Arc;
use std::time::Duration;

use domicile_storage::{KeyRange, Order};
use futures::future::join_all;

use super::Iam;
use super::cache::Versions;
use super::deadline::Deadline;
use super::remote::Ask;
use super::route::{home_failed, read_failed, step_of, with_reply};
use super::steps::leads;
use crate::commands::{
    DeleteHome, PublishEntry, ReleaseTenant, RepointIssuer, SYSTEM_SLUG, TenantPatch, TenantRefusal,
    UpdateTenant,
};
use crate::execute::{ExecuteError, Executor, RequestContext, Written};
use crate::ids::{Id, TenantId};
use crate::model::{Page, PageRequest, TenantContext, TenantView};
use crate::projections::{Projection, id_of_row, tenant_prefix};
use crate::query::{Consistency, QueryError, fault, next_token, parse_token, stream_version};
use crate::streams::directory::EntryPhase;
use crate::streams::tenant::Tenant;
use crate::tables::directory_tenant;

/// How long a home elsewhere is waited for when tenants are listed.
const LISTED_DEADLINE: Duration = Duration::from_secs(2);

type Outcome<T> = Result<Written<T>, ExecuteError<TenantRefusal>>;

impl Iam {
    /// A tenant by its name in paths; cached until it changes. Local consistency: the directory here is
    /// a hint, its home's own state decides.
    ///
    /// # Errors
    /// [`QueryError::Elsewhere`] if its home has no replica here, and others.
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<Arc<TenantContext>>, QueryError> {
        match self.route(slug)? {
            Some(route) => self.tenant(route.tenant).await,
            None => Ok(None),
        }
    }

    /// A tenant by id; cached until it changes. Local consistency. Its directory entry is verified.
    ///
    /// # Errors
    /// As [`Iam::tenant_by_slug`]; [`QueryError::NotLeader`] by a replica that has not caught up with it.
    #[allow(clippy::unused_async, reason = "callers await what may once ask another replica")]
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Arc<TenantContext>>, QueryError> {
        if self.route_of(id)?.is_none() {
            return Ok(None);
        }
        let home = self.home(id)?;
        let version = stream_version::<Tenant>(&*home.engine(), id, id)?;
        if version == 0 && !leads(&home) {
            // The directory knows it and this replica has nothing of it: it is new and has not caught up. That
            // is no word on whether the tenant is there.
            let partition = home.partition();
            return Err(QueryError::NotLeader {
                partition: partition.id(),
                leader: partition.status().leader,
            });
        }
        let versions = [version, home.partition().id().0];
        if let Some(context) = self.inner.tenants.current(&id, versions) {
            return Ok(Some(context));
        }
        let Some(context) = self.view_of(&home, id)?.tenant_context()?.map(Arc::new) else { return Ok(None) };
        // As old as what was read: a change in between is not kept as if it were older.
        let versions = [context.revision, home.partition().id().0];
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
    /// home as they are here; a consistency token is a tenant's and does not fit. Left out are tenants whose home
    /// does not answer within 2 s.
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
        // All homes at once: those that do not answer cost their time together.
        let asked = ids.iter().take(page.size());
        let shown = join_all(asked.clone().map(|id| self.listed_tenant(*id))).await;
        for (id, shown) in asked.zip(shown) {
            match shown {
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

    async fn listed_tenant(&self, id: TenantId) -> Result<Option<TenantView>, QueryError> {
        let Some(route) = self.route_of(id)? else { return Ok(None) };
        match self.local_view(id) {
            Ok(view) => view.tenant_view(),
            Err(QueryError::Elsewhere { .. }) => {
                let context = RequestContext { deadline: LISTED_DEADLINE, ..self.system_context(id) };
                let shown = self.ask::<Option<TenantView>, TenantRefusal>(route.home, &context, || Ask::View);
                let shown = shown.await.map_err(|error| QueryError::Fault(error.to_string()))?;
                Ok(shown.reply)
            }
            Err(error) => Err(error),
        }
    }

    /// What [`Ask::View`] answers, at home.
    pub(super) async fn view_here(
        &self,
        home: &Arc<Executor>,
        ctx: &RequestContext,
    ) -> Outcome<Option<TenantView>> {
        let tenant = ctx.tenant;
        let read = self.wait(home, tenant, &Consistency::Linearizable).await;
        let shown = read.and_then(|()| self.view_of(home, tenant)).and_then(|view| view.tenant_view());
        let reply = match shown {
            Ok(shown) => shown,
            Err(QueryError::UnknownTenant) => None,
            Err(QueryError::NotLeader { partition, leader }) => {
                return Err(ExecuteError::NotLeader { partition, leader });
            }
            Err(error) => return Err(ExecuteError::Fault(error.to_string())),
        };
        Ok(Written { reply, consistency: home.token_here(tenant), replayed: false })
    }

    /// Changes `ctx.tenant`.
    ///
    /// # Errors
    /// [`TenantRefusal`].
    pub async fn update_tenant(&self, ctx: &RequestContext, patch: TenantPatch) -> Outcome<TenantView> {
        let settings_change = patch.settings.is_some();
        let written = self.run(ctx, &UpdateTenant { patch }).await?;
        drop(self.publish_soon(ctx.tenant));
        if settings_change {
            self.inner.keys_due.put(ctx.tenant);
        }
        let view =
            self.local_view(ctx.tenant).and_then(|view| view.tenant_view()).map_err(|e| read_failed(&e))?;
        Ok(with_reply(&written, view.ok_or(ExecuteError::Refused(TenantRefusal::NotFound))?))
    }

    /// Tells the directory of a change at home, in the background: the change stands, whether the directory
    /// answers or not. What fails is made up for by [`Iam::drive_all_keys`].
    pub(super) fn publish_soon(&self, tenant: TenantId) -> tokio::task::JoinHandle<()> {
        let iam = self.clone();
        tokio::spawn(async move {
            if let Err(error) = iam.publish_entry(tenant).await {
                tracing::info!(%tenant, %error, "the directory entry is published later");
            }
        })
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
    /// [`TenantRefusal::NotFound`]; [`TenantRefusal::Protected`] for the tenant of operators;
    /// [`TenantRefusal::Placement`] if this node's region may not hold the tenant: ask one that may;
    /// [`TenantRefusal::Stale`] if it is not at `if_revision`.
    pub async fn delete_tenant(&self, ctx: &RequestContext, if_revision: Option<u64>) -> Outcome<()> {
        // A kept reply would be sealed by the key that this destroys. The command says the same again.
        let call = Deadline::of(ctx, &*self.inner.clock);
        let entry = self.directory_tenant(ctx.tenant).map_err(|error| home_failed(&error))?;
        if entry.is_some_and(|(_, entry)| entry.slug == SYSTEM_SLUG) {
            return Err(ExecuteError::Refused(TenantRefusal::Protected));
        }
        let unkept = RequestContext { idempotency: None, ..ctx.clone() };
        let home = self.home_id(ctx.tenant).map_err(|error| home_failed(&error))?;
        let written = self.step(home, &unkept, &DeleteHome { if_revision }).await;
        // A try whose answer was lost took the keys: that is what was wanted.
        let written = match written {
            Err(ExecuteError::TenantErased) => None,
            written => Some(written?),
        };
        // The directory hears from all tenants: the key is one tenant's.
        let step = step_of(&call.left()?, directory_tenant(), &format!("release {}", ctx.tenant));
        let released = self.directory(&step, &ReleaseTenant { tenant: ctx.tenant }).await?;
        Ok(written.unwrap_or(released))
    }

    /// Gives `ctx.tenant` another issuer, on the node that leads its home. For development only: every token issued before names the
    /// old one.
    ///
    /// # Errors
    /// [`TenantRefusal::InvalidIssuer`].
    pub async fn repoint_issuer(&self, ctx: &RequestContext, issuer: String) -> Outcome<()> {
        let home = self.home_id(ctx.tenant).map_err(|error| home_failed(&error))?;
        let call = Deadline::of(ctx, &*self.inner.clock);
        let written = self.step(home, ctx, &RepointIssuer { issuer }).await?;
        let signed = self.sign_entry(&call.left()?, ctx.tenant).await?.reply;
        let step = step_of(&call.left()?, directory_tenant(), &format!("publish {}", ctx.tenant));
        let published = self.directory(&step, &PublishEntry { tenant: ctx.tenant, signed }).await?;
        self.see(&published.consistency, call.remaining()).await;
        Ok(written)
    }
}
