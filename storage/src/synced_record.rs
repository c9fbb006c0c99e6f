//! A small file beside an engine's own files that remembers how far they were synced.
//!
//! It is what tells damage from a torn tail: what lies below the record was durable once and must be
//! there. The record is written after the sync it tells of, so it never promises too much; it may
//! promise too little after power loss, since only some of its writes are synced themselves.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const SLOT_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 16;

/// Two slots. Unsynced writes go to one, so that the other always holds what the last sync of this
/// file made durable and power loss cannot tear both.
#[derive(Debug)]
pub(crate) struct SyncedRecord {
    file: File,
    generation: u64,
    slot: u64,
}

impl SyncedRecord {
    /// Creates the record, durable but for its directory entry.
    pub(crate) fn create(path: &Path, payload: &[u8]) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
        let mut record = Self { file, generation: 0, slot: 0 };
        record.write(payload, true)?;
        Ok(record)
    }

    /// Opens the record with its newest payload; `InvalidData` when neither slot is whole.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let newest = slots.into_iter().zip(0..).filter_map(|(slot, number)| Some((slot?, number)));
        let Some(((generation, payload), slot)) = newest.max_by_key(|((generation, _), _)| *generation)
        else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no whole slot"));
        };
        // The newest slot may not be synced, the other may be the safe one: sync before reusing it.
        file.sync_data()?;
        Ok((Self { file, generation, slot: 1 - slot }, payload))
    }

    /// Replaces the payload, durably if `sync`.
    pub(crate) fn write(&mut self, payload: &[u8], sync: bool) -> io::Result<()> {
        if payload.len() > SLOT_BYTES - HEADER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "record too large"));
        }
        self.generation += 1;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(payload);
        self.file.write_all_at(&bytes, self.slot * SLOT_BYTES as u64)?;
        if sync {
            self.file.sync_data()?;
            self.slot = 1 - self.slot;
        }
        Ok(())
    }
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut bytes = vec![0; SLOT_BYTES];
    let mut read = 0;
    while read < SLOT_BYTES {
        match file.read_at(&mut bytes[read..], slot * SLOT_BYTES as u64 + read as u64)? {
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
        record.file.write_all_at(b"torn", SLOT_BYTES as u64 + 17).unwrap();
        assert_eq!(SyncedRecord::open(&path).unwrap().1, b"synced");
    }

    #[test]
    fn a_record_without_a_whole_slot_is_invalid_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SYNCED");
        std::fs::write(&path, vec![0; 2 * SLOT_BYTES]).unwrap();
        assert_eq!(SyncedRecord::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        std::fs::write(&path, b"").unwrap();
        assert_eq!(SyncedRecord::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
