//! The log engine on disk, over TiKV's raft-engine 0.4.2 with what that lacks (docs/adr/0002): a cut
//! of a log's end, a group commit that answers after the sync, and damage told from a torn tail.
//!
//! Three threads: the *writer* takes everything that waits, writes it as one batch and syncs once;
//! the *reader* serves what is no longer in memory (raft-engine keeps a block cache per thread, keyed
//! by file number and offset alone, so that two logs must never be read from one thread); the
//! *purger* gives disk back.

mod batch;
mod files;
mod groups;
mod open;
mod reader;
mod synced_lengths;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use files::Files;
use groups::{Group, Source};
use reader::ReadRequest;
use synced_lengths::SyncedLengths;
use writer::{Change, Operation};

use crate::directory::{Directory, panic_message};
use crate::room::RoomWait;
use crate::{GroupId, LogBounds, LogEngine, LogEntry, LogError, OnDurable};

type Engine = raft_engine::Engine<Files>;

/// How a [`RaftEngineLog`] is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A log file is left for the next when it is this long.
    pub file_bytes: u64,
    /// Above this, old files are given back; groups that pin them are rewritten.
    pub purge_threshold_bytes: u64,
    /// Memory for the latest entries of all groups. Entries not yet synced come on top.
    pub cache_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            file_bytes: 8 * 1024 * 1024,
            purge_threshold_bytes: 64 * 1024 * 1024,
            cache_bytes: 4 * 1024 * 1024,
        }
    }
}

/// A [`LogEngine`] in a directory of its own: `FORMAT`, `LOCK`, `SYNCED` and raft-engine's files in
/// `log/`. Dropping it writes and syncs what waits.
pub struct RaftEngineLog {
    shared: Arc<Shared>,
    /// `None` once the reader is told to end.
    reads: Mutex<Option<Sender<ReadRequest>>>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for RaftEngineLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftEngineLog").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// raft-engine syncs when it is dropped, and panics when that fails; the log was stopped then already.
struct EngineHandle(Option<Engine>);

impl std::ops::Deref for EngineHandle {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        match &self.0 {
            Some(engine) => engine,
            None => unreachable!("only `drop` takes it"),
        }
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        let engine = self.0.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(engine))) {
            tracing::error!(reason = panic_message(&*panic), "the log could not be closed");
        }
    }
}

struct Shared {
    // Dropped in this order: the lock is let go last.
    engine: EngineHandle,
    state: Mutex<State>,
    wake: Condvar,
    syncs: AtomicU64,
    synced: Arc<SyncedLengths>,
    path: PathBuf,
    cache_bytes: usize,
    room: Arc<RoomWait>,
    _directory: Directory,
}

#[derive(Default)]
struct State {
    groups: BTreeMap<GroupId, Group>,
    queue: VecDeque<Operation>,
    recent_bytes: usize,
    closing: bool,
    /// Why nothing more is accepted.
    stopped: Option<String>,
}

impl Shared {
    /// Every change of the state is complete before anything can panic, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses all further writes.
    fn stop(&self, error: &LogError) {
        tracing::error!(%error, "the log stops");
        self.lock().stopped.get_or_insert_with(|| error.to_string());
    }

    /// What an error of raft-engine, met on this thread, means.
    fn error(&self, error: &raft_engine::Error) -> LogError {
        open::log_error(&self.path, &self.synced, error)
    }
}

impl RaftEngineLog {
    /// Changes the group in memory and hands the change to the writer, as one step.
    fn submit(
        &self,
        id: GroupId,
        done: OnDurable,
        change: impl FnOnce(&mut Group, &mut usize) -> Result<Change, LogError>,
    ) {
        let mut state = self.shared.lock();
        if let Some(reason) = &state.stopped {
            let error = LogError::Stopped(reason.clone());
            drop(state);
            return done(Err(error));
        }
        let State { groups, recent_bytes, queue, .. } = &mut *state;
        let group = groups.entry(id).or_default();
        let change = change(group, recent_bytes).unwrap_or_else(Change::Refuse);
        queue.push_back(Operation { group: id, epoch: group.epoch, change, done });
        drop(state);
        self.shared.wake.notify_one();
    }

    fn read_engine(
        &self,
        group: GroupId,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        let request = ReadRequest { group, start, end, bytes_max, reply };
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = reads.as_ref().is_some_and(|reads| reads.send(request).is_ok());
        drop(reads);
        let gone = || LogError::Stopped("the reader is gone".to_owned());
        if sent { answer.recv().map_err(|_| gone())? } else { Err(gone()) }
    }
}

impl LogEngine for RaftEngineLog {
    fn append(&self, group: GroupId, entries: Vec<LogEntry>, done: OnDurable) {
        self.submit(group, done, |g, recent_bytes| {
            let (entries, bytes) = g.append(group, entries)?;
            *recent_bytes += bytes;
            Ok(Change::Append(entries))
        });
    }

    fn truncate_after(&self, group: GroupId, index: Option<u64>, done: OnDurable) {
        self.submit(group, done, |g, recent_bytes| {
            *recent_bytes -= g.truncate_after(index);
            Ok(Change::TruncateAfter(index))
        });
    }

    fn purge_through(&self, group: GroupId, index: u64, done: OnDurable) {
        self.submit(group, done, |g, recent_bytes| {
            *recent_bytes -= g.purge_through(index);
            Ok(Change::PurgeThrough(index))
        });
    }

    fn put_meta(&self, group: GroupId, key: &'static str, value: Vec<u8>, done: OnDurable) {
        self.submit(group, done, |g, _| {
            g.meta.insert(key.to_owned(), value.clone());
            Ok(Change::PutMeta(key, value))
        });
    }

    fn meta(&self, group: GroupId, key: &'static str) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.shared.lock().groups.get(&group).and_then(|g| g.meta.get(key).cloned()))
    }

    fn read(
        &self,
        group: GroupId,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let mut out: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        loop {
            let next = out.last().map_or(start, |entry| entry.index.saturating_add(1));
            let taken = (!out.is_empty()).then_some(bytes);
            let source = match self.shared.lock().groups.get(&group) {
                Some(g) => g.source(next, end, taken, bytes_max),
                None => Source::Nowhere,
            };
            let (from, to, epoch, first) = match source {
                Source::Nowhere => return Ok(out),
                Source::Memory(entries) => {
                    out.extend(entries);
                    return Ok(out);
                }
                Source::Engine { start, end, epoch, first } => (start, end, epoch, first),
            };
            let got = self.read_engine(group, from, to, bytes_max.saturating_sub(bytes));
            let moved =
                self.shared.lock().groups.get(&group).is_none_or(|g| g.epoch != epoch || g.first != first);
            if moved {
                // Cut or purged meanwhile: what was read may be gone or replaced.
                out.clear();
                bytes = 0;
                continue;
            }
            let got = got?;
            let complete = got.last().is_some_and(|entry| entry.index + 1 == to);
            for entry in got {
                bytes += entry.bytes.len();
                if !out.is_empty() && bytes > bytes_max {
                    return Ok(out);
                }
                out.push(entry);
            }
            if !complete || bytes >= bytes_max {
                return Ok(out);
            }
        }
    }

    fn bounds(&self, group: GroupId) -> LogBounds {
        self.shared.lock().groups.get(&group).map(Group::bounds).unwrap_or_default()
    }

    fn groups(&self) -> Vec<GroupId> {
        let state = self.shared.lock();
        state.groups.iter().filter(|(_, g)| g.is_used()).map(|(id, _)| *id).collect()
    }

    fn syncs_total(&self) -> u64 {
        self.shared.syncs.load(Ordering::Acquire)
    }
}

impl Drop for RaftEngineLog {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.room.set(false);
        self.shared.wake.notify_all();
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let here = std::thread::current().id();
        // The last handle may be dropped in a callback, which runs on the writer itself: the threads
        // then end on their own.
        if self.threads.iter().all(|thread| thread.thread().id() != here) {
            for thread in self.threads.drain(..) {
                if thread.join().is_err() {
                    tracing::error!("a log thread panicked");
                }
            }
        }
        if let Err(error) = self.shared.synced.sync() {
            tracing::warn!(%error, "the record of synced lengths could not be synced");
        }
    }
}
