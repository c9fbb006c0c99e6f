//! A node's disk: a log and a state in memory that lose what was not synced, watched by the checker.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_raft::testing::inspect::{self, Inspector};
use domicile_storage::{
    Batch, Engine, EngineError, GroupId, KeyRange, LogBounds, LogEngine, LogEntry, LogError, MemoryEngine,
    MemoryLog, OnDurable, Order, Pair, Write,
};

use crate::bugs::Bug;
use crate::checker::{Checker, Entry, Marks};
use crate::life::Life;
use crate::rng::{Rng, digest};
use crate::scenario::Loss;

/// As the log engine names it.
const GROUP: GroupId = GroupId(crate::world::GROUP.0);

pub struct Disk {
    node: u64,
    log: MemoryLog,
    state: MemoryEngine,
    inspector: Inspector,
    checker: Arc<Checker>,
    bug: Option<Bug>,
    inner: Mutex<Inner>,
    /// The log was removed, by a sync that may be the last thing that the node saw of it.
    removed: AtomicBool,
}

struct Inner {
    rng: Rng,
    sync_ms: (u64, u64),
    syncing: bool,
    /// What the state holds, and what of it a sync has covered.
    applied: u64,
    synced: u64,
    /// XOR over the digests of all rows that are not Raft's.
    rows: u64,
    replica: Kept,
}

/// Whether there is a replica.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Stays,
    /// It is being destroyed by order.
    Leaves,
    Gone,
}

impl Disk {
    pub fn new(node: u64, rng: Rng, sync_ms: (u64, u64), checker: Arc<Checker>, bug: Option<Bug>) -> Self {
        let inner =
            Inner { rng, sync_ms, syncing: false, applied: 0, synced: 0, rows: 0, replica: Kept::Stays };
        let (log, state) = (MemoryLog::new(), MemoryEngine::new());
        log.hold_syncs();
        let inspector = Inspector::new(crate::world::GROUP, Arc::new(crate::world::cipher()));
        let (inner, removed) = (Mutex::new(inner), AtomicBool::new(false));
        Self { node, log, state, inspector, checker, bug, inner, removed }
    }

    pub fn log(self: &Arc<Self>, life: &Life) -> Arc<dyn LogEngine> {
        Arc::new(SimLog { disk: Arc::clone(self), life: life.clone() })
    }

    pub fn state(self: &Arc<Self>, life: &Life) -> Arc<dyn Engine> {
        Arc::new(SimState { disk: Arc::clone(self), life: life.clone() })
    }

    pub fn set_sync_ms(&self, sync_ms: (u64, u64)) {
        self.lock().sync_ms = sync_ms;
    }

    /// From now on the log may be removed whole.
    pub fn leave(&self) {
        let mut inner = self.lock();
        if inner.replica == Kept::Stays {
            inner.replica = Kept::Leaves;
        }
    }

    pub fn is_gone(&self) -> bool {
        self.lock().replica == Kept::Gone
    }

    /// A replica may be opened here again.
    pub fn begin_anew(&self) {
        self.removed.store(false, Ordering::SeqCst);
        self.lock().replica = Kept::Stays;
    }

    /// The state goes with the log.
    fn remove_state(&self, inner: &mut Inner) {
        let rows = self.state.scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap();
        let writes = rows.into_iter().map(|(key, _)| Write::Delete { key }).collect();
        self.state.commit(Batch { writes }).unwrap();
        self.state.sync().unwrap();
        (inner.applied, inner.synced, inner.rows) = (0, 0, 0);
        inner.replica = Kept::Gone;
        self.checker.destroyed(self.node);
    }

    /// All but what only Raft knows.
    pub fn marks(&self) -> Marks {
        let inner = self.lock();
        let bounds = self.log.bounds(GROUP);
        Marks {
            purged: bounds.first.map_or(0, |first| first.saturating_sub(1)),
            synced: inner.synced,
            applied: inner.applied,
            last: bounds.last.unwrap_or(0).max(inner.applied),
            ..Marks::default()
        }
    }

    /// Ends `life`: nothing of it is written any more, and what `loss` says is gone.
    pub fn crash(&self, life: &Life, loss: Loss) {
        let mut inner = self.lock();
        life.end();
        inner.syncing = false;
        match loss {
            // Its callbacks find a life that is over.
            Loss::Process => self.log.sync_now(),
            Loss::Power | Loss::LogOnly => self.log.lose_unsynced(),
        }
        self.log.hold_syncs();
        match loss {
            Loss::Process | Loss::LogOnly => self.state.sync().unwrap(),
            Loss::Power => self.state.lose_unsynced(),
        }
        if inner.replica == Kept::Leaves {
            // A start with the state and without the log goes on where this one ended.
            if self.removed.load(Ordering::SeqCst) {
                self.remove_state(&mut inner);
            } else {
                inner.replica = Kept::Stays;
            }
        }
        let applied = inspect::applied_of(&self.state).unwrap().map_or(0, |at| at.index);
        let log = self.facts(&self.stored(0, u64::MAX));
        self.checker.survived(self.node, &log, inner.synced, applied);
        inner.applied = applied;
        inner.synced = applied;
        let everything = self.state.scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap();
        let own = everything.iter().filter(|(key, _)| is_counted(key));
        inner.rows = own.fold(0, |sum, (key, value)| sum ^ digest(&[key, value]));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self, start: u64, end: u64) -> Vec<LogEntry> {
        self.log.read(GROUP, start, end, usize::MAX).unwrap_or_default()
    }

    /// What the checker knows of entries.
    fn facts(&self, stored: &[LogEntry]) -> Vec<Entry> {
        let fact = |entry: &LogEntry| match self.inspector.entry(entry) {
            Ok(facts) => Some(Entry {
                at: facts.at,
                digest: digest(&[&facts.body]),
                committed: facts.committed.unwrap_or(0),
                voters: facts.voters,
            }),
            Err(cause) => {
                self.checker.violation(format!("node {}: entry {}: {cause}", self.node, entry.index));
                None
            }
        };
        stored.iter().filter_map(fact).collect()
    }

    /// Tells the checker what the state applied, read from this node's own log.
    fn note_applied(&self, before: u64, at: domicile_raft::LogPosition, rows: u64) {
        let entries = self.facts(&self.stored(before + 1, at.index + 1));
        let whole = u64::try_from(entries.len()).unwrap() == at.index - before.min(at.index);
        self.checker.applied(self.node, before, at, whole.then_some(&entries[..]), rows);
    }

    /// Tells the checker of a vote that is on disk.
    fn note_vote(&self, vote: inspect::VoteFacts) {
        let applied = self.lock().applied;
        let term_at = |index| {
            let found = self.stored(index, index + 1);
            found.first().and_then(|entry| inspect::term_of(entry).ok())
        };
        self.checker.voted(self.node, vote, applied, term_at);
    }
}

/// Whether a row is the state machine's: neither Raft's nor of a view's history.
fn is_counted(key: &[u8]) -> bool {
    !matches!(key.first(), None | Some(0 | 0xff))
}

struct SimLog {
    disk: Arc<Disk>,
    life: Life,
}

impl SimLog {
    fn gone(&self) -> Option<LogError> {
        (!self.life.is_lived()).then(|| LogError::Stopped("the node is gone".to_owned()))
    }

    /// Writes, and has a sync follow.
    fn write(&self, done: OnDurable, change: impl FnOnce(&MemoryLog, OnDurable)) {
        let mut inner = self.disk.lock();
        if !self.life.is_lived() {
            return;
        }
        let life = self.life.clone();
        let guarded: OnDurable = Box::new(move |result| {
            if life.is_lived() {
                done(result);
            }
        });
        change(&self.disk.log, guarded);
        if !inner.syncing {
            inner.syncing = true;
            let (low, high) = inner.sync_ms;
            let wait = match self.disk.bug {
                // Nobody waits for it.
                Some(Bug::AnswersBeforeTheSync) => Duration::from_millis(300),
                _ => Duration::from_micros(inner.rng.between(low * 1_000, high * 1_000)),
            };
            tokio::spawn(sync_after(wait, Arc::clone(&self.disk), self.life.clone()));
        }
    }
}

impl SimLog {
    /// Of a replica that is destroyed.
    fn remove(&self, group: GroupId, done: OnDurable) {
        let disk = Arc::clone(&self.disk);
        let done: OnDurable = Box::new(move |result| {
            disk.remove_state(&mut disk.lock());
            done(result);
        });
        let disk = Arc::clone(&self.disk);
        self.write(done, |log, done| {
            let synced: OnDurable = Box::new(move |result| {
                disk.removed.store(true, Ordering::SeqCst);
                done(result);
            });
            log.truncate_after(group, None, synced);
        });
    }
}

async fn sync_after(wait: Duration, disk: Arc<Disk>, life: Life) {
    tokio::time::sleep(wait).await;
    {
        let mut inner = disk.lock();
        if !life.is_lived() {
            return;
        }
        inner.syncing = false;
    }
    disk.log.sync_now();
}

impl LogEngine for SimLog {
    fn append(&self, group: GroupId, entries: Vec<LogEntry>, done: OnDurable) {
        let mut facts = Vec::new();
        if self.life.is_lived() {
            let first = entries.first().map_or(0, |entry| entry.index);
            let before = first.checked_sub(1).and_then(|index| self.disk.stored(index, index + 1).pop());
            let previous = before.and_then(|entry| inspect::term_of(&entry).ok());
            facts = self.disk.facts(&entries);
            self.disk.checker.appended(self.disk.node, previous, &facts);
        }
        if self.disk.bug == Some(Bug::AnswersBeforeTheSync) {
            self.write(Box::new(|_| {}), |log, ignored| log.append(group, entries, ignored));
            return done(Ok(()));
        }
        let disk = Arc::clone(&self.disk);
        let done: OnDurable = Box::new(move |result| {
            disk.checker.durable(disk.node, &facts);
            done(result);
        });
        self.write(done, |log, done| log.append(group, entries, done));
    }

    fn truncate_after(&self, group: GroupId, index: Option<u64>, done: OnDurable) {
        if index.is_none() && self.disk.lock().replica == Kept::Leaves {
            return self.remove(group, done);
        }
        let applied = self.disk.lock().applied;
        if self.life.is_lived() {
            self.disk.checker.truncated(self.disk.node, index.unwrap_or(0), applied);
        }
        let disk = Arc::clone(&self.disk);
        let done: OnDurable = Box::new(move |result| {
            // Again: what was being written then is on disk by now, and gone.
            disk.checker.truncated(disk.node, index.unwrap_or(0), 0);
            done(result);
        });
        self.write(done, |log, done| log.truncate_after(group, index, done));
    }

    fn purge_through(&self, group: GroupId, index: u64, done: OnDurable) {
        if self.life.is_lived() {
            let synced = self.disk.lock().synced;
            self.disk.checker.purged(self.disk.node, index, synced);
        }
        self.write(done, |log, done| log.purge_through(group, index, done));
    }

    fn put_meta(&self, group: GroupId, key: &'static str, value: Vec<u8>, done: OnDurable) {
        let vote = inspect::vote(key, &value);
        let disk = Arc::clone(&self.disk);
        let done: OnDurable = Box::new(move |result| {
            if let Some(vote) = vote {
                disk.note_vote(vote);
            }
            done(result);
        });
        let given_away = vote.is_some_and(|vote| vote.node != self.disk.node);
        if self.disk.bug == Some(Bug::ForgetsVotes) && given_away && self.life.is_lived() {
            return done(Ok(()));
        }
        self.write(done, |log, done| log.put_meta(group, key, value, done));
    }

    fn meta(&self, group: GroupId, key: &'static str) -> Result<Option<Vec<u8>>, LogError> {
        self.gone().map_or_else(|| self.disk.log.meta(group, key), Err)
    }

    fn read(&self, group: GroupId, start: u64, end: u64, bytes: usize) -> Result<Vec<LogEntry>, LogError> {
        self.gone().map_or_else(|| self.disk.log.read(group, start, end, bytes), Err)
    }

    fn bounds(&self, group: GroupId) -> LogBounds {
        // A life that is over must not take the loss for an empty log: its reads fail.
        let anything = LogBounds { first: Some(0), last: Some(u64::MAX - 1) };
        if self.life.is_lived() { self.disk.log.bounds(group) } else { anything }
    }

    fn groups(&self) -> Vec<GroupId> {
        self.disk.log.groups()
    }

    fn syncs_total(&self) -> u64 {
        self.disk.log.syncs_total()
    }
}

struct SimState {
    disk: Arc<Disk>,
    life: Life,
}

impl SimState {
    fn lived(&self) -> Result<(), EngineError> {
        if self.life.is_lived() {
            return Ok(());
        }
        let source = std::io::Error::other("the node is gone");
        Err(EngineError::Io { file: "memory".into(), action: "any", source })
    }
}

impl Engine for SimState {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.lived().and_then(|()| self.disk.state.get(key))
    }

    fn scan(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, EngineError> {
        self.lived().and_then(|()| self.disk.state.scan(range, order, limit))
    }

    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        let mut inner = self.disk.lock();
        self.lived()?;
        let position = inspect::applied_by(&batch);
        let keys = batch.writes.iter().map(|(Write::Put { key, .. } | Write::Delete { key })| key.clone());
        let keys: BTreeSet<Vec<u8>> = keys.filter(|key| is_counted(key)).collect();
        let sum = |state: &MemoryEngine| {
            let rows = keys.iter().filter_map(|key| Some((key, state.get(key).ok()??)));
            rows.fold(0, |sum, (key, value)| sum ^ digest(&[key, &value]))
        };
        let before = sum(&self.disk.state);
        self.disk.state.commit(batch)?;
        inner.rows ^= before ^ sum(&self.disk.state);
        if let Some(at) = position {
            let before = std::mem::replace(&mut inner.applied, at.index);
            let rows = inner.rows;
            drop(inner);
            self.disk.note_applied(before, at, rows);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut inner = self.disk.lock();
        self.lived()?;
        if self.disk.bug == Some(Bug::NeverSyncsTheState) {
            return Ok(());
        }
        self.disk.state.sync()?;
        inner.synced = inner.applied;
        self.disk.checker.synced(self.disk.node, inner.applied);
        Ok(())
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        Ok(0)
    }
}
