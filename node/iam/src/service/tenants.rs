//! Tenants.

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::PartitionId;
use domicile_storage::{KeyRange, Order};
use futures::future::join_all;

use super::Iam;
use super::cache::States;
use super::deadline::Deadline;
use super::directory::Route;
use super::remote::Ask;
use super::route::{home_failed, read_failed, step_of, with_reply};
use super::steps::leads;
use crate::commands::{
    ChooseDeletion, DeleteHome, DeletionChoice, PublishEntry, ReleaseTenant, RepointIssuer, SYSTEM_SLUG,
    TenantPatch, TenantRefusal, UpdateTenant,
};
use crate::execute::{ExecuteError, Executor, RequestContext, Written};
use crate::ids::{Id, TenantId};
use crate::model::{KnownTenant, ListedTenant, Page, PageRequest, TenantContext, TenantView};
use crate::projections::{Projection, id_of_row, tenant_prefix};
use crate::query::{Consistency, QueryError, fault, next_token, parse_token, stream_version};
use crate::streams::directory::{DirectoryTenant, EntryPhase};
use crate::streams::tenant::Tenant;
use crate::tables::directory_tenant;

/// How long the directory, and then all homes together, are waited for when tenants are listed.
const LISTED_DEADLINE: Duration = Duration::from_secs(2);

type Outcome<T> = Result<Written<T>, ExecuteError<TenantRefusal>>;

impl Iam {
    /// A tenant by its name in paths; cached until it changes. Local consistency: the directory here is
    /// a hint, its home's own state decides.
    ///
    /// # Errors
    /// [`QueryError::Elsewhere`] if its home has no replica here, and others.
    #[allow(clippy::unused_async, reason = "callers await what may once ask another replica")]
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<Arc<TenantContext>>, QueryError> {
        self.route(slug)?.map_or(Ok(None), |route| self.tenant_of(&route))
    }

    /// A tenant by id; cached until it changes. Local consistency. Its directory entry is verified.
    ///
    /// # Errors
    /// As [`Iam::tenant_by_slug`]; [`QueryError::NotLeader`] by a replica that has not caught up with it.
    #[allow(clippy::unused_async, reason = "callers await what may once ask another replica")]
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Arc<TenantContext>>, QueryError> {
        self.route_of(id)?.map_or(Ok(None), |route| self.tenant_of(&route))
    }

    /// The tenant of a route that was found just now, as [`Iam::tenant`].
    ///
    /// # Errors
    /// As [`Iam::tenant`].
    pub fn tenant_of(&self, route: &Route) -> Result<Option<Arc<TenantContext>>, QueryError> {
        let id = route.tenant;
        let home = self.home(id)?;
        let engine = home.engine();
        let states = States::of_home(&*engine);
        if let Some(context) = self.inner.tenants.unchanged(&id, states) {
            return Ok(Some(context));
        }
        let version = stream_version::<Tenant>(&*engine, id, id)?;
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
        if let Some(context) = self.inner.tenants.current(&id, versions, states) {
            return Ok(Some(context));
        }
        let Some(context) = self.view_of(&home, id)?.tenant_context()?.map(Arc::new) else { return Ok(None) };
        // As old as what was read: a change in between is not kept as if it were older.
        let versions = [context.revision, home.partition().id().0];
        self.inner.tenants.keep(id, versions, states, &context);
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

    /// All routed tenants, in order of creation. Directory and homes are read at the wanted consistency; a
    /// consistency token is a tenant's and does not fit. Of those whose home does not answer within 2 s, what the
    /// directory knows.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn list_tenants(
        &self,
        page: &PageRequest,
        consistency: &Consistency,
    ) -> Result<Page<ListedTenant>, QueryError> {
        let wanted = match consistency {
            Consistency::AtLeast(_) => &Consistency::Linearizable,
            Consistency::Linearizable | Consistency::BoundedMs(_) | Consistency::Local => consistency,
        };
        self.wait_within(&self.inner.directory, directory_tenant(), wanted, LISTED_DEADLINE).await?;
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
        let asked = ids.iter().take(page.size()).map(|id| self.listed_tenant(*id, wanted));
        for tenant in join_all(asked).await {
            listed.items.extend(tenant?);
        }
        if ids.len() > page.size() {
            listed.next_page_token = ids.get(page.size() - 1).map(|last| next_token(last.bytes()));
        }
        Ok(listed)
    }

    /// `None` for one that is not routed, or that its home says is gone.
    async fn listed_tenant(
        &self,
        id: TenantId,
        wanted: &Consistency,
    ) -> Result<Option<ListedTenant>, QueryError> {
        let Some((_, entry)) = self.directory_tenant(id)? else { return Ok(None) };
        if !matches!(entry.phase, EntryPhase::Active { .. }) {
            return Ok(None);
        }
        match self.tenant_of_list(id, wanted).await {
            Ok(tenant) => Ok(tenant.map(|tenant| ListedTenant::Shown(Box::new(tenant)))),
            // One that is broken does not hide the others, nor itself.
            Err(error) => {
                tracing::warn!(tenant = %id, %error, "a tenant is listed by what the directory knows");
                let DirectoryTenant { slug, home, .. } = entry;
                Ok(Some(ListedTenant::Unanswered(KnownTenant { id, slug, home })))
            }
        }
    }

    async fn tenant_of_list(
        &self,
        id: TenantId,
        wanted: &Consistency,
    ) -> Result<Option<TenantView>, QueryError> {
        let Some(route) = self.route_of(id)? else { return Ok(None) };
        if let Some(home) = self.home_by_id(route.home) {
            self.wait_within(&home, id, wanted, LISTED_DEADLINE).await?;
            return match self.view_of(&home, id) {
                Err(QueryError::UnknownTenant) => Ok(None),
                view => view?.tenant_view(),
            };
        }
        let context = RequestContext { deadline: LISTED_DEADLINE, ..self.system_context(id) };
        let shown = self.ask::<Option<TenantView>, TenantRefusal>(route.home, &context, || Ask::View);
        let shown = shown.await.map_err(|error| QueryError::Fault(error.to_string()))?;
        Ok(shown.reply)
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

    /// Deletes the tenant that has this name. A repeat under the same idempotency key is about the tenant of the
    /// first try, also when the name is another's by then. `ctx.tenant` is not looked at.
    ///
    /// # Errors
    /// As [`Iam::delete_tenant`].
    pub async fn delete_tenant_named(
        &self,
        ctx: &RequestContext,
        slug: &str,
        if_revision: Option<u64>,
    ) -> Outcome<()> {
        let call = Deadline::of(ctx, &*self.inner.clock);
        let step = step_of(ctx, directory_tenant(), "choose");
        let chosen = self.directory(&step, &ChooseDeletion { slug: slug.to_owned() }).await?;
        let DeletionChoice { tenant, home } = chosen.reply;
        let ctx = RequestContext { tenant, ..call.left()? };
        let ended = self.end_tenant(&ctx, home, if_revision).await?;
        Ok(Written { reply: (), consistency: ended.consistency, replayed: chosen.replayed })
    }

    /// Deletes `ctx.tenant`: its keys are destroyed, its slug is free again. May be repeated after a
    /// failure half way; [`Iam::housekeep`] finishes it otherwise.
    ///
    /// # Errors
    /// [`TenantRefusal::NotFound`]; [`TenantRefusal::Protected`] for the tenant of operators;
    /// [`TenantRefusal::Placement`] if this node's region may not hold the tenant: ask one that may;
    /// [`TenantRefusal::Stale`] if it is not at `if_revision`.
    pub async fn delete_tenant(&self, ctx: &RequestContext, if_revision: Option<u64>) -> Outcome<()> {
        let entry = self.directory_tenant(ctx.tenant).map_err(|error| home_failed(&error))?;
        if entry.is_some_and(|(_, entry)| entry.slug == SYSTEM_SLUG) {
            return Err(ExecuteError::Refused(TenantRefusal::Protected));
        }
        let home = self.home_id(ctx.tenant).map_err(|error| home_failed(&error))?;
        self.end_tenant(ctx, home, if_revision).await
    }

    /// Destroys the keys at home, then gives the name back.
    async fn end_tenant(
        &self,
        ctx: &RequestContext,
        home: PartitionId,
        if_revision: Option<u64>,
    ) -> Outcome<()> {
        // A kept reply would be sealed by the key that this destroys. The command says the same again.
        let call = Deadline::of(ctx, &*self.inner.clock);
        let unkept = RequestContext { idempotency: None, ..ctx.clone() };
        let written = self.step(home, &unkept, &DeleteHome { if_revision }).await;
        // A try whose answer was lost took the keys: that is what was wanted.
        let written = match written {
            Err(ExecuteError::TenantErased) => None,
            written => Some(written?),
        };
        // The directory hears from all tenants: the key is one tenant's.
        let step = step_of(&call.left()?, directory_tenant(), &format!("release {}", ctx.tenant));
        let released = self.directory(&step, &ReleaseTenant { tenant: ctx.tenant }).await?;
        Ok(with_reply(&written.unwrap_or(released), ()))
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
