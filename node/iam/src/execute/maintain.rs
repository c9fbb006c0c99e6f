//! Entries that no caller asks for: sweeps and apply versions.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use domicile_raft::{Outcome, Timestamp};
use domicile_storage::{KeyRange, Order};

use super::context::ExecuteError;
use super::executor::Executor;
use super::failure::fault;
use crate::ids::TenantId;
use crate::proposal::{ApplyReply, LogCommand};
use crate::tables::Table;

impl Executor {
    /// Sweeps at most `count` expired rows (records, outcomes). Nothing is proposed if nothing is due.
    /// Returns how many went; call again while it equals `count`.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn sweep(&self, count: u32, deadline: Duration) -> Result<u32, ExecuteError<Infallible>> {
        let cutoff = self.decided_at()?;
        if !self.is_due(cutoff)? {
            return Ok(0);
        }
        match self.entry(&LogCommand::Sweep { cutoff, count }, deadline).await? {
            ApplyReply::Swept { removed } => Ok(removed),
            ApplyReply::Done | ApplyReply::Replayed { .. } => Ok(0),
        }
    }

    /// Raises the apply version. The caller has made sure that every replica knows it.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn set_apply_version(
        &self,
        version: u16,
        deadline: Duration,
    ) -> Result<(), ExecuteError<Infallible>> {
        self.entry(&LogCommand::SetApplyVersion(version), deadline).await.map(|_| ())
    }

    /// Tenants that a command left logout notices for since this was asked last: a hint to look at them now.
    pub fn take_noticed(&self) -> BTreeSet<TenantId> {
        self.notices.take()
    }

    fn is_due(&self, cutoff: Timestamp) -> Result<bool, ExecuteError<Infallible>> {
        let index = KeyRange::prefix(&[Table::Expiry.number()]);
        let first = self.engine().scan(&index, Order::Ascending, 1).map_err(fault)?;
        let due = |key: &[u8]| {
            let at = key.get(1..9).and_then(|at| <[u8; 8]>::try_from(at).ok()).map(u64::from_be_bytes);
            at.is_some_and(|at| at <= cutoff.0)
        };
        Ok(first.first().is_some_and(|(key, _)| due(key)))
    }

    async fn entry(
        &self,
        command: &LogCommand,
        deadline: Duration,
    ) -> Result<ApplyReply, ExecuteError<Infallible>> {
        let body = command.encode().map_err(fault)?;
        match self.partition().propose(body, deadline).await {
            Outcome::Applied { reply, .. } => ApplyReply::decode(&reply).map_err(fault),
            Outcome::Conflict { .. } => Err(ExecuteError::Fault("a maintenance entry conflicted".to_owned())),
            Outcome::NotLeader { leader } => {
                Err(ExecuteError::NotLeader { partition: self.partition().id(), leader })
            }
            Outcome::Unknown(_) => Err(ExecuteError::Unknown),
            Outcome::Overloaded(what) => Err(ExecuteError::Overloaded(what)),
        }
    }
}
