//! The log store while a purge is under way.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::sync::{Arc, Mutex, OnceLock};

use domicile_storage::{GroupId, LogBounds, LogEngine, LogEntry, LogError, MemoryLog, OnDurable};
use futures::FutureExt as _;
use openraft::EntryPayload;
use openraft::RaftLogReader as _;
use openraft::storage::{IOFlushed, RaftLogStorage as _};

use crate::envelope::Envelopes;
use crate::log_store::LogStore;
use crate::testing::ToyCipher;
use crate::type_config::{Entry, log_id};
use crate::{Incarnation, PartitionId};

/// Runs a purge of the store over it just before a read reaches the engine.
#[derive(Default)]
struct PurgedInBetween {
    inner: MemoryLog,
    store: OnceLock<LogStore>,
    purge_through: Mutex<Option<u64>>,
}

impl LogEngine for PurgedInBetween {
    fn append(&self, group: GroupId, entries: Vec<LogEntry>, done: OnDurable) {
        self.inner.append(group, entries, done);
    }

    fn truncate_after(&self, group: GroupId, index: Option<u64>, done: OnDurable) {
        self.inner.truncate_after(group, index, done);
    }

    fn purge_through(&self, group: GroupId, index: u64, done: OnDurable) {
        self.inner.purge_through(group, index, done);
    }

    fn put_meta(&self, group: GroupId, key: &'static str, value: Vec<u8>, done: OnDurable) {
        self.inner.put_meta(group, key, value, done);
    }

    fn meta(&self, group: GroupId, key: &'static str) -> Result<Option<Vec<u8>>, LogError> {
        self.inner.meta(group, key)
    }

    fn read(
        &self,
        group: GroupId,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let purge = self.purge_through.lock().unwrap().take();
        if let (Some(index), Some(store)) = (purge, self.store.get()) {
            let purged = store.clone().purge(log_id(1, index)).now_or_never();
            assert!(purged.is_none(), "the sync is held, so the purge is under way");
        }
        self.inner.read(group, start, end, bytes_max)
    }

    fn bounds(&self, group: GroupId) -> LogBounds {
        self.inner.bounds(group)
    }

    fn groups(&self) -> Vec<GroupId> {
        self.inner.groups()
    }

    fn syncs_total(&self) -> u64 {
        self.inner.syncs_total()
    }
}

/// What a reader of entries 0 to 9 gets when they are purged through `index` after it looked at the
/// bounds and before it read, and the purge is not synced yet.
async fn read_while_purging(index: u64) -> Vec<u64> {
    let engine = Arc::new(PurgedInBetween::default());
    let partition = PartitionId(1);
    let envelopes = Envelopes { partition, incarnation: Incarnation(1), cipher: Arc::new(ToyCipher::new(1)) };
    let log: Arc<dyn LogEngine> = Arc::clone(&engine) as Arc<dyn LogEngine>;
    // Two handles on one engine: what the first one holds in memory must not serve the read.
    let entries = (0..10).map(|index| Entry { log_id: log_id(1, index), payload: EntryPayload::Blank });
    let mut writer = LogStore::open(Arc::clone(&log), envelopes, None, u64::MAX).unwrap();
    writer.append(entries, IOFlushed::noop()).await.unwrap();
    let envelopes = Envelopes { partition, incarnation: Incarnation(1), cipher: Arc::new(ToyCipher::new(1)) };
    let mut reader = LogStore::open(log, envelopes, None, u64::MAX).unwrap();
    assert!(engine.store.set(reader.clone()).is_ok());
    engine.inner.hold_syncs();
    *engine.purge_through.lock().unwrap() = Some(index);
    let read = reader.try_get_log_entries(0..10).await.unwrap();
    read.iter().map(|entry| entry.log_id.index()).collect()
}

#[tokio::test]
async fn a_read_that_a_purge_overtakes_finds_what_is_left() {
    assert_eq!(read_while_purging(6).await, [7, 8, 9]);
    assert_eq!(read_while_purging(9).await, [0u64; 0]);
}
