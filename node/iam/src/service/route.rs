//! From a tenant to the executor of its home, and from a wanted consistency to a view.

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::{PartitionId, ReadError};
use domicile_storage::Engine;

use super::Iam;
use crate::blind;
use crate::commands::verify_entry;
use crate::execute::{Actor, Command, ExecuteError, Executor, RequestContext, Written};
use crate::ids::{Id, RequestId, TenantId};
use crate::proposal::{ActorKind, ActorRef, ClaimKind};
use crate::query::{Consistency, QueryError, View, fault};
use crate::streams::directory::{DirectoryEntry, DirectoryTenant, EntryPhase};
use crate::streams::tenant::Tenant;
use crate::streams::{StreamKind, StreamRef, decode_state};
use crate::tables::{self, directory_tenant};

/// How long a read waits for its consistency.
const READ_DEADLINE: Duration = Duration::from_secs(3);
/// How long a write that the node makes for itself may take.
const SYSTEM_DEADLINE: Duration = Duration::from_secs(5);

impl Iam {
    /// Runs a command on the tenant's home.
    pub(super) async fn run<C: Command>(
        &self,
        ctx: &RequestContext,
        command: &C,
    ) -> Result<Written<C::Reply>, ExecuteError<C::Refusal>> {
        let home = self.home(ctx.tenant).map_err(|error| {
            if error == QueryError::UnknownTenant {
                ExecuteError::TenantErased
            } else {
                ExecuteError::Fault(error.to_string())
            }
        })?;
        home.execute(ctx, command).await
    }

    /// The executor of the tenant's home. The directory is read as it is here: it is a hint, and the
    /// partition's own state decides.
    pub(super) fn home(&self, tenant: TenantId) -> Result<Arc<Executor>, QueryError> {
        let home = match self.inner.homes.iter().next() {
            Some((_, only)) if self.inner.homes.len() == 1 => return Ok(Arc::clone(only)),
            Some(_) | None => self.directory_tenant(tenant)?.map(|(_, entry)| entry.home),
        };
        home.and_then(|home| self.home_by_id(home)).ok_or(QueryError::UnknownTenant)
    }

    /// The executor of a partition that holds tenants.
    pub(super) fn home_by_id(&self, home: PartitionId) -> Option<Arc<Executor>> {
        self.inner.homes.get(&home).map(Arc::clone)
    }

    /// The directory's stream of a tenant, as it is here.
    pub(super) fn directory_tenant(
        &self,
        tenant: TenantId,
    ) -> Result<Option<(u64, DirectoryTenant)>, QueryError> {
        let engine = self.inner.directory.engine();
        let stream = StreamRef::of::<DirectoryTenant>(tenant);
        let row = tables::stream_row(&*engine, directory_tenant(), stream).map_err(fault)?;
        row.map(|row| Ok((row.version, decode_state(&row.state).map_err(fault)?))).transpose()
    }

    /// A tenant's own stream at home, as it is here. Needs no key, so it can be read after a deletion.
    pub(super) fn tenant_at_home(&self, tenant: TenantId) -> Result<Option<Tenant>, QueryError> {
        let engine = self.home(tenant)?.engine();
        let row = tables::stream_row(&*engine, tenant, StreamRef::of::<Tenant>(tenant)).map_err(fault)?;
        row.map(|row| decode_state(&row.state).map_err(fault)).transpose()
    }

    /// Whether the tenant was at home and is deleted.
    pub(super) fn is_deleted_at_home(&self, tenant: TenantId) -> Result<bool, QueryError> {
        Ok(self.tenant_at_home(tenant)?.is_some_and(|tenant| tenant.deleted))
    }

    /// The entry of a routed tenant, signed by the root key that the tenant has at home. The key that
    /// the directory pinned proves nothing by itself: whoever writes there can pin another.
    pub(super) fn verified_entry(
        &self,
        tenant: TenantId,
        stored: &DirectoryTenant,
    ) -> Result<Option<DirectoryEntry>, QueryError> {
        let EntryPhase::Active { signed, .. } = &stored.phase else { return Ok(None) };
        let row = tables::tenant_row(&*self.home(tenant)?.engine(), tenant).map_err(fault)?;
        let root = row.ok_or(QueryError::UnknownTenant)?.keys.root_public;
        verify_entry(signed, &root)
            .filter(|entry| entry.tenant == tenant && entry.slug == stored.slug && entry.home == stored.home)
            .map(Some)
            .ok_or_else(|| {
                QueryError::Fault(format!("directory entry of {tenant} is not signed by its root key"))
            })
    }

    /// Who has a slug, as the directory is here.
    pub(super) fn slug_owner(&self, slug: &str) -> Result<Option<TenantId>, QueryError> {
        let Ok(key) = blind::public_claim_key(ClaimKind::Slug, slug) else { return Ok(None) };
        let owner =
            tables::claim_owner(&*self.inner.directory.engine(), directory_tenant(), key).map_err(fault)?;
        Ok(owner
            .filter(|owner| owner.kind == StreamKind::DirectoryTenant)
            .map(|owner| TenantId::from_bytes(owner.id)))
    }

    /// The view of a tenant at the wanted consistency.
    pub(super) async fn view(&self, tenant: TenantId, consistency: &Consistency) -> Result<View, QueryError> {
        let home = self.home(tenant)?;
        self.wait(&home, tenant, consistency).await?;
        self.view_of(&home, tenant)
    }

    /// The view of a tenant as it is here.
    pub(super) fn local_view(&self, tenant: TenantId) -> Result<View, QueryError> {
        let home = self.home(tenant)?;
        self.view_of(&home, tenant)
    }

    fn view_of(&self, home: &Arc<Executor>, tenant: TenantId) -> Result<View, QueryError> {
        let engine: Arc<dyn Engine> = home.engine();
        let keys = home.keyring().tenant(Arc::clone(&engine), tenant).map_err(fault)?;
        let keys = keys.ok_or(QueryError::UnknownTenant)?;
        let log_time = tables::log_time(&*engine).map_err(fault)?;
        Ok(View { engine, tenant, keys, now: self.inner.clock.now().max(log_time) })
    }

    /// Waits until a read of the partition has the wanted consistency.
    pub(super) async fn wait(
        &self,
        executor: &Executor,
        tenant: TenantId,
        consistency: &Consistency,
    ) -> Result<(), QueryError> {
        let partition = executor.partition();
        let wanted = match consistency {
            Consistency::Linearizable => domicile_raft::Consistency::Linearizable,
            Consistency::BoundedMs(ms) => domicile_raft::Consistency::BoundedMs(*ms),
            Consistency::Local => domicile_raft::Consistency::Local,
            Consistency::AtLeast(token) => {
                // A token of another partition says nothing here: the tenant's row and its home decide
                // once it has moved.
                let fits = token.tenant == tenant
                    && token.partition == partition.id()
                    && token.incarnation == partition.incarnation();
                if !fits {
                    return Err(QueryError::ForeignToken);
                }
                domicile_raft::Consistency::AtLeast(token.index)
            }
        };
        match partition.read(wanted, READ_DEADLINE).await {
            Ok(_) => Ok(()),
            Err(ReadError::NotLeader { leader }) => Err(QueryError::NotLeader { leader }),
            Err(ReadError::Timeout | ReadError::Stopped) => Err(QueryError::Unavailable { retry_after_s: 1 }),
        }
    }

    /// A context for what the node does on its own.
    pub(super) fn system_context(&self, tenant: TenantId) -> RequestContext {
        let mut random = [0; 10];
        self.inner.clock.fill_random(&mut random);
        RequestContext {
            tenant,
            actor: Actor {
                who: ActorRef { kind: ActorKind::System, id: String::new() },
                key: None,
                name: None,
            },
            request_id: RequestId::new(self.inner.clock.now(), random),
            idempotency: None,
            deadline: SYSTEM_DEADLINE,
            address: None,
            agent: None,
        }
    }
}

/// The same request, for a further command: an idempotency key covers one command only.
pub(super) fn step_of(ctx: &RequestContext, tenant: TenantId, step: &str) -> RequestContext {
    let mut ctx = ctx.clone();
    ctx.tenant = tenant;
    if let Some(key) = &mut ctx.idempotency {
        key.key = format!("{}\n{step}", key.key);
    }
    ctx
}

/// `written` with another reply.
pub(super) fn with_reply<A, B>(written: &Written<A>, reply: B) -> Written<B> {
    Written { reply, consistency: written.consistency, replayed: written.replayed }
}

/// A failed read after a write, in the write's terms.
pub(super) fn read_failed<R>(error: &QueryError) -> ExecuteError<R> {
    ExecuteError::Fault(format!("reading back what was written: {error}"))
}
