//! What must hold of the replicas at every moment (Raft, figure 3), checked where they write and apply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domicile_raft::LogPosition;
use domicile_raft::testing::inspect::VoteFacts;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::coverage::Coverage;
use crate::quorum::{Quorum, Voters};
use crate::rng::digest;

/// A command's kind byte in a log entry, before what was proposed.
const KIND_COMMAND: u8 = 1;

/// A log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: LogPosition,
    /// Of what it orders.
    pub digest: u64,
    /// What its log said was committed when it was written.
    pub committed: u64,
    /// If it is a membership.
    pub voters: Option<Voters>,
}

/// Where a replica stands. `committed` may lag, since it is told later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub term: u64,
    pub purged: u64,
    /// What a snapshot made durable.
    pub synced: u64,
    pub applied: u64,
    pub committed: u64,
    pub last: u64,
}

pub struct Checker {
    began: Instant,
    inner: Mutex<Inner>,
    pub failed: Notify,
}

#[derive(Default)]
struct Inner {
    violations: Vec<String>,
    trace: Vec<String>,
    coverage: Coverage,
    /// By index and term: the term before it, where known, and what it orders.
    entries: BTreeMap<(u64, u64), (Option<u64>, u64)>,
    /// Who won each term, as votes and leaders say.
    leaders: BTreeMap<u64, u64>,
    /// For whom each node voted, by node and term.
    votes: BTreeMap<(u64, u64), u64>,
    /// The newest term of which each node has a vote on disk.
    terms: BTreeMap<u64, u64>,
    /// By index: term and digest of what some replica applied.
    committed: BTreeMap<u64, (u64, u64)>,
    /// By index: what applying it came to.
    orders: BTreeMap<u64, u64>,
    /// By applied index: digest of all rows.
    rows: BTreeMap<u64, u64>,
    /// By node: what it said was committed when it last wrote, since its last start.
    commits: BTreeMap<u64, u64>,
    quorum: Quorum,
    /// By node and start: where it stood when last looked at.
    seen: BTreeMap<(u64, u64), Marks>,
}

impl Inner {
    fn violate(&mut self, began: Instant, what: &str) {
        self.violations.push(format!("{:>8.3} s  {what}", began.elapsed().as_secs_f64()));
    }

    /// Records `value` under `key`; says what was there if it differs.
    fn agree<K: Ord, V: PartialEq + Copy>(map: &mut BTreeMap<K, V>, key: K, value: V) -> Option<V> {
        let before = *map.entry(key).or_insert(value);
        (before != value).then_some(before)
    }
}

impl Checker {
    pub fn new() -> Self {
        Self { began: Instant::now(), inner: Mutex::default(), failed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::needless_pass_by_value, reason = "every caller has just made it")]
    pub fn violation(&self, what: String) {
        self.lock().violate(self.began, &what);
        self.failed.notify_one();
    }

    pub fn trace(&self, what: &str) {
        let line = format!("{:>8.3} s  {what}", self.began.elapsed().as_secs_f64());
        self.lock().trace.push(line);
    }

    pub fn count(&self, count: impl FnOnce(&mut Coverage)) {
        count(&mut self.lock().coverage);
    }

    /// Violations, what the steps came to, and what was seen.
    pub fn verdict(&self) -> (Vec<String>, Vec<String>, Coverage) {
        let inner = self.lock();
        let coverage = Coverage { terms: inner.leaders.len().try_into().unwrap(), ..inner.coverage };
        (inner.violations.clone(), inner.trace.clone(), coverage)
    }

    /// The digest of what was proposed, as it stands in an entry.
    pub fn command_digest(body: &[u8]) -> u64 {
        digest(&[&[&[KIND_COMMAND], body].concat()])
    }

    /// Log matching: an index and a term name one entry, and one entry before it. `previous` is the term
    /// of the entry before the first, where it is there.
    pub fn appended(&self, node: u64, mut previous: Option<u64>, entries: &[Entry]) {
        for entry in entries {
            let Entry { at, digest, committed, .. } = entry;
            let mut inner = self.lock();
            inner.quorum.appended(entry);
            let before = inner.commits.insert(node, *committed).unwrap_or(0);
            if *committed < before || (at.index > 0 && *committed >= at.index) {
                let what = format!("node {node}: commit {committed} after {before}, in entry {}", at.index);
                inner.violate(self.began, &what);
                self.failed.notify_one();
            }
            let known = inner.entries.entry((at.index, at.term)).or_insert((previous, *digest));
            let (known_previous, known_digest) = *known;
            known.0 = known.0.or(previous);
            let other = known_previous.is_some() && previous.is_some() && known_previous != previous;
            if known_digest != *digest || other {
                let (index, term) = (at.index, at.term);
                let what = format!("log matching: node {node} has another entry {index} of term {term}");
                inner.violate(self.began, &what);
                self.failed.notify_one();
            }
            previous = Some(at.term);
        }
    }

    /// Entries are on disk.
    pub fn durable(&self, node: u64, entries: &[Entry]) {
        self.lock().quorum.durable(node, entries);
    }

    /// The state is on disk.
    pub fn synced(&self, node: u64, index: u64) {
        self.lock().quorum.synced(node, index);
    }

    /// A log loses all after `index`.
    pub fn truncated(&self, node: u64, index: u64, applied: u64) {
        self.lock().quorum.truncated(node, index);
        if index < applied {
            self.violation(format!("node {node}: truncates after {index}, applied {applied}"));
        }
    }

    /// A node that ended has this log, and the state at `found`, `synced` of which must have survived.
    pub fn survived(&self, node: u64, log: &[Entry], synced: u64, found: u64) {
        {
            let mut inner = self.lock();
            inner.quorum.restarted(node, log, found);
            inner.commits.remove(&node);
        }
        if found < synced {
            self.violation(format!("node {node}: synced state went back from {synced} to {found}"));
        }
    }

    /// A replica that is no member was destroyed by order: what the node promised and had counts no more, and
    /// another replica there begins from nothing.
    pub fn destroyed(&self, node: u64) {
        let mut inner = self.lock();
        inner.coverage.comebacks += 1;
        inner.quorum.restarted(node, &[], 0);
        inner.commits.remove(&node);
        inner.terms.remove(&node);
        inner.votes.retain(|(voter, _), _| *voter != node);
        inner.seen.retain(|(seen, _), _| *seen != node);
    }

    pub fn purged(&self, node: u64, index: u64, synced: u64) {
        self.count(|coverage| coverage.purges += 1);
        if index > synced {
            self.violation(format!("node {node}: purges through {index}, state synced to {synced}"));
        }
    }

    /// A vote is on disk: terms go up, one vote a term, one winner a term, and the winner has all
    /// that was committed before.
    pub fn voted(&self, node: u64, vote: VoteFacts, applied: u64, term_at: impl Fn(u64) -> Option<u64>) {
        let VoteFacts { term, node: candidate, won } = vote;
        let mut found = Vec::new();
        let mut inner = self.lock();
        let newest = inner.terms.insert(node, term).unwrap_or(0);
        if newest > term {
            found.push(format!("node {node}: term {term} after term {newest}"));
        }
        // Who lost a term may have voted for itself, and then follows the winner.
        if !won && let Some(other) = Inner::agree(&mut inner.votes, (node, term), candidate) {
            found.push(format!("node {node}: votes for {candidate} and {other} in term {term}"));
        }
        if won && let Some(other) = Inner::agree(&mut inner.leaders, term, candidate) {
            found.push(format!("election safety: {candidate} and {other} won term {term}"));
        }
        if won && candidate == node {
            let older = inner.committed.iter().rev().find(|(_, (committed_in, _))| *committed_in < term);
            if let Some((index, (committed_in, _))) = older
                && *index > applied
                && term_at(*index) != Some(*committed_in)
            {
                found.push(format!("leader completeness: {node} leads term {term} without entry {index}"));
            }
        }
        drop(inner);
        for what in found {
            self.violation(what);
        }
    }

    /// A replica says that it leads.
    pub fn leads(&self, node: u64, term: u64) {
        let other = Inner::agree(&mut self.lock().leaders, term, node);
        if let Some(other) = other {
            self.violation(format!("election safety: {node} and {other} lead term {term}"));
        }
    }

    /// A command was applied: the same everywhere.
    pub fn ordered(&self, node: u64, index: u64, chain: u64) {
        let other = Inner::agree(&mut self.lock().orders, index, chain);
        if other.is_some() {
            self.violation(format!("node {node}: applying {index} came to something else than elsewhere"));
        }
    }

    /// A batch moved a state from entry `before` to `at`. `entries` are those between in this node's
    /// log; `None` if it has not all of them, and a snapshot was installed.
    pub fn applied(&self, node: u64, before: u64, at: LogPosition, entries: Option<&[Entry]>, rows: u64) {
        let mut found = Vec::new();
        if at.index <= before && before > 0 {
            found.push(format!("node {node}: applied {} after {before}", at.index));
        }
        let mut inner = self.lock();
        if entries.is_none() {
            inner.coverage.installs += 1;
        }
        for Entry { at: LogPosition { term, index }, digest, .. } in entries.into_iter().flatten() {
            let (term, index, entry) = (*term, *index, (*term, *digest));
            if !inner.committed.contains_key(&index) && !inner.quorum.holds(node, index, term) {
                found.push(format!(
                    "node {node}: applied {index} of term {term}, which no quorum has on disk"
                ));
            }
            if let Some(other) = Inner::agree(&mut inner.committed, index, entry) {
                found.push(format!("node {node}: committed entry {index} was {other:?}, is {entry:?}"));
            }
        }
        match inner.committed.get(&at.index) {
            Some((term, _)) if *term == at.term => {}
            other => found.push(format!("node {node}: applied {at:?}, committed there is {other:?}")),
        }
        if Inner::agree(&mut inner.rows, at.index, rows).is_some() {
            found.push(format!("node {node}: another state at {}", at.index));
        }
        drop(inner);
        for what in found {
            self.violation(what);
        }
    }

    /// A replica was looked at: terms and commits go up in one start, and its indexes are in order.
    pub fn looked(&self, node: u64, boots: u64, now: Marks) {
        let before = self.lock().seen.insert((node, boots), now).unwrap_or_default();
        if now.term < before.term || now.committed < before.committed {
            self.violation(format!("node {node}: term or commit went back: {before:?}, {now:?}"));
        }
        let Marks { purged, synced, applied, committed, last, .. } = now;
        if ![purged, synced, applied, committed.max(applied), last].is_sorted() {
            let what = "not purged <= snapshot <= applied <= committed <= last";
            self.violation(format!("node {node}: {what}: {now:?}"));
        }
    }

    /// The digest of the entry committed at `index`.
    pub fn committed(&self, index: u64) -> Option<u64> {
        self.lock().committed.get(&index).map(|(_, digest)| *digest)
    }

    /// How many entries hold a command's digest; exactly one if it was never proposed twice.
    pub fn times_committed(&self, digests: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
        let mut times = BTreeMap::new();
        for (_, digest) in self.lock().committed.values() {
            if digests.contains(digest) {
                *times.entry(*digest).or_default() += 1;
            }
        }
        times
    }
}
