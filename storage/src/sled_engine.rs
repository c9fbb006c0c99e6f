//! The state engine on disk, over sled 0.34.7 with what that lacks (docs/adr/0002): real syncs,
//! values that never become blobs, checksums, and a tally that tells a damaged store from a whole one.

mod open;
mod pending;
mod rows;
mod write_through;

use std::cmp;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use pending::Pending;
use rows::{Head, PIECE_BYTES, TALLY_KEY, Tally, chunk_key, head_key, user_key};

use crate::directory::{Directory, panic_message};
use crate::engine::{check_key, hex, is_empty_range};
use crate::room::Reserve;
use crate::stamp::Stamps;
use crate::synced_record::SyncedRecord;
use crate::{Batch, Engine, EngineError, KeyRange, Order, Pair, Stamp, Write};

/// Disk kept for sled alone, so that what was committed when the disk ran full still reaches it: some
/// segments of 512 KiB, filled or moved.
const RESERVE_BYTES: u64 = 4 << 20;

/// How a [`SledEngine`] is opened.
#[derive(Clone, Debug)]
pub struct SledOptions {
    /// Memory for sled's page cache. Share a node's budget among its partitions.
    pub cache_bytes: u64,
    /// How often sled writes out and cleans segments; without it disk use only grows.
    pub flush_every_ms: u64,
    /// Whether opening reads every value and compares the store with its tally. Without it a damaged
    /// segment may go unnoticed until its keys are missed.
    pub verify_on_open: bool,
    /// Batches stay in memory until they hold this many bytes (0: never) or until a sync. A process
    /// that is killed loses them, as it does what was not synced.
    pub write_behind_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 * 1024 * 1024,
            flush_every_ms: 5000,
            verify_on_open: true,
            // Some hundred proposals; readers wait a few milliseconds while they go to sled.
            write_behind_bytes: 256 * 1024,
        }
    }
}

/// An [`Engine`] in a directory of its own: `FORMAT`, `LOCK`, `SYNCED` and sled's files in `db/`.
pub struct SledEngine {
    // Dropped in this order: the lock is let go last.
    db: sled::Db,
    /// sled's log file, to sync what sled's `flush` only hands to the kernel.
    db_file: File,
    /// Of what sled has.
    tally: Mutex<Tally>,
    /// Held for writing while a batch goes in, so that a reader of several rows sees all or nothing.
    pending: RwLock<Pending>,
    /// Changes with what is pending: that it goes to sled changes nothing for readers.
    stamps: Stamps,
    write_behind_bytes: u64,
    reserve: Reserve,
    record: Mutex<SyncedRecord>,
    /// Set when a batch failed midway or a sync failed: what is stored then is unknown, so nothing is
    /// served.
    failed: AtomicBool,
    file: PathBuf,
    directory: Directory,
}

impl std::fmt::Debug for SledEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledEngine").field("path", &self.directory.path()).finish_non_exhaustive()
    }
}

impl SledEngine {
    fn lock_tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn corrupt(&self, key: &[u8], reason: impl Into<String>) -> EngineError {
        EngineError::Corrupt { file: self.file.clone(), key: hex(key), reason: reason.into() }
    }

    fn io(&self, action: &'static str, source: io::Error) -> EngineError {
        EngineError::Io { file: self.file.clone(), action, source }
    }

    /// Runs a sled operation: its errors and panics become ours.
    fn guard<T>(
        &self,
        action: &'static str,
        key: &[u8],
        operation: impl FnOnce() -> Result<T, sled::Error>,
    ) -> Result<T, EngineError> {
        self.check_serving(action)?;
        match catch_unwind(AssertUnwindSafe(operation)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(source))) => Err(self.io(action, source)),
            Ok(Err(other)) => Err(self.corrupt(key, other.to_string())),
            Err(panic) => Err(self.corrupt(key, format!("sled panicked: {}", panic_message(&*panic)))),
        }
    }

    fn check_serving(&self, action: &'static str) -> Result<(), EngineError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(self.io(action, io::Error::other("an earlier batch or sync failed")));
        }
        Ok(())
    }

    fn write_pending(&self) -> RwLockWriteGuard<'_, Pending> {
        self.pending.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands what is pending to sled, as one batch. After an error nothing is served any more.
    fn write_out(&self, pending: &mut Pending) -> Result<(), EngineError> {
        if pending.commits == 0 {
            return Ok(());
        }
        let mut current = self.lock_tally();
        let mut tally = *current;
        let mut out = sled::Batch::default();
        let staged = pending
            .writes
            .iter()
            .try_for_each(|(key, value)| self.stage(key, value.as_deref(), &mut tally, &mut out));
        let applied = staged.and_then(|()| {
            tally.commits += pending.commits;
            out.insert(&TALLY_KEY, tally.encode());
            self.guard("commit", &[], || self.db.apply_batch(out))
        });
        if applied.is_ok() {
            *current = tally;
            *pending = Pending::default();
            self.reserve.keep(&self.db_file, RESERVE_BYTES);
        } else {
            self.failed.store(true, Ordering::Release);
        }
        applied
    }

    fn row(&self, key: &[u8], row_key: &[u8]) -> Result<Option<sled::IVec>, EngineError> {
        self.guard("read", key, || self.db.get(row_key))
    }

    /// Shows the whole value that `row` begins, checked; without a copy if it has one piece.
    fn show(&self, key: &[u8], row: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<(), EngineError> {
        let (head, piece) = Head::decode(row).map_err(|reason| self.corrupt(key, reason))?;
        if head.chunks() > 0 {
            look(&self.assemble(key, row)?.1);
        } else if head.verify(key, piece) {
            look(piece);
        } else {
            return Err(self.corrupt(key, "its checksum does not hold"));
        }
        Ok(())
    }

    /// The whole value that `row` begins, checked.
    fn assemble(&self, key: &[u8], row: &[u8]) -> Result<(Head, Vec<u8>), EngineError> {
        let (head, piece) = Head::decode(row).map_err(|reason| self.corrupt(key, reason))?;
        let mut value = piece.to_vec();
        for number in 1..=head.chunks() {
            let Some(piece) = self.row(key, &chunk_key(head.chunk_id, number))? else {
                return Err(self.corrupt(key, format!("piece {number} is missing")));
            };
            value.extend_from_slice(&piece);
        }
        if head.verify(key, &value) {
            Ok((head, value))
        } else {
            Err(self.corrupt(key, "its checksum does not hold"))
        }
    }

    /// The next head row of a scan, with the user's key. `last` is named in an error.
    fn next_row(
        &self,
        rows: &mut sled::Iter,
        order: Order,
        last: Option<&Pair>,
    ) -> Result<Option<(Vec<u8>, sled::IVec)>, EngineError> {
        let last = last.map(|(key, _)| key.as_slice()).unwrap_or_default();
        let next = self.guard("scan", last, || {
            match order {
                Order::Ascending => rows.next(),
                Order::Descending => rows.next_back(),
            }
            .transpose()
        })?;
        let Some((row_key, row)) = next else { return Ok(None) };
        match user_key(&row_key) {
            Some(key) => Ok(Some((key.to_vec(), row))),
            None => Err(self.corrupt(&row_key, "a row of another kind among the values")),
        }
    }

    /// Adds the rows of one write to `out` and to `tally`.
    fn stage(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        tally: &mut Tally,
        out: &mut sled::Batch,
    ) -> Result<(), EngineError> {
        let head_row = head_key(key);
        if let Some(row) = self.row(key, &head_row)? {
            let (old, _) = Head::decode(&row).map_err(|reason| self.corrupt(key, reason))?;
            for number in 1..=old.chunks() {
                out.remove(&chunk_key(old.chunk_id, number));
            }
            tally.rows = tally.rows.wrapping_sub(1);
            tally.digest = tally.digest.wrapping_sub(old.share(key));
            if value.is_none() {
                out.remove(head_row.as_slice());
            }
        }
        let Some(value) = value else { return Ok(()) };
        let chunk_id = if value.len() > PIECE_BYTES { tally.next_chunk_id } else { 0 };
        let (head, piece) = Head::of(key, value, chunk_id);
        out.insert(head_row.as_slice(), head.encode(piece));
        for (number, piece) in (1..).zip(value.chunks(PIECE_BYTES).skip(1)) {
            out.insert(&chunk_key(chunk_id, number), piece);
        }
        tally.next_chunk_id += u64::from(chunk_id != 0);
        tally.rows = tally.rows.wrapping_add(1);
        tally.digest = tally.digest.wrapping_add(head.share(key));
        Ok(())
    }
}

impl Engine for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        self.check_serving("read")?;
        if let Some(value) = pending.writes.get(key) {
            return Ok(value.clone());
        }
        match self.row(key, &head_key(key))? {
            Some(row) => Ok(Some(self.assemble(key, &row)?.1)),
            None => Ok(None),
        }
    }

    fn read(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool, EngineError> {
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        self.check_serving("read")?;
        if let Some(value) = pending.writes.get(key) {
            return Ok(value.as_deref().inspect(|value| look(value)).is_some());
        }
        let Some(row) = self.row(key, &head_key(key))? else { return Ok(false) };
        self.show(key, &row, look)?;
        Ok(true)
    }

    fn stamp(&self) -> Option<Stamp> {
        let stamp = self.stamps.current();
        stamp.filter(|_| !self.failed.load(Ordering::Acquire))
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        self.scan_within(range, order, limit, usize::MAX)
    }

    fn scan_within(
        &self,
        range: &KeyRange,
        order: Order,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        if is_empty_range(range) {
            return Ok(Vec::new());
        }
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        self.check_serving("scan")?;
        let mut newer = pending.range(range, order).peekable();
        let mut rows = self.db.range(row_range(range));
        let (mut stored, mut ended) = (None, false);
        let mut pairs: Vec<Pair> = Vec::new();
        let mut bytes = 0usize;
        while pairs.len() < limit && bytes < bytes_max {
            if stored.is_none() && !ended {
                stored = self.next_row(&mut rows, order, pairs.last())?;
                ended = stored.is_none();
            }
            let before = match (&stored, newer.peek()) {
                (None, None) => break,
                (Some(_), None) => cmp::Ordering::Less,
                (None, Some(_)) => cmp::Ordering::Greater,
                (Some((key, _)), Some((other, _))) => match order {
                    Order::Ascending => key.cmp(*other),
                    Order::Descending => (*other).cmp(key),
                },
            };
            match before {
                cmp::Ordering::Less => {
                    if let Some((key, row)) = stored.take() {
                        let (_, value) = self.assemble(&key, &row)?;
                        bytes = bytes.saturating_add(key.len() + value.len());
                        pairs.push((key, value));
                    }
                }
                // Replaced or deleted since.
                cmp::Ordering::Equal => stored = None,
                cmp::Ordering::Greater => {
                    if let Some((key, Some(value))) = newer.next() {
                        bytes = bytes.saturating_add(key.len() + value.len());
                        pairs.push((key.clone(), value.clone()));
                    }
                }
            }
        }
        Ok(pairs)
    }

    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        for write in &batch.writes {
            let (Write::Put { key, .. } | Write::Delete { key }) = write;
            check_key(&self.file, key)?;
        }
        let mut pending = self.write_pending();
        self.check_serving("commit")?;
        let _changing = self.stamps.changing();
        pending.merge(batch);
        if pending.bytes >= self.write_behind_bytes { self.write_out(&mut pending) } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_out(&mut self.write_pending())?;
        let commits = self.lock_tally().commits;
        let flushed = self.guard("flush", &[], || self.db.flush());
        // sled ends `flush` in `sync_file_range`, which leaves the device's cache and metadata alone.
        let synced = flushed.and_then(|_| {
            self.reserve.keep(&self.db_file, RESERVE_BYTES);
            let synced = self.db_file.sync_all().and_then(|()| record.write(&commits.to_le_bytes(), true));
            synced.map_err(|source| self.io("sync", source))
        });
        if synced.is_err() {
            // The kernel drops what it could not write: a second try would succeed over a hole.
            self.failed.store(true, Ordering::Release);
        }
        synced
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        self.guard("size", &[], || self.db.size_on_disk())
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        let mut pending = self.write_pending();
        if self.check_serving("close").is_ok()
            && let Err(error) = self.write_out(&mut pending)
        {
            tracing::error!(%error, "the last batches of the state were not written");
        }
    }
}

fn row_range(range: &KeyRange) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let bound = |bound: &Bound<Vec<u8>>, open: Bound<Vec<u8>>| match bound {
        Bound::Included(key) => Bound::Included(head_key(key)),
        Bound::Excluded(key) => Bound::Excluded(head_key(key)),
        Bound::Unbounded => open,
    };
    let heads = KeyRange::prefix(&head_key(&[]));
    (bound(&range.start, heads.start), bound(&range.end, heads.end))
}
