//! openraft's log over the node's shared log engine.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domicile_storage::codec::CodecError;
use domicile_storage::{Bug, GroupId, LogEngine, LogError, OnDurable, is_seeded};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::{Notify, oneshot};

use crate::barrier::StateBarrier;
use crate::entry_cache::{self, EntryCache};
use crate::envelope::{self, EnvelopeError, Envelopes};
use crate::log_meta;
use crate::log_size::LogSize;
use crate::type_config::{Entry, LogId, RaftVote, TypeConfig, log_id, term_of};
use crate::{Incarnation, PartitionId};

/// Read from the engine at once, in bytes as stored.
const READ_BYTES_MAX: usize = 4 << 20;
/// Sent to another replica at once, before the last entry, which may be a proposal of the same length.
const APPEND_BYTES_MAX: usize = 1 << 20;
/// Opened entries kept in memory, per group.
const CACHE_BYTES_MAX: usize = 8 << 20;

/// A log that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogStoreError {
    /// The engine refused.
    #[error("log engine")]
    Engine(#[from] LogError),
    /// An entry does not open: most often the wrong key.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A value beside the log does not decode.
    #[error("log metadata `{key}`")]
    Meta {
        /// Which value.
        key: &'static str,
        /// What did not hold.
        #[source]
        source: CodecError,
    },
    /// The log belongs to another life of the partition.
    #[error("the log is of incarnation {found}, not {wanted}")]
    Incarnation {
        /// What the log says.
        found: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// The state has applied what this log never held: the log is lost, or an older one.
    #[error("the state has applied term {applied_term}, the log knows {known}")]
    BehindState {
        /// Term of the state's last applied entry.
        applied_term: u64,
        /// How far the log knows.
        known: String,
    },
    /// An index that the bounds promise is absent.
    #[error("log entry {0} is missing")]
    Missing(u64),
}

/// One group's log. Clones share everything.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Arc<dyn LogEngine>,
    group: GroupId,
    envelopes: Envelopes,
    /// What a purge must not pass. `None` only where openraft's suite runs a log without state.
    barrier: Option<Arc<StateBarrier>>,
    cache: Mutex<EntryCache>,
    size: Mutex<LogSize>,
    /// Above this the log is too long.
    bytes_max: u64,
    /// Told at each append to a log that is too long.
    oversized: Notify,
    marks: Mutex<Marks>,
}

#[derive(Clone, Debug, Default)]
struct Marks {
    vote: Option<RaftVote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

impl LogStore {
    /// Reads the marks and opens the newest entry, so that a wrong key shows here.
    pub(crate) fn open(
        engine: Arc<dyn LogEngine>,
        envelopes: Envelopes,
        barrier: Option<Arc<StateBarrier>>,
        bytes_max: u64,
    ) -> Result<Self, LogStoreError> {
        let group = group_of(envelopes.partition);
        if let Some(barrier) = &barrier {
            check_not_behind(&*engine, group, barrier)?;
        }
        check_incarnation(&*engine, group, envelopes.incarnation)?;
        let meta = |key| read_meta(&*engine, group, key, log_meta::decode_log_id);
        let marks = Marks {
            vote: read_meta(&*engine, group, log_meta::VOTE, log_meta::decode_vote)?,
            committed: meta(log_meta::COMMITTED)?,
            purged: meta(log_meta::PURGED)?,
        };
        let cache = Mutex::new(EntryCache::new(CACHE_BYTES_MAX));
        let (marks, size) = (Mutex::new(marks), Mutex::default());
        let oversized = Notify::new();
        let shared = Shared { engine, group, envelopes, barrier, cache, size, bytes_max, oversized, marks };
        let store = Self { shared: Arc::new(shared) };
        if let Some(committed) = store.committed_in_log()? {
            let mut marks = store.marks();
            marks.committed = marks.committed.max(Some(committed));
        }
        Ok(store)
    }

    /// What the newest entry says was committed when it was written.
    fn committed_in_log(&self) -> Result<Option<LogId>, LogStoreError> {
        let Some(last) = self.last_index() else { return Ok(None) };
        let stored = self.stored(last)?;
        self.shared.envelopes.open(&stored)?;
        match envelope::header(&stored)?.committed {
            Some(index) if index >= self.first_index() => self.log_id_at(index).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Stores the committed index for a start that replays at once. Entries carry it too, one behind.
    pub(crate) async fn persist_committed(&self) -> io::Result<()> {
        let Some(committed) = self.marks().committed else { return Ok(()) };
        let bytes = log_meta::encode_log_id(&committed).map_err(io::Error::other)?;
        self.durably(|done| self.shared.engine.put_meta(self.shared.group, log_meta::COMMITTED, bytes, done))
            .await
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.shared.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, EntryCache> {
        self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self) -> MutexGuard<'_, LogSize> {
        self.shared.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes appended since the log was opened and still kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.size().bytes()
    }

    /// Where the log should be cut (inclusive) to be no longer than it may.
    pub(crate) fn excess(&self) -> Option<u64> {
        self.size().excess(self.shared.bytes_max)
    }

    /// Returns after an append to a log that is too long.
    pub(crate) async fn oversized(&self) {
        self.shared.oversized.notified().await;
    }

    /// The first index that is not purged; a crash may leave entries below it.
    fn first_index(&self) -> u64 {
        self.marks().purged.as_ref().map_or(0, |purged| purged.index() + 1)
    }

    fn last_index(&self) -> Option<u64> {
        let first = self.first_index();
        self.shared.engine.bounds(self.shared.group).last.filter(|last| *last >= first)
    }

    fn stored(&self, index: u64) -> Result<domicile_storage::LogEntry, LogStoreError> {
        let found = self.shared.engine.read(self.shared.group, index, index + 1, READ_BYTES_MAX)?;
        found.into_iter().next().ok_or(LogStoreError::Missing(index))
    }

    fn log_id_at(&self, index: u64) -> Result<LogId, LogStoreError> {
        Ok(log_id(envelope::header(&self.stored(index)?)?.term, index))
    }

    /// The entries of `start..end`, stopping after the first read that reaches `bytes_max`.
    fn entries(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, LogStoreError> {
        let start = start.max(self.first_index());
        let end = end.min(self.last_index().map_or(0, |last| last + 1));
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(cached) = self.cache().range(start, end) {
            return Ok(cached);
        }
        let mut entries = Vec::new();
        let (mut next, mut bytes) = (start, 0);
        while next < end && bytes < bytes_max {
            let chunk = self.shared.engine.read(self.shared.group, next, end, READ_BYTES_MAX)?;
            if chunk.first().is_none_or(|entry| entry.index != next) {
                // A purge may have come between, or the log begins later: then so does the range.
                let held = self.shared.engine.bounds(self.shared.group).first.unwrap_or(0);
                let first = self.first_index().max(held);
                if first <= next {
                    return Err(LogStoreError::Missing(next));
                }
                entries.clear();
                (next, bytes) = (first, 0);
                continue;
            }
            for stored in &chunk {
                entries.push(self.shared.envelopes.open(stored)?);
                bytes += stored.bytes.len();
                next = stored.index + 1;
            }
        }
        Ok(entries)
    }

    /// Starts a write and waits for its sync.
    async fn durably(&self, start: impl FnOnce(OnDurable)) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        start(Box::new(move |result| {
            // Nobody waits any more only when the group is going down.
            let _ = done.send(result);
        }));
        match synced.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the log writer went away")),
        }
    }
}

/// Removes a group's log, and what is kept beside it: votes too, so only of a replica that is no member
/// any more.
pub(crate) async fn remove(engine: &dyn LogEngine, partition: PartitionId) -> Result<(), LogError> {
    let group = group_of(partition);
    for key in log_meta::KEYS {
        engine.put_meta(group, key, Vec::new(), Box::new(|_| {}));
    }
    let (done, synced) = oneshot::channel();
    let done: OnDurable = Box::new(move |result| {
        // Who removes the log waits for it.
        let _ = done.send(result);
    });
    engine.truncate_after(group, None, done);
    synced.await.unwrap_or_else(|_| Err(LogError::Stopped("the log writer went away".to_owned())))
}

/// The engine's name for a partition's group.
pub(crate) fn group_of(partition: PartitionId) -> GroupId {
    GroupId(partition.0)
}

fn read_meta<T>(
    engine: &dyn LogEngine,
    group: GroupId,
    key: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<T, CodecError>,
) -> Result<Option<T>, LogStoreError> {
    // An empty value is what a removed log leaves.
    let stored = engine.meta(group, key)?.filter(|bytes| !bytes.is_empty());
    stored.map(|bytes| decode(&bytes)).transpose().map_err(|source| LogStoreError::Meta { key, source })
}

/// Refuses a log that knows less than the state beside it: its vote is gone, so this node could vote
/// twice in a term, and take back what it acknowledged.
///
/// INVARIANT: an entry is applied only after incarnation and a vote of its term or a later one are
/// durable, so state without them means that the log was lost or went back in time.
fn check_not_behind(
    engine: &dyn LogEngine,
    group: GroupId,
    barrier: &StateBarrier,
) -> Result<(), LogStoreError> {
    let Some(applied) = barrier.applied().log_id else { return Ok(()) };
    let applied_term = term_of(&applied);
    let behind = |known: String| Err(LogStoreError::BehindState { applied_term, known });
    if engine.meta(group, log_meta::INCARNATION)?.is_none() {
        return behind("no incarnation".to_owned());
    }
    match read_meta(engine, group, log_meta::VOTE, log_meta::decode_vote)? {
        None => behind("no vote".to_owned()),
        Some(vote) if vote.leader_id.term < applied_term => behind(format!("term {}", vote.leader_id.term)),
        Some(_) => Ok(()),
    }
}

fn check_incarnation(
    engine: &dyn LogEngine,
    group: GroupId,
    incarnation: Incarnation,
) -> Result<(), LogStoreError> {
    let key = log_meta::INCARNATION;
    match read_meta(engine, group, key, log_meta::decode_number)? {
        Some(found) if found != incarnation.0 => {
            Err(LogStoreError::Incarnation { found, wanted: incarnation.0 })
        }
        Some(_) => Ok(()),
        None => {
            let bytes = log_meta::encode_number(incarnation.0)
                .map_err(|source| LogStoreError::Meta { key, source })?;
            // Durable with the first vote, which is written after it.
            engine.put_meta(group, key, bytes, Box::new(|_| {}));
            Ok(())
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = half_open(&range);
        self.entries(start, end, usize::MAX).map_err(io::Error::other)
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.marks().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let mut entries = self.entries(start, end, APPEND_BYTES_MAX).map_err(io::Error::other)?;
        let mut bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            let before = bytes;
            bytes += entry_cache::size(entry);
            before < APPEND_BYTES_MAX
        });
        let fits = fits.count();
        entries.truncate(fits);
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let purged = self.marks().purged;
        let last =
            self.last_index().map(|index| self.log_id_at(index)).transpose().map_err(io::Error::other)?;
        Ok(LogState { last_log_id: last.or(purged), last_purged_log_id: purged })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        let bytes = log_meta::encode_vote(vote).map_err(io::Error::other)?;
        // INVARIANT: a vote is given only after it is on disk.
        if !(is_seeded(Bug::ForgottenVote) && self.marks().vote.is_some()) {
            self.durably(|done| self.shared.engine.put_meta(self.shared.group, log_meta::VOTE, bytes, done))
                .await?;
        }
        self.marks().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // No write of its own: it would cost a sync per commit. The next entry carries it.
        self.marks().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.marks().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let committed = self.marks().committed.as_ref().map(LogId::index);
        let mut sealed = Vec::new();
        for entry in entries {
            let stored = self.shared.envelopes.seal(&entry, committed).map_err(io::Error::other)?;
            self.size().push(stored.index, u64::try_from(stored.bytes.len()).unwrap_or(u64::MAX));
            self.cache().push(entry);
            sealed.push(stored);
        }
        if self.excess().is_some() {
            self.shared.oversized.notify_one();
        }
        // INVARIANT: the callback is called by the engine, after the sync.
        let done: OnDurable = Box::new(move |result| callback.io_completed(result.map_err(io::Error::other)));
        self.shared.engine.append(self.shared.group, sealed, done);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let index = last_log_id.as_ref().map(LogId::index);
        self.cache().truncate_after(index);
        self.size().truncate_after(index);
        self.durably(|done| self.shared.engine.truncate_after(self.shared.group, index, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        if self.marks().purged.as_ref() >= Some(&log_id) {
            return Ok(());
        }
        if let Some(barrier) = &self.shared.barrier {
            barrier.cover(log_id.index()).await?;
        }
        let bytes = log_meta::encode_log_id(&log_id).map_err(io::Error::other)?;
        let (engine, group) = (&self.shared.engine, self.shared.group);
        // The mark goes first: entries below it that a crash leaves behind are never read.
        engine.put_meta(group, log_meta::PURGED, bytes, Box::new(|_| {}));
        self.cache().purge_through(log_id.index());
        self.size().purge_through(log_id.index());
        // The engine forgets at once, so readers must know before it does; after a crash the mark on
        // disk counts, which is never behind what the engine let go.
        self.marks().purged = Some(log_id);
        self.durably(|done| engine.purge_through(group, log_id.index(), done)).await
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
