//! Cuts a replica's log on order, whatever its retention: what is applied becomes its snapshot, and the entries up
//! to there go. Who lacks one of them gets the whole state from then on.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::metrics::{RaftMetrics, WaitError};
use tokio::time::timeout;

use crate::Partition as _;
use crate::faults::Lifecycle;
use crate::group::Group;
use crate::type_config::{LogId, TypeConfig};

/// A snapshot that was under way when the order came may be of less: then another is asked for.
const AGAIN: Duration = Duration::from_millis(250);

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCut {
    /// The snapshot holds everything up to this log index.
    pub snapshot: u64,
    /// The log holds nothing up to this index. Lower than the snapshot's while entries that are to go are on
    /// their way to another replica; they go by themselves afterwards.
    pub purged: u64,
}

/// A log that was not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogCutError {
    /// There is no running replica of the partition on this node.
    #[error("no running replica of the partition here")]
    NoReplica,
    /// A snapshot would be of nothing.
    #[error("nothing is applied yet")]
    Empty,
    /// The state did not reach the disk in time; it may yet.
    #[error("the state did not reach the disk in time")]
    Late,
    /// The replica stopped meanwhile.
    #[error("the replica stopped")]
    Stopped,
}

impl Group {
    /// Each of the two steps takes half of `deadline` at most.
    pub(crate) async fn cut_log(&self, deadline: Duration) -> Result<LogCut, LogCutError> {
        if !matches!(*self.faults.lifecycle.borrow(), Lifecycle::Running) {
            return Err(LogCutError::NoReplica);
        }
        let wanted = self.applied();
        if wanted == 0 {
            return Err(LogCutError::Empty);
        }
        let patience = deadline / 2;
        let snapshot = timeout(patience, self.snapshot_of(wanted)).await.map_err(|_| LogCutError::Late)??;
        self.raft.trigger().purge_log(snapshot).await.map_err(|_| LogCutError::Stopped)?;
        let is_gone = |seen: &RaftMetrics<TypeConfig>| index(seen.purged.as_ref()) >= snapshot;
        match self.raft.wait(Some(patience)).metrics(is_gone, "a log that is cut on order").await {
            Ok(_) | Err(WaitError::Timeout(..)) => {}
            Err(WaitError::ShuttingDown) => return Err(LogCutError::Stopped),
        }
        let purged = index(self.raft.metrics().borrow_watched().purged.as_ref());
        Ok(LogCut { snapshot, purged })
    }

    /// The log index of a snapshot that holds at least `wanted`, once there is one.
    async fn snapshot_of(&self, wanted: u64) -> Result<u64, LogCutError> {
        loop {
            self.raft.trigger().snapshot().await.map_err(|_| LogCutError::Stopped)?;
            let is_made = |seen: &RaftMetrics<TypeConfig>| index(seen.snapshot.as_ref()) >= wanted;
            match self.raft.wait(Some(AGAIN)).metrics(is_made, "a snapshot on order").await {
                Ok(seen) => return Ok(index(seen.snapshot.as_ref())),
                Err(WaitError::Timeout(..)) => {}
                Err(WaitError::ShuttingDown) => return Err(LogCutError::Stopped),
            }
        }
    }
}

fn index(at: Option<&LogId>) -> u64 {
    at.map_or(0, LogId::index)
}
