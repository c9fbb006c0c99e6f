//! From a tenant to the executor of its home, and from a wanted consistency to a view.

use std::cmp::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use domicile_raft::{PartitionId, ReadError, Timestamp};
use domicile_storage::Engine;

use super::Iam;
use super::cache::States;
use super::steps::leads;
use crate::execute::{Actor, Command, ConsistencyToken, ExecuteError, Executor, RequestContext, Written};
use crate::ids::{Id, RequestId, TenantId};
use crate::proposal::{ActorKind, ActorRef, TenantKeys};
use crate::query::{Consistency, QueryError, View, fault, stream_version};
use crate::streams::directory::DirectoryTenant;
use crate::streams::tenant::Tenant;
use crate::streams::{StreamRef, decode_state};
use crate::tables::{self, directory_tenant};

/// How long a read waits for its consistency.
const READ_DEADLINE: Duration = Duration::from_secs(3);
/// How long a write that the node makes for itself may take.
const SYSTEM_DEADLINE: Duration = Duration::from_secs(5);

/// What each view of a tenant begins with.
pub(super) struct Ground {
    keys: TenantKeys,
    log_time: Timestamp,
}

impl Iam {
    /// Runs a command on the tenant's home, which this node must lead: what a request brings with it
    /// (a password, a secret in the reply) goes to no other node by itself.
    pub(super) async fn run<C: Command>(
        &self,
        ctx: &RequestContext,
        command: &C,
    ) -> Result<Written<C::Reply>, ExecuteError<C::Refusal>> {
        let home = self.home(ctx.tenant).map_err(|error| home_failed(&error))?;
        home.execute(ctx, command).await
    }

    /// The executor of the tenant's home.
    pub(super) fn home(&self, tenant: TenantId) -> Result<Arc<Executor>, QueryError> {
        let home = self.home_id(tenant)?;
        self.home_by_id(home).ok_or(QueryError::Elsewhere { home })
    }

    /// Where the tenant lives. The directory is read as it is here: it is a hint, and a home's own state
    /// decides, so that a directory which lags behind hides no tenant that is here.
    pub(super) fn home_id(&self, tenant: TenantId) -> Result<PartitionId, QueryError> {
        let engine = self.inner.directory.engine();
        let states = States::of_directory(&*engine);
        if let Some(home) = self.inner.home_ids.unchanged(&tenant, states) {
            return Ok(*home);
        }
        let version = stream_version::<DirectoryTenant>(&*engine, directory_tenant(), tenant)?;
        if let Some(home) = self.inner.home_ids.current(&tenant, [version, 0], states) {
            return Ok(*home);
        }
        if let Some((version, entry)) = self.directory_tenant(tenant)? {
            self.inner.home_ids.keep(tenant, [version, 0], states, &Arc::new(entry.home));
            return Ok(entry.home);
        }
        for home in self.homes() {
            if tables::tenant_row(&*home.engine(), tenant).map_err(fault)?.is_some() {
                return Ok(home.partition().id());
            }
        }
        Err(QueryError::UnknownTenant)
    }

    /// The executor of a partition that holds tenants.
    pub(super) fn home_by_id(&self, home: PartitionId) -> Option<Arc<Executor>> {
        let homes = self.inner.homes.read().unwrap_or_else(PoisonError::into_inner);
        homes.get(&home).map(Arc::clone)
    }

    /// A tenant's own stream at home, as it is here. Needs no key, so it can be read after a deletion.
    pub(super) fn tenant_at_home(&self, tenant: TenantId) -> Result<Option<Tenant>, QueryError> {
        self.tenant_at(&*self.home(tenant)?, tenant)
    }

    /// [`Iam::tenant_at_home`] for a home that is known.
    #[allow(clippy::unused_self, reason = "one of its kind")]
    pub(super) fn tenant_at(&self, home: &Executor, tenant: TenantId) -> Result<Option<Tenant>, QueryError> {
        let engine = home.engine();
        let row = tables::stream_row(&*engine, tenant, StreamRef::of::<Tenant>(tenant)).map_err(fault)?;
        row.map(|row| decode_state(&row.state).map_err(fault)).transpose()
    }

    /// Whether the tenant was at home and is deleted.
    pub(super) fn is_deleted_at_home(&self, tenant: TenantId) -> Result<bool, QueryError> {
        Ok(self.tenant_at_home(tenant)?.is_some_and(|tenant| tenant.deleted))
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

    /// The view of a tenant at this home.
    pub(super) fn view_of(&self, home: &Arc<Executor>, tenant: TenantId) -> Result<View, QueryError> {
        let engine: Arc<dyn Engine> = home.engine();
        let ground = self.ground(&*engine, tenant)?;
        let keys = home.keyring().of_tenant(Arc::clone(&engine), tenant, ground.keys);
        let decoded = Arc::clone(home.decoded());
        Ok(View { engine, decoded, tenant, keys, now: self.inner.clock.now().max(ground.log_time) })
    }

    fn ground(&self, home: &dyn Engine, tenant: TenantId) -> Result<Arc<Ground>, QueryError> {
        let states = States::of_home(home);
        if let Some(ground) = self.inner.grounds.unchanged(&tenant, states) {
            return Ok(ground);
        }
        let row = tables::tenant_row(home, tenant).map_err(fault)?.ok_or(QueryError::UnknownTenant)?;
        let log_time = tables::log_time(home).map_err(fault)?;
        let ground = Arc::new(Ground { keys: row.keys, log_time });
        // Log time moves with nearly every write, so that no version would hold for longer than the state.
        self.inner.grounds.keep(tenant, [0; 2], states, &ground);
        Ok(ground)
    }

    /// Waits until a read of the partition has the wanted consistency.
    pub(super) async fn wait(
        &self,
        executor: &Executor,
        tenant: TenantId,
        consistency: &Consistency,
    ) -> Result<(), QueryError> {
        self.wait_within(executor, tenant, consistency, READ_DEADLINE).await
    }

    /// [`Iam::wait`], no longer than that, nor than any read.
    pub(super) async fn wait_within(
        &self,
        executor: &Executor,
        tenant: TenantId,
        consistency: &Consistency,
        deadline: Duration,
    ) -> Result<(), QueryError> {
        let partition = executor.partition();
        let wanted = match consistency {
            Consistency::Linearizable => domicile_raft::Consistency::Linearizable,
            Consistency::BoundedMs(ms) => domicile_raft::Consistency::BoundedMs(*ms),
            Consistency::Local => domicile_raft::Consistency::Local,
            Consistency::AtLeast(token) => match meaning(token, tenant, executor)? {
                Meaning::Index(index) => domicile_raft::Consistency::AtLeast(index),
                Meaning::Holds => domicile_raft::Consistency::Local,
            },
        };
        let id = partition.id();
        match partition.read(wanted, deadline.min(READ_DEADLINE)).await {
            Ok(_) => Ok(()),
            Err(ReadError::NotLeader { leader }) => Err(QueryError::NotLeader { partition: id, leader }),
            // A replica that lags: the leader has what the token tells of.
            Err(ReadError::Timeout) if matches!(consistency, Consistency::AtLeast(_)) && !leads(executor) => {
                Err(QueryError::NotLeader { partition: id, leader: partition.status().leader })
            }
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

/// What a consistency token asks of a replica.
enum Meaning {
    /// To have applied this.
    Index(u64),
    /// Nothing: the tenant came here after that write, with it.
    Holds,
}

/// What `token` asks of this home of `tenant`. Its own row tells how often the tenant has moved.
fn meaning(token: &ConsistencyToken, tenant: TenantId, home: &Executor) -> Result<Meaning, QueryError> {
    let partition = home.partition();
    if token.tenant != tenant {
        return Err(QueryError::ForeignToken);
    }
    if token.partition == partition.id() {
        return match token.incarnation.cmp(&partition.incarnation()) {
            Ordering::Equal => Ok(Meaning::Index(token.index)),
            // Given by a life of the partition that was abandoned: what it saw may be lost.
            Ordering::Less => Err(QueryError::ForeignToken),
            Ordering::Greater => Err(QueryError::Unavailable { retry_after_s: 1 }),
        };
    }
    let row = tables::tenant_row(&*home.engine(), tenant).map_err(fault)?;
    match row.map_or(0, |row| row.epoch).cmp(&token.epoch) {
        Ordering::Greater => Ok(Meaning::Holds),
        Ordering::Equal => Err(QueryError::ForeignToken),
        // It has moved on from here, and the directory here does not know yet.
        Ordering::Less => Err(QueryError::Elsewhere { home: token.partition }),
    }
}

/// A home that cannot be used, in the terms of a write.
pub(super) fn home_failed<R>(error: &QueryError) -> ExecuteError<R> {
    match error {
        QueryError::UnknownTenant => ExecuteError::TenantErased,
        QueryError::Elsewhere { home } => ExecuteError::NotLeader { partition: *home, leader: None },
        QueryError::NotLeader { partition, leader } => {
            ExecuteError::NotLeader { partition: *partition, leader: *leader }
        }
        QueryError::Unavailable { .. } => {
            ExecuteError::Unavailable { retry_after_s: 1, reason: "no quorum confirmed in time" }
        }
        QueryError::InvalidPageToken
        | QueryError::ForeignToken
        | QueryError::Erased
        | QueryError::Fault(_) => ExecuteError::Fault(error.to_string()),
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
