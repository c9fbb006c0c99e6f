//! Tenants whose keys are to be looked at before the next round: just made, or with other settings.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Iam;
use crate::ids::TenantId;
use crate::query::QueryError;
use crate::streams::directory::EntryPhase;

/// Tenants that wait. More are left to the rounds.
const WAITING_MAX: usize = 1_024;
/// How long a tenant that was just made may take until the directory here routes it.
const ROUTED_WAIT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);

/// Filled by what makes and changes tenants, emptied by the node's background task.
#[derive(Default)]
pub(super) struct KeysDue {
    waiting: Mutex<BTreeSet<TenantId>>,
    filled: Notify,
}

impl KeysDue {
    // Nothing panics under the lock; a poisoned one holds a whole set all the same.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<TenantId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a tenant; says nothing about when.
    pub(super) fn put(&self, tenant: TenantId) {
        let mut waiting = self.lock();
        if waiting.len() < WAITING_MAX {
            waiting.insert(tenant);
            self.filled.notify_one();
        }
    }

    fn take(&self) -> Option<TenantId> {
        self.lock().pop_first()
    }
}

impl Iam {
    /// The next tenant whose keys are due. For one caller, which gives it to [`Iam::drive_due_keys`].
    pub async fn keys_due(&self) -> TenantId {
        loop {
            if let Some(tenant) = self.inner.keys_due.take() {
                return tenant;
            }
            self.inner.keys_due.filled.notified().await;
        }
    }

    /// Drives the keys of a tenant that may still be on its way to being routed: they are made while the
    /// directory activates it, and published once it did. A tenant that is not routed in time is left to
    /// the rounds, [`Iam::drive_all_keys`]. Returns the steps taken.
    ///
    /// # Errors
    /// [`QueryError`]; the next round resumes.
    pub async fn drive_due_keys(&self, tenant: TenantId) -> Result<usize, QueryError> {
        let mut steps = 0;
        if !self.is_routed(tenant)? {
            steps += self.drive_at_home(tenant).await?;
            let routed = async {
                while !self.is_routed(tenant)? {
                    tokio::time::sleep(AGAIN).await;
                }
                Ok::<(), QueryError>(())
            };
            match tokio::time::timeout(ROUTED_WAIT, routed).await {
                Ok(routed) => routed?,
                Err(_) => return Ok(steps),
            }
        }
        Ok(steps + self.drive_at_home(tenant).await?)
    }

    fn is_routed(&self, tenant: TenantId) -> Result<bool, QueryError> {
        let entry = self.directory_tenant(tenant)?.map(|(_, entry)| entry.phase);
        Ok(matches!(entry, Some(EntryPhase::Active { .. })))
    }

    async fn drive_at_home(&self, tenant: TenantId) -> Result<usize, QueryError> {
        match self.tenant_at_home(tenant)? {
            Some(state) if !state.deleted => self.drive_keys(tenant).await,
            Some(_) | None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    #[tokio::test]
    async fn a_tenant_is_given_out_once_and_no_more_wait_than_fit() {
        let due = KeysDue::default();
        let id = |number: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            TenantId::from_bytes(bytes)
        };
        for number in 0..2 * WAITING_MAX {
            due.put(id(number));
            due.put(id(number));
        }
        for number in 0..WAITING_MAX {
            assert_eq!(due.take(), Some(id(number)));
        }
        assert_eq!(due.take(), None);
    }
}
