//! How fresh this node's replica of a tenant's home is.

use std::time::Duration;

use domicile_raft::Consistency;

use super::Iam;
use crate::ids::TenantId;

impl Iam {
    /// Whether this node has a replica of the tenant's home that holds everything acknowledged `bound_ms`
    /// milliseconds ago. Waits at most `wait` for the proof.
    pub async fn is_fresh_here(&self, tenant: TenantId, bound_ms: u64, wait: Duration) -> bool {
        let Ok(home) = self.home(tenant) else { return false };
        home.partition().read(Consistency::BoundedMs(bound_ms), wait).await.is_ok()
    }
}
