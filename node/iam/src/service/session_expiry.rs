//! Sessions that ran out, found on the leader of a home (docs/adr/0018).

use domicile_storage::{KeyRange, Order};

use super::Iam;
use super::housekeeping::page;
use super::steps::leads;
use crate::commands::{ExpireSession, watch_due};
use crate::ids::TenantId;
use crate::proposal::RecordKind;
use crate::query::{QueryError, fault};
use crate::tables::{Table, record_kind_prefix};

/// Sessions of one tenant in one round. What is left is due in the next.
const OF_TENANT_MAX: usize = 256;

impl Iam {
    /// One round over the homes led here: who wanted to hear of the end of a session that ran out is noted to be
    /// told. Returns how many sessions were looked at. It may end anywhere: the next round goes on.
    ///
    /// # Errors
    /// The first failure, after all tenants were tried.
    pub async fn expire_sessions(&self) -> Result<usize, QueryError> {
        let (mut count, mut failure) = (0, None);
        for home in self.homes().iter().filter(|home| leads(home)) {
            let (engine, mut after) = (home.engine(), None);
            while let Some(tenants) = page(&*engine, &[Table::Tenants.number()], after)? {
                for tenant in &tenants {
                    let prefix = record_kind_prefix(*tenant, RecordKind::SessionWatch);
                    let rows = engine.scan(&KeyRange::prefix(&prefix), Order::Ascending, OF_TENANT_MAX);
                    let rows = rows.map_err(fault)?;
                    let keys = rows.iter().filter_map(|(key, _)| key.last_chunk::<32>());
                    let now = self.inner.clock.now();
                    let due: Vec<[u8; 32]> = keys.copied().take_while(|key| watch_due(key) <= now).collect();
                    for key in due {
                        match self.expire_session(*tenant, key).await {
                            Ok(()) => count += 1,
                            Err(error) => drop(failure.get_or_insert(error)),
                        }
                    }
                }
                after = tenants.last().copied();
            }
        }
        failure.map_or(Ok(count), Err)
    }

    async fn expire_session(&self, tenant: TenantId, key: [u8; 32]) -> Result<(), QueryError> {
        let expired = self.run(&self.system_context(tenant), &ExpireSession { key }).await;
        expired.map(drop).map_err(|error| QueryError::Fault(error.to_string()))
    }
}
