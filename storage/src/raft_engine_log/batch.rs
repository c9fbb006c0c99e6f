//! What each change means to raft-engine.
//!
//! raft-engine cuts a log's end only by overwriting it, and may bring back compacted entries after
//! old files were dropped. So two markers are kept beside the metadata, in the same batch: how far
//! the log is purged, and after which index it is cut. What raft-engine holds outside of these does
//! not count.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_engine::{Command, LogBatch, MessageExt};
use raft_proto::eraftpb::Entry;

use crate::GroupId;

const META_PREFIX: &[u8] = b"m/";
const META_END: &[u8] = b"m0";
const PURGED: &[u8] = b"purged";
const CUT: &[u8] = b"cut";

/// Tells raft-engine where an entry keeps its index.
pub(super) struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// Which of the entries that raft-engine holds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// None of them.
    All,
    /// Those up to this index.
    After(u64),
}

/// A group as raft-engine has it, with its markers. The writer's own; ahead of the disk while a batch
/// is being built.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// First and last index that raft-engine holds.
    span: Option<(u64, u64)>,
    purged: Option<u64>,
    cut: Option<Cut>,
    meta: BTreeMap<String, Vec<u8>>,
}

impl Stored {
    /// Reads a group back; the error names what does not hold.
    pub(super) fn load(engine: &super::Engine, id: u64) -> Result<Self, String> {
        let mut meta = BTreeMap::new();
        let mut bad_key = None;
        let scanned = engine.scan_raw_messages(id, Some(META_PREFIX), Some(META_END), false, |key, value| {
            match key.strip_prefix(META_PREFIX).map(std::str::from_utf8) {
                Some(Ok(key)) => drop(meta.insert(key.to_owned(), value.to_vec())),
                Some(Err(_)) | None => bad_key = Some(key.to_vec()),
            }
            true
        });
        scanned.map_err(|e| e.to_string())?;
        if let Some(key) = bad_key {
            return Err(format!("group {id} has metadata under {key:?}"));
        }
        let number = |bytes: &[u8]| {
            let bytes = bytes.try_into().map_err(|_| format!("group {id} has a malformed marker"))?;
            Ok::<u64, String>(u64::from_le_bytes(bytes))
        };
        let purged = engine.get(id, PURGED).map(|bytes| number(&bytes)).transpose()?;
        let cut = match engine.get(id, CUT) {
            None => None,
            Some(bytes) if bytes.is_empty() => Some(Cut::All),
            Some(bytes) => Some(Cut::After(number(&bytes)?)),
        };
        let span = engine.first_index(id).zip(engine.last_index(id));
        Ok(Self { span, purged, cut, meta })
    }

    /// First and last index that count.
    pub(super) fn bounds(&self) -> Option<(u64, u64)> {
        let (first, last) = self.span?;
        let first = self.purged.map_or(first, |purged| first.max(purged.saturating_add(1)));
        let last = match self.cut {
            None => last,
            Some(Cut::All) => return None,
            Some(Cut::After(cut)) => last.min(cut),
        };
        (first <= last).then_some((first, last))
    }

    pub(super) fn meta(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.meta
    }

    pub(super) fn append(
        &mut self,
        id: GroupId,
        entries: Vec<(u64, Bytes)>,
        batch: &mut LogBatch,
    ) -> raft_engine::Result<()> {
        let (Some((start, _)), Some((end, _))) = (entries.first(), entries.last()) else { return Ok(()) };
        let (start, end) = (*start, *end);
        if self.bounds().is_none() {
            self.restart(id, start, batch)?;
        }
        if self.cut.take().is_some() {
            batch.delete(id.0, CUT.to_vec());
        }
        let entry = |(index, data)| Entry { index, data, ..Entry::default() };
        let entries: Vec<Entry> = entries.into_iter().map(entry).collect();
        batch.add_entries::<Entries>(id.0, &entries)?;
        self.span = Some((self.span.map_or(start, |(first, _)| first), end));
        Ok(())
    }

    /// Makes room for a log that begins at `start`, where none counts now.
    fn restart(&mut self, id: GroupId, start: u64, batch: &mut LogBatch) -> raft_engine::Result<()> {
        if self.span.is_some_and(|(first, _)| first != start) {
            // raft-engine refuses holes and what it compacted, and would keep what was cut.
            batch.add_command(id.0, Command::Clean);
            for (key, value) in &self.meta {
                batch.put(id.0, meta_key(key), value.clone())?;
            }
            self.span = None;
            self.cut = None;
            self.purged = start.checked_sub(1);
            if let Some(purged) = self.purged {
                batch.put(id.0, PURGED.to_vec(), purged.to_le_bytes().to_vec())?;
            }
        } else if self.purged.is_some_and(|purged| start <= purged) {
            self.purged = start.checked_sub(1);
            match self.purged {
                Some(purged) => batch.put(id.0, PURGED.to_vec(), purged.to_le_bytes().to_vec())?,
                None => batch.delete(id.0, PURGED.to_vec()),
            }
        }
        Ok(())
    }

    pub(super) fn truncate_after(
        &mut self,
        id: GroupId,
        index: Option<u64>,
        batch: &mut LogBatch,
    ) -> raft_engine::Result<()> {
        let cuts = self.bounds().is_some_and(|(_, last)| index.is_none_or(|index| index < last));
        if cuts {
            self.cut = Some(index.map_or(Cut::All, Cut::After));
            let marker = index.map(|index| index.to_le_bytes().to_vec()).unwrap_or_default();
            batch.put(id.0, CUT.to_vec(), marker)?;
        }
        Ok(())
    }

    pub(super) fn purge_through(
        &mut self,
        id: GroupId,
        index: u64,
        batch: &mut LogBatch,
    ) -> raft_engine::Result<()> {
        if self.purged.is_some_and(|purged| index <= purged) {
            return Ok(());
        }
        self.purged = Some(index);
        batch.put(id.0, PURGED.to_vec(), index.to_le_bytes().to_vec())?;
        batch.add_command(id.0, Command::Compact { index: index.saturating_add(1) });
        self.span =
            self.span.filter(|(_, last)| *last > index).map(|(first, last)| (first.max(index + 1), last));
        Ok(())
    }

    pub(super) fn put_meta(
        &mut self,
        id: GroupId,
        key: &str,
        value: Vec<u8>,
        batch: &mut LogBatch,
    ) -> raft_engine::Result<()> {
        batch.put(id.0, meta_key(key), value.clone())?;
        self.meta.insert(key.to_owned(), value);
        Ok(())
    }
}

fn meta_key(key: &str) -> Vec<u8> {
    [META_PREFIX, key.as_bytes()].concat()
}
