//! Logouts that clients have still to be told of: found on the leader of a home, and settled there.

use std::sync::Arc;

use domicile_raft::PartitionId;
use domicile_storage::{KeyRange, Order, codec};

use super::Iam;
use super::housekeeping::page;
use super::steps::leads;
use crate::commands::{LogoutNotice, SessionRefusal, SettleLogouts, SettledLogout};
use crate::execute::{ExecuteError, Executor};
use crate::ids::TenantId;
use crate::proposal::RecordKind;
use crate::query::{QueryError, fault};
use crate::tables::{self, RECORD_FORMAT, RecordRowStored, Table};

/// Notices of one tenant that are looked at. Others come when these are settled.
const OF_TENANT_MAX: usize = 4_096;

/// A notice with its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLogout {
    /// Whose.
    pub tenant: TenantId,
    /// Who has to be told what.
    pub notice: LogoutNotice,
}

/// Where to look for notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// With all tenants of the partition.
    Everywhere,
    /// With those that a command of this node left notices for since the last search.
    WhereNoted,
}

impl Iam {
    /// The partitions of tenants that this node leads, each with its term.
    pub fn homes_led(&self) -> Vec<(PartitionId, u64)> {
        let homes = self.homes();
        let led = homes.iter().filter(|home| leads(home));
        led.map(|home| (home.partition().id(), home.partition().leadership().borrow().term)).collect()
    }

    /// Who has still to be told of a logout, of the tenants of a partition. As the state is here: to be asked
    /// on its leader.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn pending_logouts(
        &self,
        home: PartitionId,
        search: Search,
    ) -> Result<Vec<PendingLogout>, QueryError> {
        let Some(home) = self.home_by_id(home) else { return Ok(Vec::new()) };
        let noted = home.take_noticed();
        let mut found = Vec::new();
        match search {
            Search::WhereNoted => {
                for tenant in noted {
                    of_tenant(&home, tenant, &mut found)?;
                }
            }
            Search::Everywhere => {
                let (engine, mut after) = (home.engine(), None);
                while let Some(tenants) = page(&*engine, &[Table::Tenants.number()], after)? {
                    for tenant in &tenants {
                        of_tenant(&home, *tenant, &mut found)?;
                    }
                    after = tenants.last().copied();
                }
            }
        }
        Ok(found)
    }

    /// Takes notices of a tenant away, by one write. Those that changed meanwhile stay.
    ///
    /// # Errors
    /// [`ExecuteError`]; never a refusal. It may be repeated.
    pub async fn settle_logouts(
        &self,
        tenant: TenantId,
        settled: Vec<SettledLogout>,
    ) -> Result<(), ExecuteError<SessionRefusal>> {
        let ctx = self.system_context(tenant);
        self.run(&ctx, &SettleLogouts { settled }).await.map(drop)
    }
}

fn of_tenant(
    home: &Arc<Executor>,
    tenant: TenantId,
    found: &mut Vec<PendingLogout>,
) -> Result<(), QueryError> {
    let prefix = tables::record_kind_prefix(tenant, RecordKind::LogoutNotice);
    let rows = home.engine().scan(&KeyRange::prefix(&prefix), Order::Ascending, OF_TENANT_MAX);
    for (_, stored) in rows.map_err(fault)? {
        let row = RecordRowStored::decode_row(&stored).map_err(fault)?;
        let (_, body) = codec::split_format(&row.body, &[RECORD_FORMAT]).map_err(fault)?;
        found.push(PendingLogout { tenant, notice: codec::decode_open(body).map_err(fault)? });
    }
    Ok(())
}
