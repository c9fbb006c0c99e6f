//! The newest entries of a group's log, opened, so that applying does not unseal what was just sealed.

use std::collections::VecDeque;

use openraft::EntryPayload;

use crate::type_config::Entry;

/// A contiguous run of entries up to the log's end, bounded in bytes.
#[derive(Default)]
pub(crate) struct EntryCache {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl EntryCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Appends an entry; one that does not follow the last empties the cache first.
    pub(crate) fn push(&mut self, entry: Entry) {
        let follows = self.entries.back().is_none_or(|last| last.log_id.index() + 1 == entry.log_id.index());
        if !follows {
            self.clear();
        }
        self.bytes += size(&entry);
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max && self.drop_first() {}
    }

    /// All entries of `start..end`, if every one is here.
    pub(crate) fn range(&self, start: u64, end: u64) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.log_id.index();
        let from = usize::try_from(start.checked_sub(first)?).ok()?;
        let to = usize::try_from(end.checked_sub(first)?).ok()?;
        if from > to || to > self.entries.len() {
            return None;
        }
        Some(self.entries.range(from..to).cloned().collect())
    }

    /// Forgets every entry above `index`.
    pub(crate) fn truncate_after(&mut self, index: Option<u64>) {
        while self.entries.back().is_some_and(|last| Some(last.log_id.index()) > index) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= size(&entry);
            }
        }
    }

    /// Forgets every entry up to and including `index`.
    pub(crate) fn purge_through(&mut self, index: u64) {
        while self.entries.front().is_some_and(|first| first.log_id.index() <= index) {
            self.drop_first();
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn drop_first(&mut self) -> bool {
        let dropped = self.entries.pop_front();
        self.bytes -= dropped.as_ref().map_or(0, size);
        dropped.is_some()
    }
}

/// What an entry counts for, in bytes.
pub(crate) fn size(entry: &Entry) -> usize {
    // About what an entry occupies beside its bytes.
    64 + match &entry.payload {
        EntryPayload::Normal(command) => command.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(_) => 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::type_config::log_id;

    fn blank(index: u64) -> Entry {
        Entry { log_id: log_id(1, index), payload: EntryPayload::Blank }
    }

    #[test]
    fn a_range_is_given_whole_or_not_at_all() {
        let mut cache = EntryCache::new(64 * 3);
        (0..5).for_each(|i| cache.push(blank(i)));
        assert!(cache.range(1, 4).is_none());
        assert_eq!(cache.range(2, 5).map(|r| r.len()), Some(3));
        assert!(cache.range(3, 6).is_none());
    }

    #[test]
    fn an_entry_after_a_hole_empties_it() {
        let mut cache = EntryCache::new(1 << 20);
        (0..3).for_each(|i| cache.push(blank(i)));
        cache.truncate_after(Some(0));
        cache.push(blank(7));
        assert!(cache.range(0, 1).is_none());
        assert_eq!(cache.range(7, 8).map(|r| r.len()), Some(1));
        cache.purge_through(7);
        assert!(cache.range(7, 8).is_none());
        assert_eq!(cache.bytes, 0);
    }
}
