//! Batches that sled does not have yet.
//!
//! sled 0.34.7 writes its buffer out, twice and each time with a blocking `sync_file_range`, for every
//! batch it is given (`pagecache/mod.rs`, `pin_log`): beside a log that syncs on the same disk this
//! costs more than the batch. State need not be on disk per batch, so batches are merged here first;
//! what a crash takes with them is replayed from the log.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::{Batch, KeyRange, Order, Write};

/// A key with its last write.
pub(super) type Latest<'p> = (&'p Vec<u8>, &'p Option<Vec<u8>>);

/// The writes of some batches, the last of each key; `None` is a delete.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// How many batches these are.
    pub(super) commits: u64,
    /// Bytes of all their writes, overwritten ones too: this bounds the replay after a crash.
    pub(super) bytes: u64,
}

impl Pending {
    pub(super) fn merge(&mut self, batch: Batch) {
        self.commits += 1;
        for write in batch.writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key, Some(value)),
                Write::Delete { key } => (key, None),
            };
            self.bytes += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            self.writes.insert(key, value);
        }
    }

    /// The writes in `range`, which must not be an empty one, in `order`.
    pub(super) fn range<'p>(
        &'p self,
        range: &KeyRange,
        order: Order,
    ) -> Box<dyn Iterator<Item = Latest<'p>> + 'p> {
        let bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>) = (range.start.clone(), range.end.clone());
        let writes = self.writes.range(bounds);
        match order {
            Order::Ascending => Box::new(writes),
            Order::Descending => Box::new(writes.rev()),
        }
    }
}
