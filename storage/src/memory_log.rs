//! The log engine in memory: for tests and simulation. Syncs happen at once, or when the test says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log_engine::check_contiguous;
use crate::{GroupId, LogBounds, LogEngine, LogEntry, LogError, OnDurable};

/// A [`LogEngine`] without a disk.
#[derive(Default)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    groups: BTreeMap<GroupId, Group>,
    /// The groups as they were at the last sync, kept while syncs are held.
    synced: Option<BTreeMap<GroupId, Group>>,
    waiting: Vec<OnDurable>,
    syncs: u64,
}

#[derive(Clone, Default)]
struct Group {
    entries: VecDeque<LogEntry>,
    meta: BTreeMap<&'static str, Vec<u8>>,
}

impl Group {
    fn bounds(&self) -> LogBounds {
        LogBounds { first: self.entries.front().map(|e| e.index), last: self.entries.back().map(|e| e.index) }
    }
}

impl MemoryLog {
    /// An empty log in which every write is durable when its call returns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on no write becomes durable until [`MemoryLog::sync_now`].
    pub fn hold_syncs(&self) {
        let mut inner = self.lock();
        if inner.synced.is_none() {
            inner.synced = Some(inner.groups.clone());
        }
    }

    /// Makes what waits durable and runs its callbacks; syncs stay held if they were.
    pub fn sync_now(&self) {
        let waiting = {
            let mut inner = self.lock();
            inner.syncs += 1;
            if inner.synced.is_some() {
                inner.synced = Some(inner.groups.clone());
            }
            std::mem::take(&mut inner.waiting)
        };
        for done in waiting {
            done(Ok(()));
        }
    }

    /// Simulates power loss: what was not synced is gone, its callbacks never run, syncs are no
    /// longer held.
    pub fn lose_unsynced(&self) {
        let mut inner = self.lock();
        if let Some(synced) = inner.synced.take() {
            inner.groups = synced;
        }
        inner.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies `change` to the group, then either queues `done` or runs it.
    fn write(
        &self,
        group: GroupId,
        done: OnDurable,
        change: impl FnOnce(&mut Group) -> Result<(), LogError>,
    ) {
        let result = {
            let mut inner = self.lock();
            let result = change(inner.groups.entry(group).or_default());
            if result.is_ok() {
                if inner.synced.is_some() {
                    inner.waiting.push(done);
                    return;
                }
                inner.syncs += 1;
            }
            result
        };
        done(result);
    }
}

impl LogEngine for MemoryLog {
    fn append(&self, group: GroupId, entries: Vec<LogEntry>, done: OnDurable) {
        self.write(group, done, |g| {
            check_contiguous(group, g.bounds().last, &entries)?;
            g.entries.extend(entries);
            Ok(())
        });
    }

    fn truncate_after(&self, group: GroupId, index: Option<u64>, done: OnDurable) {
        self.write(group, done, |g| {
            g.entries.retain(|e| index.is_some_and(|index| e.index <= index));
            Ok(())
        });
    }

    fn purge_through(&self, group: GroupId, index: u64, done: OnDurable) {
        self.write(group, done, |g| {
            g.entries.retain(|e| e.index > index);
            Ok(())
        });
    }

    fn put_meta(&self, group: GroupId, key: &'static str, value: Vec<u8>, done: OnDurable) {
        self.write(group, done, |g| {
            g.meta.insert(key, value);
            Ok(())
        });
    }

    fn meta(&self, group: GroupId, key: &'static str) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.lock().groups.get(&group).and_then(|g| g.meta.get(key).cloned()))
    }

    fn read(
        &self,
        group: GroupId,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let inner = self.lock();
        let Some(g) = inner.groups.get(&group) else { return Ok(Vec::new()) };
        let wanted = g.entries.iter().skip_while(|e| e.index < start).take_while(|e| e.index < end);
        let mut bytes = 0;
        let mut out = Vec::new();
        for entry in wanted {
            bytes += entry.bytes.len();
            if !out.is_empty() && bytes > bytes_max {
                break;
            }
            out.push(entry.clone());
        }
        Ok(out)
    }

    fn bounds(&self, group: GroupId) -> LogBounds {
        self.lock().groups.get(&group).map(Group::bounds).unwrap_or_default()
    }

    fn groups(&self) -> Vec<GroupId> {
        let inner = self.lock();
        let used = inner.groups.iter().filter(|(_, g)| !g.entries.is_empty() || !g.meta.is_empty());
        used.map(|(id, _)| *id).collect()
    }

    fn syncs_total(&self) -> u64 {
        self.lock().syncs
    }
}
