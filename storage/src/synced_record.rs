//! A small file beside an engine's own files that remembers how far they were synced.
//!
//! It is what tells damage from a torn tail: what lies below the record was durable once and must be
//! there. The record is written after the sync it tells of, so it never promises too much; it may
//! promise too little after power loss, since only some of its writes are synced themselves.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::directory::sync_directory;

/// The smallest slot; a file that was never extended to whole slots has these.
const SLOT_BYTES_MIN: usize = 32 * 1024;
const HEADER_BYTES: usize = 16;

/// Two slots, each half of the file. Unsynced writes go to one, so that the other always holds what
/// the last sync of this file made durable and power loss cannot tear both. A payload that no longer
/// fits moves to a new file with larger slots, put in place by a rename.
#[derive(Debug)]
pub(crate) struct SyncedRecord {
    path: PathBuf,
    file: File,
    slot_bytes: usize,
    generation: u64,
    slot: u64,
}

impl SyncedRecord {
    /// Creates the record, durable but for its directory entry.
    pub(crate) fn create(path: &Path, payload: &[u8]) -> io::Result<Self> {
        let slot_bytes = slot_bytes_for(payload.len());
        let file = create_file(path, slot_bytes)?;
        let mut record = Self { path: path.to_path_buf(), file, slot_bytes, generation: 0, slot: 0 };
        record.write(payload, true)?;
        Ok(record)
    }

    /// Opens the record with its newest payload; `InvalidData` when neither slot is whole.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let half = usize::try_from(file.metadata()?.len().div_ceil(2)).unwrap_or(usize::MAX / 2);
        let slot_bytes = half.clamp(SLOT_BYTES_MIN, usize::MAX / 2).next_power_of_two();
        let slots = [read_slot(&file, 0, slot_bytes)?, read_slot(&file, 1, slot_bytes)?];
        let newest = slots.into_iter().zip(0..).filter_map(|(slot, number)| Some((slot?, number)));
        let Some(((generation, payload), slot)) = newest.max_by_key(|((generation, _), _)| *generation)
        else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no whole slot"));
        };
        // The newest slot may not be synced, the other may be the safe one: sync before reusing it.
        file.sync_data()?;
        Ok((Self { path: path.to_path_buf(), file, slot_bytes, generation, slot: 1 - slot }, payload))
    }

    /// Replaces the payload, durably if `sync` or if the record has to grow for it.
    pub(crate) fn write(&mut self, payload: &[u8], sync: bool) -> io::Result<()> {
        self.generation += 1;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        bytes.extend_from_slice(&length.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(payload);
        if bytes.len() > self.slot_bytes {
            return self.grow(&bytes);
        }
        self.file.write_all_at(&bytes, self.slot * self.slot_bytes as u64)?;
        if sync {
            self.file.sync_data()?;
            self.slot = 1 - self.slot;
        }
        Ok(())
    }

    /// Puts a file with larger slots, `bytes` in the first, in place of this one.
    fn grow(&mut self, bytes: &[u8]) -> io::Result<()> {
        let slot_bytes = slot_bytes_for(bytes.len());
        let new = self.path.with_extension("new");
        let file = create_file(&new, slot_bytes)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        if let Some(parent) = self.path.parent() {
            sync_directory(parent)?;
        }
        (self.file, self.slot_bytes, self.slot) = (file, slot_bytes, 1);
        Ok(())
    }
}

/// Room for a payload and for twice as much again, so that growing stays rare.
fn slot_bytes_for(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..=16_384 => SLOT_BYTES_MIN,
        larger => larger.saturating_add(HEADER_BYTES).saturating_mul(2).next_power_of_two(),
    }
}

/// An empty file as long as its slots: its length tells [`SyncedRecord::open`] where they are.
fn create_file(path: &Path, slot_bytes: usize) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
    file.set_len(2 * slot_bytes as u64)?;
    Ok(file)
}

fn read_slot(file: &File, slot: u64, slot_bytes: usize) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut bytes = vec![0; slot_bytes];
    let mut read = 0;
    while read < slot_bytes {
        match file.read_at(&mut bytes[read..], slot * slot_bytes as u64 + read as u64)? {
            0 => break,
            n => read += n,
        }
    }
    bytes.truncate(read);
    Ok(parse_slot(&bytes))
}

fn parse_slot(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let (generation, rest_of_header) = header.split_first_chunk::<8>()?;
    let (length, crc) = rest_of_header.split_first_chunk::<4>()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), payload);
    let generation = u64::from_le_bytes(*generation);
    // A hole reads as zeros, whose checksum would hold.
    (generation > 0 && crc == expected.to_le_bytes()).then(|| (generation, payload.to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_newest_payload_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SYNCED");
        let mut record = SyncedRecord::create(&path, b"one").unwrap();
        record.write(b"two", false).unwrap();
        record.write(b"three", false).unwrap();
        drop(record);
        let (mut record, payload) = SyncedRecord::open(&path).unwrap();
        assert_eq!(payload, b"three");
        record.write(b"four", true).unwrap();
        assert_eq!(SyncedRecord::open(&path).unwrap().1, b"four");
    }

    #[test]
    fn a_torn_write_falls_back_to_what_was_synced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SYNCED");
        let mut record = SyncedRecord::create(&path, b"synced").unwrap();
        record.write(b"not synced 1", false).unwrap();
        record.write(b"not synced 2", false).unwrap();
        record.file.write_all_at(b"torn", SLOT_BYTES_MIN as u64 + 17).unwrap();
        assert_eq!(SyncedRecord::open(&path).unwrap().1, b"synced");
    }

    #[test]
    fn a_record_without_a_whole_slot_is_invalid_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SYNCED");
        std::fs::write(&path, vec![0; 2 * SLOT_BYTES_MIN]).unwrap();
        assert_eq!(SyncedRecord::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        std::fs::write(&path, b"").unwrap();
        assert_eq!(SyncedRecord::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_payload_of_any_length_fits_and_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SYNCED");
        let mut record = SyncedRecord::create(&path, b"small").unwrap();
        for length in [10, SLOT_BYTES_MIN, 5, 3 * SLOT_BYTES_MIN, 40 * SLOT_BYTES_MIN, 7] {
            for (byte, sync) in [(1, false), (2, true), (3, false)] {
                let payload = vec![byte; length];
                record.write(&payload, sync).unwrap();
                assert!(SyncedRecord::open(&path).unwrap().1 == payload, "{length} bytes, write {byte}");
            }
            record = SyncedRecord::open(&path).unwrap().0;
        }
    }

    #[test]
    fn a_record_that_has_grown_still_falls_back_to_what_was_synced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SYNCED");
        let mut record = SyncedRecord::create(&path, b"small").unwrap();
        let large = vec![9; 2 * SLOT_BYTES_MIN];
        record.write(&large, false).unwrap();
        record.write(b"not synced", false).unwrap();
        record.file.write_all_at(b"torn", record.slot_bytes as u64 + 17).unwrap();
        assert!(SyncedRecord::open(&path).unwrap().1 == large);
    }
}
