//! What a crash left half done on two partitions: found and finished in the background.

use domicile_raft::PartitionId;
use domicile_storage::{Engine, KeyRange, Order};

use super::Iam;
use super::steps::leads;
use crate::commands::{DeleteHome, ExpireReservation, ReleaseTenant, TenantRefusal};
use crate::execute::ExecuteError;
use crate::ids::{Id, TenantId};
use crate::projections::{Projection, id_of_row, tenant_prefix};
use crate::query::{QueryError, fault};
use crate::streams::directory::EntryPhase;
use crate::tables::{Table, directory_tenant};

/// Rows read at once.
const PAGE: usize = 256;

impl Iam {
    /// One round: gives back reservations that ran out, frees the names of tenants whose homes are
    /// deleted, deletes homes whose names were given back. The node that leads the directory does the
    /// first, those that lead homes the others. Returns how many. Every step may be the last before a
    /// crash: the next round goes on.
    ///
    /// # Errors
    /// The first failure, after all tenants were tried.
    pub async fn housekeep(&self) -> Result<usize, QueryError> {
        let mut round = Round::default();
        if leads(&self.inner.directory) {
            let listed = tenant_prefix(Projection::DirectoryTenants, directory_tenant());
            let directory = self.inner.directory.engine();
            let mut after = None;
            while let Some(ids) = page(&*directory, &listed, after)? {
                for tenant in &ids {
                    round.count(self.tidy_reservation(*tenant).await);
                }
                after = ids.last().copied();
            }
        }
        for home in self.homes().iter().filter(|home| leads(home)) {
            let (engine, mut after) = (home.engine(), None);
            while let Some(ids) = page(&*engine, &[Table::Tenants.number()], after)? {
                for tenant in &ids {
                    round.count(self.tidy_home(*tenant).await);
                }
                after = ids.last().copied();
            }
        }
        round.failure.map_or(Ok(round.done), Err)
    }

    async fn tidy_reservation(&self, tenant: TenantId) -> Result<bool, QueryError> {
        let entry = self.directory_tenant(tenant)?.map(|(_, entry)| entry.phase);
        if !matches!(entry, Some(EntryPhase::Reserved { .. })) {
            return Ok(false);
        }
        self.expire_reservation(tenant).await.map_err(failed)
    }

    /// A home that is deleted and still has its name, or one whose name was given back before it could be
    /// deleted. Both are for good, so that a directory which lags behind is believed.
    async fn tidy_home(&self, tenant: TenantId) -> Result<bool, QueryError> {
        let Some((_, entry)) = self.directory_tenant(tenant)? else { return Ok(false) };
        let Some(state) = self.tenant_at_home(tenant)? else { return Ok(false) };
        match entry.phase {
            EntryPhase::Active { .. } if state.deleted => {
                let context = self.system_context(directory_tenant());
                self.directory(&context, &ReleaseTenant { tenant }).await.map_err(failed)?;
                Ok(true)
            }
            EntryPhase::Released if !state.deleted => {
                self.delete_unnamed_home(tenant, entry.home).await.map_err(failed)?;
                Ok(true)
            }
            EntryPhase::Reserved { .. } | EntryPhase::Active { .. } | EntryPhase::Released => Ok(false),
        }
    }

    /// Whether the reservation had run out and is given back now.
    pub(super) async fn expire_reservation(
        &self,
        tenant: TenantId,
    ) -> Result<bool, ExecuteError<TenantRefusal>> {
        let entry = self.directory_tenant(tenant).map_err(|e| ExecuteError::Fault(e.to_string()))?;
        let Some((_, entry)) = entry else { return Ok(false) };
        let EntryPhase::Reserved { expires_at } = entry.phase else { return Ok(false) };
        if self.inner.clock.now() < expires_at {
            return Ok(false);
        }
        self.give_back(tenant, entry.home).await
    }

    /// Whether the reservation had run out by the directory's time, and is given back.
    pub(super) async fn give_back(
        &self,
        tenant: TenantId,
        home: PartitionId,
    ) -> Result<bool, ExecuteError<TenantRefusal>> {
        // The name first: once it is given back, no activation can make the half tenant a whole one.
        // A crash here leaves a home without a name, which `tidy_home` finds.
        let context = self.system_context(directory_tenant());
        let freed = self.directory(&context, &ExpireReservation { tenant }).await?.reply;
        if freed {
            self.delete_unnamed_home(tenant, home).await?;
        }
        Ok(freed)
    }

    async fn delete_unnamed_home(
        &self,
        tenant: TenantId,
        home: PartitionId,
    ) -> Result<(), ExecuteError<TenantRefusal>> {
        let context = self.system_context(tenant);
        match self.step(home, &context, &DeleteHome { if_revision: None }).await {
            Ok(_) | Err(ExecuteError::TenantErased | ExecuteError::Refused(TenantRefusal::NotFound)) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[derive(Default)]
struct Round {
    done: usize,
    failure: Option<QueryError>,
}

impl Round {
    fn count(&mut self, outcome: Result<bool, QueryError>) {
        match outcome {
            Ok(done) => self.done += usize::from(done),
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn failed(error: ExecuteError<TenantRefusal>) -> QueryError {
    QueryError::Fault(error.to_string())
}

/// The next tenants under `prefix`; `None` after the last.
pub(super) fn page(
    engine: &dyn Engine,
    prefix: &[u8],
    after: Option<TenantId>,
) -> Result<Option<Vec<TenantId>>, QueryError> {
    let mut range = KeyRange::prefix(prefix);
    if let Some(after) = after {
        range.start = std::ops::Bound::Excluded([prefix, &after.bytes()].concat());
    }
    let rows = engine.scan(&range, Order::Ascending, PAGE).map_err(fault)?;
    let ids: Vec<TenantId> = rows.iter().filter_map(|(key, _)| id_of_row(key)).collect();
    Ok((!ids.is_empty()).then_some(ids))
}
