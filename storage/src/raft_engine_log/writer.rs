//! Group commit: one thread takes all that waits, writes it as one batch, syncs once, then answers.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use raft_engine::LogBatch;

use super::batch::Stored;
use super::{Shared, State};
use crate::directory::panic_message;
use crate::{Bug, GroupId, LogError, OnDurable, is_seeded};

/// One batch takes no more than this and one operation, so that what waits stays bounded in time.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) enum Change {
    Append(Vec<(u64, Bytes)>),
    TruncateAfter(Option<u64>),
    PurgeThrough(u64),
    PutMeta(&'static str, Vec<u8>),
    /// Nothing to write: the caller's mistake is answered in its turn.
    Refuse(LogError),
}

pub(super) struct Operation {
    pub(super) group: GroupId,
    pub(super) epoch: u64,
    pub(super) change: Change,
    pub(super) done: OnDurable,
}

/// What is left of an operation once its change is in the batch.
struct Written {
    group: GroupId,
    epoch: u64,
    through: Option<u64>,
    refusal: Option<LogError>,
    done: OnDurable,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) stored: BTreeMap<GroupId, Stored>,
    /// Wakes the purger.
    pub(super) purge: SyncSender<()>,
    /// After this many bytes the purger looks again.
    pub(super) file_bytes: u64,
    pub(super) unpurged_bytes: u64,
}

impl Writer {
    /// Runs until the log is dropped and nothing waits.
    pub(super) fn run(mut self) {
        while let Some((operations, stopped)) = self.take() {
            match stopped {
                Some(reason) => {
                    for operation in operations {
                        self.answer(operation.done, Err(LogError::Stopped(reason.clone())));
                    }
                }
                None => self.write(operations),
            }
        }
    }

    fn take(&self) -> Option<(Vec<Operation>, Option<String>)> {
        let mut state = self.shared.lock();
        while state.queue.is_empty() {
            if state.closing {
                return None;
            }
            state = self.shared.wake.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let operations = take_batch(&mut state.queue);
        Some((operations, state.stopped.clone()))
    }

    fn write(&mut self, operations: Vec<Operation>) {
        let mut written = Vec::with_capacity(operations.len());
        let mut purges = false;
        let attempt = catch_unwind(AssertUnwindSafe(|| -> raft_engine::Result<usize> {
            let mut batch = LogBatch::with_capacity(operations.len());
            for operation in operations {
                purges |= matches!(operation.change, Change::PurgeThrough(_));
                let Operation { group, epoch, change, done } = operation;
                let through = match &change {
                    Change::Append(entries) => entries.last().map(|(index, _)| *index),
                    Change::TruncateAfter(_)
                    | Change::PurgeThrough(_)
                    | Change::PutMeta(..)
                    | Change::Refuse(_) => None,
                };
                written.push(Written { group, epoch, through, refusal: None, done });
                let refusal = stage(&mut self.stored, group, change, &mut batch)?;
                if let Some(last) = written.last_mut() {
                    last.refusal = refusal;
                }
            }
            // Nothing to write means nothing to make durable: what came before is synced.
            let sync = !is_seeded(Bug::NoFsync);
            if batch.is_empty() { Ok(0) } else { self.shared.engine.write(&mut batch, sync) }
        }));
        let result = match attempt {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(self.shared.error(&error)),
            Err(panic) => Err(LogError::Io {
                file: self.shared.path.clone(),
                reason: format!("raft-engine panicked: {}", panic_message(&*panic)),
            }),
        };
        match result {
            Ok(bytes) => self.finish(written, bytes, purges),
            Err(error) => {
                self.shared.stop(&error);
                for done in written {
                    self.answer(done.done, Err(error.clone()));
                }
            }
        }
    }

    /// The batch is durable: let go of memory, answer, give disk back.
    fn finish(&mut self, written: Vec<Written>, bytes: usize, purges: bool) {
        if bytes > 0 {
            self.shared.syncs.fetch_add(1, Ordering::AcqRel);
        }
        {
            let mut state = self.shared.lock();
            for w in &written {
                if let (Some(through), Some(group)) = (w.through, state.groups.get_mut(&w.group)) {
                    group.mark_written(through, w.epoch);
                }
            }
            evict(&mut state, self.shared.cache_bytes);
        }
        for w in written {
            self.answer(w.done, w.refusal.map_or(Ok(()), Err));
        }
        self.unpurged_bytes += bytes as u64;
        if purges || self.unpurged_bytes >= self.file_bytes {
            // A full channel means that a look is due anyway.
            if self.purge.try_send(()).is_ok() {
                self.unpurged_bytes = 0;
            }
        }
    }

    /// A panic of a callback would end the writer and leave every group waiting.
    fn answer(&self, done: OnDurable, result: Result<(), LogError>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| done(result))) {
            let reason = format!("a callback panicked: {}", panic_message(&*panic));
            self.shared.stop(&LogError::Io { file: self.shared.path.clone(), reason });
        }
    }
}

fn take_batch(queue: &mut VecDeque<Operation>) -> Vec<Operation> {
    let mut bytes = 0;
    let mut out = Vec::new();
    while bytes < BATCH_BYTES_MAX {
        let Some(operation) = queue.pop_front() else { break };
        if let Change::Append(entries) = &operation.change {
            bytes += entries.iter().map(|(_, body)| body.len()).sum::<usize>();
        }
        out.push(operation);
    }
    out
}

fn stage(
    stored: &mut BTreeMap<GroupId, Stored>,
    id: GroupId,
    change: Change,
    batch: &mut LogBatch,
) -> raft_engine::Result<Option<LogError>> {
    let group = stored.entry(id).or_default();
    match change {
        Change::Append(entries) => group.append(id, entries, batch)?,
        Change::TruncateAfter(index) => group.truncate_after(id, index, batch)?,
        Change::PurgeThrough(index) => group.purge_through(id, index, batch)?,
        Change::PutMeta(key, value) => group.put_meta(id, key, value, batch)?,
        Change::Refuse(error) => return Ok(Some(error)),
    }
    Ok(None)
}

fn evict(state: &mut State, cache_bytes: usize) {
    let State { groups, recent_bytes, .. } = state;
    for group in groups.values_mut() {
        if *recent_bytes <= cache_bytes {
            return;
        }
        *recent_bytes -= group.evict(*recent_bytes - cache_bytes);
    }
}
