//! How far each log file was synced, kept in a record beside them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::LogError;
use crate::synced_record::SyncedRecord;

/// Every so many syncs of log files the record is synced too: after power loss it may be this many
/// syncs behind, never ahead.
const SYNCS_PER_RECORD_SYNC: u32 = 128;
const FORMAT: u8 = 1;
const FILE_BYTES: usize = 17;

/// A log file's name: queue and sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileName {
    is_rewrite: bool,
    sequence: u64,
}

impl FileName {
    /// `None` for what is not a live log file.
    fn of(path: &Path) -> Option<Self> {
        let (number, suffix) = path.file_name()?.to_str()?.split_once('.')?;
        let is_rewrite = match suffix {
            "raftlog" => false,
            "rewrite" => true,
            _ => return None,
        };
        Some(Self { is_rewrite, sequence: number.parse().ok()? })
    }

    fn path(self, directory: &Path) -> PathBuf {
        let suffix = if self.is_rewrite { "rewrite" } else { "raftlog" };
        directory.join(format!("{:016}.{suffix}", self.sequence))
    }
}

/// How far each log file is known to be durable.
pub(super) struct SyncedLengths {
    inner: Mutex<Inner>,
}

struct Inner {
    record: SyncedRecord,
    lengths: BTreeMap<FileName, u64>,
    unsynced_writes: u32,
    damage: Option<LogError>,
}

impl SyncedLengths {
    /// Takes over a record's payload; an error says what is wrong with it.
    pub(super) fn new(record: SyncedRecord, payload: &[u8]) -> Result<Self, String> {
        let lengths = decode(payload)?;
        Ok(Self { inner: Mutex::new(Inner { record, lengths, unsynced_writes: 0, damage: None }) })
    }

    /// The payload of a directory without log files.
    pub(super) fn empty_payload() -> Vec<u8> {
        encode(&BTreeMap::new())
    }

    /// Checks that every recorded file is in `directory` at its recorded length, and makes all log
    /// files durable as they are: what an earlier process wrote without a sync will be read as there.
    pub(super) fn check_files(&self, directory: &Path) -> Result<(), LogError> {
        for (name, length) in &self.lock().lengths {
            let file = name.path(directory);
            let found = match std::fs::metadata(&file) {
                Ok(metadata) => metadata.len(),
                Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
                Err(e) => return Err(LogError::Io { file, reason: format!("stat: {e}") }),
            };
            if found < *length {
                let reason = format!("the file ends here, but {length} bytes were synced");
                return Err(LogError::Corrupt { file, offset: found, reason });
            }
        }
        let sync = || -> io::Result<()> {
            for entry in std::fs::read_dir(directory)? {
                let path = entry?.path();
                if FileName::of(&path).is_some() {
                    std::fs::File::open(path)?.sync_data()?;
                }
            }
            crate::directory::sync_directory(directory)
        };
        sync().map_err(|e| LogError::Io { file: directory.to_path_buf(), reason: format!("sync: {e}") })
    }

    /// The first damage met, once.
    pub(super) fn take_damage(&self) -> Option<LogError> {
        self.lock().damage.take()
    }

    /// Makes the record itself durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.lock().store(true)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses `length` for `path` when more was synced.
    pub(super) fn check_length(&self, path: &Path, length: u64) -> io::Result<()> {
        let mut inner = self.lock();
        let synced = FileName::of(path).and_then(|name| inner.lengths.get(&name)).copied().unwrap_or(0);
        if length >= synced {
            return Ok(());
        }
        let reason = format!("what is here does not hold, but {synced} bytes were synced");
        let damage = LogError::Corrupt { file: path.to_path_buf(), offset: length, reason };
        let text = damage.to_string();
        inner.damage.get_or_insert(damage);
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// `path` is durable up to `length` now.
    pub(super) fn advance(&self, path: &Path, length: u64) -> io::Result<()> {
        let Some(name) = FileName::of(path) else { return Ok(()) };
        let mut inner = self.lock();
        let before = inner.lengths.insert(name, length);
        if before == Some(length) {
            return Ok(());
        }
        inner.unsynced_writes += 1;
        // A new file means that the one before it is complete: its length is worth a sync.
        let sync = before.is_none() || inner.unsynced_writes >= SYNCS_PER_RECORD_SYNC;
        inner.store(sync)
    }

    /// `path` is about to go.
    pub(super) fn forget(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        match FileName::of(path).and_then(|name| inner.lengths.remove(&name)) {
            // Durable before the removal, or a missing file would look like damage.
            Some(_) => inner.store(true),
            None => Ok(()),
        }
    }
}

impl Inner {
    fn store(&mut self, sync: bool) -> io::Result<()> {
        let payload = encode(&self.lengths);
        self.record.write(&payload, sync)?;
        if sync {
            self.unsynced_writes = 0;
        }
        Ok(())
    }
}

fn encode(lengths: &BTreeMap<FileName, u64>) -> Vec<u8> {
    let mut out = vec![FORMAT];
    for (name, length) in lengths {
        out.push(u8::from(name.is_rewrite));
        out.extend_from_slice(&name.sequence.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
    }
    out
}

fn decode(payload: &[u8]) -> Result<BTreeMap<FileName, u64>, String> {
    let Some((&FORMAT, body)) = payload.split_first() else {
        return Err("the record of synced lengths has an unknown format".to_owned());
    };
    let (files, rest) = body.as_chunks::<FILE_BYTES>();
    if !rest.is_empty() {
        return Err("the record of synced lengths has the wrong length".to_owned());
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let file = |f: &[u8; FILE_BYTES]| {
        (FileName { is_rewrite: f[0] == 1, sequence: number(&f[1..9]) }, number(&f[9..]))
    };
    Ok(files.iter().map(file).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_record_holds_more_files_than_fit_its_first_slots() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SYNCED");
        let record = SyncedRecord::create(&path, &SyncedLengths::empty_payload()).unwrap();
        let synced = SyncedLengths::new(record, &SyncedLengths::empty_payload()).unwrap();
        // 80 GiB of live log in files of 8 MiB.
        let name = |sequence| FileName { is_rewrite: false, sequence };
        synced.lock().lengths.extend((1..10_000).map(|sequence| (name(sequence), 8 << 20)));
        let newest = dir.path().join(format!("{:016}.raftlog", 10_000));
        for length in [4_096, 8_192, 12_288] {
            synced.advance(&newest, length).unwrap();
        }
        let (record, payload) = SyncedRecord::open(&path).unwrap();
        let reopened = SyncedLengths::new(record, &payload).unwrap();
        assert_eq!(reopened.lock().lengths, synced.lock().lengths);
        assert_eq!(reopened.lock().lengths.get(&name(10_000)), Some(&12_288));
    }
}
