//! How keys and values lie in the tree.
//!
//! | row | key | value |
//! | --- | --- | --- |
//! | tally | `00` | format, CRC32C, commits, rows, digest, next chunk id |
//! | head | `01` user key | format, CRC32C of key and whole value, length, chunk id, first piece |
//! | chunk | `02` chunk id, number | a further piece |
//!
//! Heads keep the order of the user's keys, and a scan of them never meets a chunk. Chunk ids are
//! never reused, so that a piece cannot be taken for another value's.

use crate::engine::KEY_BYTES_MAX;
use crate::views::history::PREFIX_BYTES;

/// Bytes of a value in one row. A leaf holds 17 rows when it splits, and some more between two
/// merges; 24 rows of the longest key and a full piece stay below the 128 KiB from which sled
/// 0.34.7 moves a frame to `blobs/`, which it never syncs (segment size / 4, `pagecache/logger.rs`).
pub(super) const PIECE_BYTES: usize = 4000;

const _: () =
    assert!(24 * (KEY_BYTES_MAX + PREFIX_BYTES + HEAD_BYTES + PIECE_BYTES + 24) < 512 * 1024 / 4 - 64);

pub(super) const FORMAT: u8 = 1;
pub(super) const TALLY_KEY: [u8; 1] = [0];
const HEAD_TAG: u8 = 1;
const CHUNK_TAG: u8 = 2;
const HEAD_BYTES: usize = 1 + 4 + 8 + 8;

/// The key of the head row of `key`.
pub(super) fn head_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(HEAD_TAG);
    out.extend_from_slice(key);
    out
}

/// The user's key of a head row.
pub(super) fn user_key(row: &[u8]) -> Option<&[u8]> {
    row.strip_prefix(&[HEAD_TAG])
}

/// The key of piece `number` (from 1) of the value that has `chunk_id`.
pub(super) fn chunk_key(chunk_id: u64, number: u32) -> [u8; 13] {
    let mut out = [0; 13];
    out[0] = CHUNK_TAG;
    out[1..9].copy_from_slice(&chunk_id.to_be_bytes());
    out[9..].copy_from_slice(&number.to_be_bytes());
    out
}

/// What a head row says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub crc: u32,
    pub value_bytes: u64,
    /// 0 when the value has one piece.
    pub chunk_id: u64,
}

impl Head {
    /// The head of `value` under `key`, and its first piece.
    pub(super) fn of<'v>(key: &[u8], value: &'v [u8], chunk_id: u64) -> (Self, &'v [u8]) {
        let value_bytes = value.len() as u64;
        let head = Self { crc: value_crc(key, value_bytes, [value].into_iter()), value_bytes, chunk_id };
        (head, &value[..value.len().min(PIECE_BYTES)])
    }

    pub(super) fn encode(&self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + piece.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.value_bytes.to_le_bytes());
        out.extend_from_slice(&self.chunk_id.to_le_bytes());
        out.extend_from_slice(piece);
        out
    }

    /// The head and the first piece; the checksum is not checked yet.
    pub(super) fn decode(row: &[u8]) -> Result<(Self, &[u8]), String> {
        let short = || format!("{} bytes are no value", row.len());
        let (&format, rest) = row.split_first().ok_or_else(short)?;
        if format != FORMAT {
            return Err(format!("value format {format} is unknown"));
        }
        let (crc, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (value_bytes, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (chunk_id, piece) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let head = Self {
            crc: u32::from_le_bytes(*crc),
            value_bytes: u64::from_le_bytes(*value_bytes),
            chunk_id: u64::from_le_bytes(*chunk_id),
        };
        let first = head.value_bytes.min(PIECE_BYTES as u64);
        if piece.len() as u64 != first || (head.chunk_id == 0) != (head.value_bytes == first) {
            return Err("its length does not hold".to_owned());
        }
        Ok((head, piece))
    }

    /// How many chunk rows follow the head.
    pub(super) fn chunks(&self) -> u32 {
        let pieces = self.value_bytes.div_ceil(PIECE_BYTES as u64);
        u32::try_from(pieces.saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Whether `value` is what was stored under `key`.
    pub(super) fn verify(&self, key: &[u8], value: &[u8]) -> bool {
        value.len() as u64 == self.value_bytes
            && value_crc(key, self.value_bytes, [value].into_iter()) == self.crc
    }

    /// This row's share of the digest: a sum of these does not depend on order, so that it can be
    /// kept up with each write.
    pub(super) fn share(&self, key: &[u8]) -> u64 {
        mix(u64::from(crc32c::crc32c(key)) << 32 | u64::from(self.crc))
    }
}

fn value_crc<'v>(key: &[u8], value_bytes: u64, pieces: impl Iterator<Item = &'v [u8]>) -> u32 {
    let start = crc32c::crc32c_append(crc32c::crc32c(key), &value_bytes.to_le_bytes());
    pieces.fold(start, crc32c::crc32c_append)
}

/// The finaliser of SplitMix64: every bit of the input moves half of the output.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Written in every batch: what the tree must hold if it is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Batches since the directory was made.
    pub commits: u64,
    /// Head rows.
    pub rows: u64,
    /// Wrapping sum of every head's share.
    pub digest: u64,
    /// Chunk id for the next long value; 0 is none.
    pub next_chunk_id: u64,
}

impl Tally {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT, 0, 0, 0, 0];
        for field in [self.commits, self.rows, self.digest, self.next_chunk_id] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[5..]);
        out[1..5].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, String> {
        let (&format, rest) = row.split_first().ok_or("the tally is empty")?;
        if format != FORMAT {
            return Err(format!("tally format {format} is unknown"));
        }
        let (crc, body) = rest.split_first_chunk::<4>().ok_or("the tally is short")?;
        if crc32c::crc32c(body).to_le_bytes() != *crc {
            return Err("the tally's checksum does not hold".to_owned());
        }
        let fields: Vec<u64> = body.as_chunks::<8>().0.iter().map(|f| u64::from_le_bytes(*f)).collect();
        match fields.as_slice() {
            &[commits, rows, digest, next_chunk_id] => Ok(Self { commits, rows, digest, next_chunk_id }),
            _ => Err("the tally has the wrong length".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_head_round_trips_and_notices_any_changed_byte() {
        let (head, piece) = Head::of(b"key", b"a value", 0);
        let row = head.encode(piece);
        for position in 0..row.len() {
            let mut damaged = row.clone();
            damaged[position] ^= 0x10;
            let whole = Head::decode(&damaged).is_ok_and(|(h, piece)| h.verify(b"key", piece));
            assert!(!whole, "byte {position}");
        }
        assert!(Head::decode(&row).unwrap().0.verify(b"key", b"a value"));
        assert!(!head.verify(b"kez", b"a value"));
    }

    #[test]
    fn a_tally_round_trips_and_notices_any_changed_byte() {
        let tally = Tally { commits: 3, rows: 2, digest: 77, next_chunk_id: 9 };
        let row = tally.encode();
        assert_eq!(Tally::decode(&row), Ok(tally));
        for position in 0..row.len() {
            let mut damaged = row.clone();
            damaged[position] ^= 1;
            assert!(Tally::decode(&damaged).is_err(), "byte {position}");
        }
        assert!(Tally::decode(&row[..row.len() - 8]).is_err());
    }
}
