//! A snapshot as chunks of a byte stream (docs/adr/0010).
//!
//! | chunk | body |
//! | --- | --- |
//! | 1 header, first | format 1, [`Header`] in the self-describing encoding |
//! | 2 pairs | `key length u32, key, value length u32, value` again and again, cut anywhere |
//! | 3 end, last | format 1, [`Totals`] in the fixed encoding |
//!
//! Each is `kind u8 | crc32c u32 | body`, little-endian; the checksum covers the chunk's number, kind and body.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use domicile_storage::codec::{self, CodecError};
use domicile_storage::{KEY_BYTES_MAX, Pair};

use super::SnapshotError;
use crate::peer::CHUNK_BYTES_MAX;
use crate::type_config::{LogId, StoredMembership};

const FORMAT: u8 = 1;
const HEADER: u8 = 1;
const PAIRS: u8 = 2;
const END: u8 = 3;
const FRAME_BYTES: usize = 1 + 4;
const BODY_BYTES_MAX: usize = CHUNK_BYTES_MAX - FRAME_BYTES;
/// Longest value taken, in bytes: many times what a proposal can write at once.
const VALUE_BYTES_MAX: usize = 64 << 20;

/// What a snapshot is of.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Header {
    pub(super) partition: u64,
    pub(super) incarnation: u64,
    /// The last entry it holds the effects of.
    pub(super) log_id: LogId,
    pub(super) membership: StoredMembership,
    /// Raft's other replicated values, with their keys.
    #[serde(default)]
    pub(super) raft: Vec<Pair>,
}

/// What must have arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(super) struct Totals {
    pub(super) pairs: u64,
    pub(super) bytes: u64,
    pub(super) digest: [u8; 32],
}

/// Counts pairs as they pass. The digest does not depend on how they are cut into chunks.
pub(super) struct Tally {
    pairs: u64,
    bytes: u64,
    digest: Context,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { pairs: 0, bytes: 0, digest: Context::new(&SHA256) }
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.pairs += 1;
        for part in [key, value] {
            self.bytes = self.bytes.saturating_add(part.len() as u64);
            self.digest.update(&(part.len() as u64).to_le_bytes());
            self.digest.update(part);
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn totals(self) -> Totals {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.finish().as_ref());
        Totals { pairs: self.pairs, bytes: self.bytes, digest }
    }
}

/// A chunk as received.
#[derive(Debug, PartialEq)]
pub(super) enum Chunk<'c> {
    Header(Box<Header>),
    Pairs(&'c [u8]),
    End(Totals),
}

fn checksum(number: u64, kind: u8, body: &[u8]) -> [u8; 4] {
    let start = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &[kind]);
    crc32c::crc32c_append(start, body).to_le_bytes()
}

/// Makes chunks.
#[derive(Default)]
pub(super) struct Packer {
    number: u64,
    body: Vec<u8>,
}

impl Packer {
    fn frame(&mut self, kind: u8, body: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(FRAME_BYTES + body.len());
        out.push(kind);
        out.extend_from_slice(&checksum(self.number, kind, body));
        out.extend_from_slice(body);
        self.number += 1;
        Bytes::from(out)
    }

    pub(super) fn header(&mut self, header: &Header) -> Result<Bytes, SnapshotError> {
        let body = codec::encode_open(FORMAT, header)?;
        if body.len() > BODY_BYTES_MAX {
            return Err(SnapshotError::TooLong(body.len()));
        }
        Ok(self.frame(HEADER, &body))
    }

    /// Adds a pair and hands over each chunk that is full.
    pub(super) fn pair(
        &mut self,
        key: &[u8],
        value: &[u8],
        mut full: impl FnMut(Bytes) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        for part in [key, value] {
            let len = u32::try_from(part.len()).map_err(|_| SnapshotError::TooLong(part.len()))?;
            if part.len() > VALUE_BYTES_MAX {
                return Err(SnapshotError::TooLong(part.len()));
            }
            for mut piece in [&len.to_le_bytes()[..], part] {
                while !piece.is_empty() {
                    let room = (BODY_BYTES_MAX - self.body.len()).min(piece.len());
                    let (now, later) = piece.split_at(room);
                    self.body.extend_from_slice(now);
                    piece = later;
                    if self.body.len() == BODY_BYTES_MAX {
                        full(self.pairs())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn pairs(&mut self) -> Bytes {
        let body = std::mem::take(&mut self.body);
        self.frame(PAIRS, &body)
    }

    /// The last chunks.
    pub(super) fn end(&mut self, totals: &Totals) -> Result<Vec<Bytes>, SnapshotError> {
        let mut out = Vec::new();
        if !self.body.is_empty() {
            out.push(self.pairs());
        }
        let body = codec::encode_fixed(FORMAT, totals)?;
        out.push(self.frame(END, &body));
        Ok(out)
    }
}

/// Takes chunks apart.
#[derive(Default)]
pub(super) struct Unpacker {
    number: u64,
    rest: Vec<u8>,
}

impl Unpacker {
    /// Checks one chunk.
    pub(super) fn open<'c>(&mut self, chunk: &'c [u8]) -> Result<Chunk<'c>, SnapshotError> {
        let malformed = SnapshotError::Malformed;
        let (&kind, rest) = chunk.split_first().ok_or(malformed("an empty chunk"))?;
        let (crc, body) = rest.split_first_chunk::<4>().ok_or(malformed("a short chunk"))?;
        if chunk.len() > CHUNK_BYTES_MAX {
            return Err(malformed("a chunk that is too long"));
        }
        if checksum(self.number, kind, body) != *crc {
            return Err(malformed("checksum"));
        }
        let first = self.number == 0;
        self.number += 1;
        match kind {
            HEADER if first => {
                let (_, body) = codec::split_format(body, &[FORMAT])?;
                Ok(Chunk::Header(Box::new(codec::decode_open(body)?)))
            }
            PAIRS if !first => Ok(Chunk::Pairs(body)),
            END if !first && self.rest.is_empty() => {
                let (_, body) = codec::split_format(body, &[FORMAT])?;
                Ok(Chunk::End(codec::decode_fixed(body)?))
            }
            _ => Err(malformed("a chunk out of place")),
        }
    }

    /// Hands over each pair that is complete. Holds one incomplete pair at most.
    pub(super) fn pairs(
        &mut self,
        body: &[u8],
        mut each: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        self.rest.extend_from_slice(body);
        let mut left = self.rest.as_slice();
        while let Some((key, after)) = part(left, KEY_BYTES_MAX)?
            && let Some((value, after)) = part(after, VALUE_BYTES_MAX)?
        {
            each(key.to_vec(), value.to_vec())?;
            left = after;
        }
        let used = self.rest.len() - left.len();
        self.rest.drain(..used);
        Ok(())
    }
}

/// Bytes and what follows them.
type Split<'b> = (&'b [u8], &'b [u8]);

/// The first length-prefixed bytes, once they are there.
fn part(bytes: &[u8], len_max: usize) -> Result<Option<Split<'_>>, SnapshotError> {
    let Some((len, after)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
    if len > len_max {
        return Err(SnapshotError::TooLong(len));
    }
    Ok(after.split_at_checked(len))
}

impl From<CodecError> for SnapshotError {
    fn from(cause: CodecError) -> Self {
        match cause {
            CodecError::UnknownFormat { .. } => Self::Malformed("unknown format"),
            CodecError::Empty | CodecError::Malformed(_) | CodecError::NotEncodable(_) => {
                Self::Malformed("a value that does not decode")
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use super::*;
    use crate::type_config::log_id;

    fn header() -> Header {
        let raft = vec![(b"\x00settings".to_vec(), vec![1, 2])];
        Header {
            partition: 3,
            incarnation: 2,
            log_id: log_id(4, 9),
            membership: StoredMembership::default(),
            raft,
        }
    }

    fn chunks(pairs: &[Pair]) -> Vec<Bytes> {
        let (mut packer, mut tally) = (Packer::default(), Tally::new());
        let mut out = vec![packer.header(&header()).unwrap()];
        for (key, value) in pairs {
            tally.add(key, value);
            let full = |chunk| {
                out.push(chunk);
                Ok(())
            };
            packer.pair(key, value, full).unwrap();
        }
        out.extend(packer.end(&tally.totals()).unwrap());
        out
    }

    fn read(chunks: &[Bytes]) -> Result<Vec<Pair>, SnapshotError> {
        let (mut unpacker, mut tally, mut pairs) = (Unpacker::default(), Tally::new(), Vec::new());
        let mut end = None;
        for chunk in chunks {
            if end.is_some() {
                return Err(SnapshotError::Malformed("chunks after the end"));
            }
            match unpacker.open(chunk)? {
                Chunk::Header(found) => assert_eq!(*found, header()),
                Chunk::Pairs(body) => unpacker.pairs(body, |key, value| {
                    tally.add(&key, &value);
                    pairs.push((key, value));
                    Ok(())
                })?,
                Chunk::End(totals) => end = Some(totals),
            }
        }
        if end == Some(tally.totals()) { Ok(pairs) } else { Err(SnapshotError::Cut) }
    }

    fn pairs() -> Vec<Pair> {
        let long = |n: usize| (vec![2, u8::try_from(n).unwrap()], vec![7; n * 90_000]);
        (1..=200u8).map(|n| (vec![1, n], vec![n; 9])).chain((0..9).map(long)).collect()
    }

    #[test]
    fn pairs_of_any_length_come_back_from_chunks_within_the_bound() {
        let chunks = chunks(&pairs());
        assert!(chunks.len() > 12 && chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
        assert_eq!(read(&chunks).unwrap(), pairs());
        assert_eq!(read(&self::chunks(&[])).unwrap(), []);
    }

    #[test]
    fn a_chunk_that_is_lost_repeated_swapped_or_changed_is_noticed() {
        let whole = chunks(&pairs());
        for at in 0..whole.len() {
            let mut lost = whole.clone();
            lost.remove(at);
            assert!(read(&lost).is_err(), "lost {at}");
            let mut repeated = whole.clone();
            repeated.insert(at, whole[at].clone());
            assert!(read(&repeated).is_err(), "repeated {at}");
            let mut swapped = whole.clone();
            swapped.swap(at, (at + 1) % whole.len());
            assert!(read(&swapped).is_err(), "swapped {at}");
            assert!(read(&whole[..at]).is_err(), "cut at {at}");
            for byte in [0, 1, 5, whole[at].len() - 1] {
                let (mut changed, mut bytes) = (whole.clone(), whole[at].to_vec());
                bytes[byte] ^= 0x20;
                changed[at] = Bytes::from(bytes);
                assert!(read(&changed).is_err(), "byte {byte} of {at}");
            }
        }
    }

    #[test]
    fn a_length_beyond_the_bounds_is_refused_before_it_is_waited_for() {
        for len in [u32::MAX, u32::try_from(KEY_BYTES_MAX).unwrap() + 1] {
            let refused = Unpacker::default().pairs(&len.to_le_bytes(), |_, _| Ok(()));
            assert!(matches!(refused, Err(SnapshotError::TooLong(_))));
        }
    }
}
