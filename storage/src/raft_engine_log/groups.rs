//! What readers see: every group's bounds, metadata and latest entries, ahead of the writer.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::log_engine::check_contiguous;
use crate::{GroupId, LogBounds, LogEntry, LogError};

/// One group as its callers left it, synced or not.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    /// A suffix of the log without holes. Holds at least everything that raft-engine lacks.
    recent: VecDeque<(u64, Bytes)>,
    /// raft-engine holds the log through this index, as of this epoch.
    written: Option<u64>,
    /// Counts truncations, so that a write from before one does not count as written after it.
    pub(super) epoch: u64,
    pub(super) meta: BTreeMap<String, Vec<u8>>,
}

/// Where the next entries of a read come from.
pub(super) enum Source {
    Nowhere,
    Memory(Vec<LogEntry>),
    /// raft-engine has them from `start` up to but excluding `end`.
    Engine {
        start: u64,
        end: u64,
        epoch: u64,
        first: Option<u64>,
    },
}

impl Group {
    /// A group as found on disk.
    pub(super) fn recovered(first: Option<u64>, last: Option<u64>, meta: BTreeMap<String, Vec<u8>>) -> Self {
        Self { first, last, written: last, meta, ..Self::default() }
    }

    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds { first: self.first, last: self.last }
    }

    pub(super) fn is_used(&self) -> bool {
        self.last.is_some() || !self.meta.is_empty()
    }

    /// Takes in entries; returns what the writer is to write and the bytes added.
    pub(super) fn append(
        &mut self,
        id: GroupId,
        entries: Vec<LogEntry>,
    ) -> Result<(Vec<(u64, Bytes)>, usize), LogError> {
        check_contiguous(id, self.last, &entries)?;
        if self.last.is_none() && !entries.is_empty() {
            // An empty log takes any start, also below what was written before.
            self.epoch += 1;
            self.written = None;
        }
        let mut bytes = 0;
        let mut out = Vec::with_capacity(entries.len());
        for LogEntry { index, bytes: body } in entries {
            let body = Bytes::from(body);
            bytes += body.len();
            self.first.get_or_insert(index);
            self.last = Some(index);
            self.recent.push_back((index, body.clone()));
            out.push((index, body));
        }
        Ok((out, bytes))
    }

    /// Drops entries above `index`; returns the bytes freed.
    pub(super) fn truncate_after(&mut self, index: Option<u64>) -> usize {
        self.epoch += 1;
        let keeps = |i: u64| index.is_some_and(|index| i <= index);
        let mut bytes = 0;
        while let Some((_, body)) = self.recent.pop_back_if(|(i, _)| !keeps(*i)) {
            bytes += body.len();
        }
        if self.last.is_some_and(|last| !keeps(last)) {
            self.last = index.filter(|index| self.first.is_some_and(|first| first <= *index));
            if self.last.is_none() {
                self.first = None;
            }
        }
        self.written = self.written.and_then(|written| index.map(|index| written.min(index)));
        bytes
    }

    /// Drops entries up to `index`; returns the bytes freed.
    pub(super) fn purge_through(&mut self, index: u64) -> usize {
        let mut bytes = 0;
        while let Some((_, body)) = self.recent.pop_front_if(|(i, _)| *i <= index) {
            bytes += body.len();
        }
        match self.last {
            Some(last) if last > index => {
                self.first = self.first.map(|first| first.max(index.saturating_add(1)));
            }
            Some(_) | None => (self.first, self.last) = (None, None),
        }
        bytes
    }

    /// The writer wrote through `index` what was queued in `epoch`.
    pub(super) fn mark_written(&mut self, index: u64, epoch: u64) {
        if epoch == self.epoch {
            self.written = Some(index);
        }
    }

    /// Forgets the oldest entries that raft-engine has, until `excess` bytes are freed.
    pub(super) fn evict(&mut self, excess: usize) -> usize {
        let mut bytes = 0;
        while bytes < excess {
            let written = self.written;
            let Some((_, body)) = self.recent.pop_front_if(|(i, _)| written.is_some_and(|w| *i <= w)) else {
                break;
            };
            bytes += body.len();
        }
        bytes
    }

    /// The entries from `start` up to `end`, or where they are. `taken` bytes were read before.
    pub(super) fn source(&self, start: u64, end: u64, taken: Option<usize>, bytes_max: usize) -> Source {
        let (Some(first), Some(last)) = (self.first, self.last) else { return Source::Nowhere };
        let start = start.max(first);
        let end = end.min(last.saturating_add(1));
        if start >= end {
            return Source::Nowhere;
        }
        let recent_from = self.recent.front().map_or(end, |(index, _)| *index);
        if start < recent_from {
            return Source::Engine { start, end: end.min(recent_from), epoch: self.epoch, first: self.first };
        }
        let mut total = taken.unwrap_or(0);
        let mut out = Vec::new();
        let skip = usize::try_from(start - recent_from).unwrap_or(usize::MAX);
        for (index, body) in self.recent.iter().skip(skip).take_while(|(index, _)| *index < end) {
            total += body.len();
            if total > bytes_max && (taken.is_some() || !out.is_empty()) {
                break;
            }
            out.push(LogEntry { index: *index, bytes: body.to_vec() });
        }
        Source::Memory(out)
    }
}
