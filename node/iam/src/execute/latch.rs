//! Latches: commands that touch the same rows take turns, so that conflicts come from leadership
//! changes only.
//!
//! INVARIANT: a command waits only while it takes its set in key order; what it takes later it takes
//! without waiting. So no cycle of waiting commands can form.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ids::{ProposalId, TenantId};
use crate::proposal::{ClaimKey, RangeKey, RecordKey};
use crate::streams::StreamRef;

/// What a latch protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LatchKey {
    /// A stream.
    Stream(TenantId, StreamRef),
    /// A claim.
    Claim(TenantId, ClaimKey),
    /// A record.
    Record(TenantId, RecordKey),
    /// A range.
    Range(TenantId, RangeKey),
    /// An idempotency key.
    Proposal(TenantId, ProposalId),
}

/// How a latch is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LatchMode {
    /// With other readers.
    Shared,
    /// Alone.
    Exclusive,
}

/// Latches to take together; the stronger mode of two wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatchSet(BTreeMap<LatchKey, LatchMode>);

impl LatchSet {
    /// Adds one.
    pub fn add(&mut self, key: LatchKey, mode: LatchMode) {
        let held = self.0.entry(key).or_insert(mode);
        *held = (*held).max(mode);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (key, mode) in &other.0 {
            self.add(*key, *mode);
        }
    }

    /// With `key` shared.
    #[must_use]
    pub fn shared(mut self, key: LatchKey) -> Self {
        self.add(key, LatchMode::Shared);
        self
    }

    /// With `key` exclusive.
    #[must_use]
    pub fn exclusive(mut self, key: LatchKey) -> Self {
        self.add(key, LatchMode::Exclusive);
        self
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why latches were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LatchError {
    /// Too many commands wait.
    #[error("too many commands wait")]
    QueueFull,
    /// Not within the deadline.
    #[error("waited past the deadline")]
    Timeout,
    /// Leadership was lost meanwhile.
    #[error("leadership was lost")]
    Dropped,
}

/// Bounds on waiting.
#[derive(Clone, Copy, Debug)]
pub struct LatchBounds {
    /// Commands that wait for one key at most.
    pub per_key_max: usize,
    /// Commands that wait in all at most.
    pub waiting_max: usize,
}

impl Default for LatchBounds {
    fn default() -> Self {
        Self { per_key_max: 128, waiting_max: 4_096 }
    }
}

struct Waiter {
    id: u64,
    mode: LatchMode,
    wake: oneshot::Sender<()>,
}

#[derive(Default)]
struct Entry {
    shared: usize,
    exclusive: bool,
    queue: VecDeque<Waiter>,
}

impl Entry {
    fn admits(&self, mode: LatchMode) -> bool {
        match mode {
            LatchMode::Shared => !self.exclusive,
            LatchMode::Exclusive => !self.exclusive && self.shared == 0,
        }
    }

    fn hold(&mut self, mode: LatchMode) {
        match mode {
            LatchMode::Shared => self.shared += 1,
            LatchMode::Exclusive => self.exclusive = true,
        }
    }

    fn free(&mut self, mode: LatchMode) {
        match mode {
            LatchMode::Shared => self.shared = self.shared.saturating_sub(1),
            LatchMode::Exclusive => self.exclusive = false,
        }
    }
}

#[derive(Default)]
struct Table {
    generation: u64,
    entries: BTreeMap<LatchKey, Entry>,
    waiting: usize,
    next: u64,
}

impl Table {
    /// Hands the latch to those in front of the queue, first come first served.
    fn grant(&mut self, key: LatchKey) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        while let Some(front) = entry.queue.front() {
            let mode = front.mode;
            if !entry.admits(mode) {
                break;
            }
            if let Some(waiter) = entry.queue.pop_front() {
                self.waiting = self.waiting.saturating_sub(1);
                entry.hold(mode);
                // One who gave up meanwhile holds it all the same: `Waiting` gives it back, once.
                let _ = waiter.wake.send(());
            }
        }
        if entry.queue.is_empty() && entry.shared == 0 && !entry.exclusive {
            self.entries.remove(&key);
        }
    }

    fn release(&mut self, key: LatchKey, mode: LatchMode) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.free(mode);
        }
        self.grant(key);
    }
}

/// The latches of one partition's leader.
pub struct Latches {
    bounds: LatchBounds,
    table: Mutex<Table>,
}

impl Latches {
    /// None held.
    #[must_use]
    pub fn new(bounds: LatchBounds) -> Arc<Self> {
        Arc::new(Self { bounds, table: Mutex::new(Table::default()) })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all of `set` in key order, waiting at most `deadline`.
    ///
    /// # Errors
    /// [`LatchError`]; nothing is held then.
    pub async fn acquire(
        self: &Arc<Self>,
        set: &LatchSet,
        deadline: Duration,
    ) -> Result<LatchGuard, LatchError> {
        let mut guard = LatchGuard {
            latches: Arc::clone(self),
            generation: self.table().generation,
            held: BTreeMap::new(),
        };
        let all = async {
            for (key, mode) in &set.0 {
                self.wait(&mut guard, *key, *mode).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(deadline, all).await {
            Ok(taken) => taken.map(|()| guard),
            Err(_) => Err(LatchError::Timeout),
        }
    }

    async fn wait(
        self: &Arc<Self>,
        guard: &mut LatchGuard,
        key: LatchKey,
        mode: LatchMode,
    ) -> Result<(), LatchError> {
        if let Some((mut waiting, woken)) = self.take_or_queue(guard.generation, key, mode)? {
            woken.await.map_err(|_| LatchError::Dropped)?;
            waiting.taken = true;
        }
        guard.held.insert(key, mode);
        Ok(())
    }

    /// Takes it (None), or gives a place in its queue.
    fn take_or_queue(
        &self,
        generation: u64,
        key: LatchKey,
        mode: LatchMode,
    ) -> Result<Option<(Waiting<'_>, oneshot::Receiver<()>)>, LatchError> {
        let mut table = self.table();
        if table.generation != generation {
            return Err(LatchError::Dropped);
        }
        let (waiting_now, id) = (table.waiting, table.next);
        let entry = table.entries.entry(key).or_default();
        if entry.queue.is_empty() && entry.admits(mode) {
            entry.hold(mode);
            return Ok(None);
        }
        if entry.queue.len() >= self.bounds.per_key_max || waiting_now >= self.bounds.waiting_max {
            return Err(LatchError::QueueFull);
        }
        let (wake, woken) = oneshot::channel();
        entry.queue.push_back(Waiter { id, mode, wake });
        table.waiting += 1;
        table.next += 1;
        Ok(Some((Waiting { latches: self, generation, key, mode, id, taken: false }, woken)))
    }

    /// Drops every latch and wakes all who wait with [`LatchError::Dropped`]: leadership was lost, so
    /// what the holders proposed is decided elsewhere.
    pub fn drop_all(&self) {
        let mut table = self.table();
        table.generation += 1;
        table.waiting = 0;
        table.entries.clear();
    }
}

/// A place in a queue; leaving it early gives back what it was granted.
struct Waiting<'l> {
    latches: &'l Latches,
    generation: u64,
    key: LatchKey,
    mode: LatchMode,
    id: u64,
    taken: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut table = self.latches.table();
        if table.generation != self.generation {
            return;
        }
        let place = table.entries.get_mut(&self.key).and_then(|entry| {
            entry.queue.iter().position(|w| w.id == self.id).map(|at| entry.queue.remove(at))
        });
        if place.is_some() {
            table.waiting = table.waiting.saturating_sub(1);
            table.grant(self.key);
        } else {
            table.release(self.key, self.mode);
        }
    }
}

/// Latches that are held until this is dropped.
pub struct LatchGuard {
    latches: Arc<Latches>,
    generation: u64,
    held: BTreeMap<LatchKey, LatchMode>,
}

impl LatchGuard {
    /// Takes one more, or strengthens one, without waiting. False if another holds it or waits.
    pub fn try_extend(&mut self, key: LatchKey, mode: LatchMode) -> bool {
        let held = self.held.get(&key).copied();
        if held >= Some(mode) {
            return true;
        }
        let mut table = self.latches.table();
        if table.generation != self.generation {
            return false;
        }
        let entry = table.entries.entry(key).or_default();
        if held.is_some() {
            // Held shared, wanted alone: fine for the only holder.
            if entry.shared != 1 {
                return false;
            }
            entry.free(LatchMode::Shared);
        } else if !entry.queue.is_empty() || !entry.admits(mode) {
            return false;
        }
        entry.hold(mode);
        self.held.insert(key, mode);
        true
    }
}

impl Drop for LatchGuard {
    fn drop(&mut self) {
        let mut table = self.latches.table();
        if table.generation == self.generation {
            for (key, mode) in &self.held {
                table.release(*key, *mode);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use super::*;
    use crate::ids::Id;

    /// The moment between a waiter's two ends: it listens no more, but has not left the queue.
    #[test]
    fn a_latch_granted_to_one_who_gives_up_is_given_back_once() {
        let latches = Latches::new(LatchBounds::default());
        let key = LatchKey::Proposal(TenantId::from_bytes([1; 16]), ProposalId::from_bytes([2; 16]));
        let queue = || latches.take_or_queue(0, key, LatchMode::Exclusive).unwrap();
        assert!(queue().is_none());
        let (leaving, deaf) = queue().unwrap();
        let (mut next, mut woken) = queue().unwrap();
        drop(deaf);
        latches.table().release(key, LatchMode::Exclusive);
        drop(leaving);
        assert!(woken.try_recv().is_ok());
        next.taken = true;
        assert!(queue().is_some(), "held by the next in the queue");
        latches.table().release(key, LatchMode::Exclusive);
        assert!(queue().is_none(), "free after both");
    }
}
