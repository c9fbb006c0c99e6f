//! A partition that is stopped: it refuses everything and says why.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domicile_storage::{Batch, Engine, EngineError, KeyRange, Order, Pair};
use tokio::sync::watch;

use crate::{
    BoxFuture, Consistency, Health, Incarnation, Leadership, Outcome, Partition, PartitionId,
    PartitionStatus, ReadError, UnknownReason,
};

/// Stands where a quarantined group would. Its files are not opened.
pub(crate) struct Quarantined {
    pub(crate) id: PartitionId,
    pub(crate) incarnation: Incarnation,
    pub(crate) reason: String,
    pub(crate) directory: PathBuf,
    pub(crate) leadership: watch::Sender<Leadership>,
}

impl Partition for Quarantined {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn propose(&self, _body: Vec<u8>, _deadline: Duration) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome::Unknown(UnknownReason::Fatal) })
    }

    fn read(&self, _consistency: Consistency, _deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(async { Err(ReadError::Stopped) })
    }

    fn state(&self) -> Arc<dyn Engine> {
        Arc::new(ClosedEngine { directory: self.directory.clone() })
    }

    fn applied(&self) -> u64 {
        0
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn status(&self) -> PartitionStatus {
        PartitionStatus {
            incarnation: self.incarnation,
            health: Health::Quarantined(self.reason.clone()),
            ..PartitionStatus::new(self.id)
        }
    }
}

/// State that nobody may read: an empty answer would look like a missing user.
struct ClosedEngine {
    directory: PathBuf,
}

impl ClosedEngine {
    fn refused(&self, action: &'static str) -> EngineError {
        let source = io::Error::other("the partition is quarantined");
        EngineError::Io { file: self.directory.clone(), action, source }
    }
}

impl Engine for ClosedEngine {
    fn get(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Err(self.refused("get"))
    }

    fn scan(&self, _range: &KeyRange, _order: Order, _limit: usize) -> Result<Vec<Pair>, EngineError> {
        Err(self.refused("scan"))
    }

    fn commit(&self, _batch: Batch) -> Result<(), EngineError> {
        Err(self.refused("commit"))
    }

    fn sync(&self) -> Result<(), EngineError> {
        Err(self.refused("sync"))
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        Err(self.refused("size"))
    }
}
