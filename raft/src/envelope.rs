//! A log entry as bytes: a clear header that binds it to its place, and a sealed body
//! (docs/adr/0004).
//!
//! `format 1 | term u64 | committed u64 | sealed`, little-endian; `committed` is one more than the
//! index known committed when the entry was written, 0 for none. The body, once opened, is
//! `kind u8 | bytes`.

use std::sync::Arc;

use domicile_storage::LogEntry;
use domicile_storage::codec::{self, CodecError};
use openraft::EntryPayload;

use crate::placement::GroupSettings;
use crate::type_config::{Command, Entry, NodeInfo, log_id, term_of};
use crate::{CipherError, EntryCipher, Incarnation, PartitionId};

const FORMAT: u8 = 1;
const MEMBERSHIP_FORMAT: u8 = 1;
const SETTINGS_FORMAT: u8 = 1;
const HEADER_LEN: usize = 17;
const CONTEXT_LEN: usize = 33;

const KIND_BLANK: u8 = 0;
const KIND_COMMAND: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;
const KIND_SETTINGS: u8 = 3;

/// A log entry that does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Shorter than its header, or of an unknown format or kind.
    #[error("log entry {index}: {reason}")]
    Malformed {
        /// The entry's index.
        index: u64,
        /// What did not hold.
        reason: String,
    },
    /// Sealed with another key, or moved from its place.
    #[error("log entry {index}")]
    Sealed {
        /// The entry's index.
        index: u64,
        /// The cipher's refusal.
        #[source]
        source: CipherError,
    },
}

/// What the clear header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) term: u64,
    pub(crate) committed: Option<u64>,
}

/// Seals and opens the entries of one group.
pub(crate) struct Envelopes {
    pub(crate) partition: PartitionId,
    pub(crate) incarnation: Incarnation,
    pub(crate) cipher: Arc<dyn EntryCipher>,
}

impl Envelopes {
    /// What the seal is bound to: an entry of another group, life, term or index does not open.
    fn context(&self, term: u64, index: u64) -> [u8; CONTEXT_LEN] {
        let mut context = [FORMAT; CONTEXT_LEN];
        let fields = [self.partition.0, self.incarnation.0, term, index];
        for (place, field) in context[1..].as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        context
    }

    pub(crate) fn seal(&self, entry: &Entry, committed: Option<u64>) -> Result<LogEntry, EnvelopeError> {
        let (term, index) = (term_of(&entry.log_id), entry.log_id.index());
        let body = encode_body(&entry.payload).map_err(|e| malformed(index, &e))?;
        let mut bytes = Vec::with_capacity(HEADER_LEN + body.len() + 64);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&term.to_le_bytes());
        bytes.extend_from_slice(&committed.map_or(0, |c| c.saturating_add(1)).to_le_bytes());
        bytes.extend_from_slice(&self.cipher.seal(&self.context(term, index), &body));
        Ok(LogEntry { index, bytes })
    }

    pub(crate) fn open(&self, stored: &LogEntry) -> Result<Entry, EnvelopeError> {
        let index = stored.index;
        let (header, sealed) = split(stored)?;
        let body = self
            .cipher
            .open(&self.context(header.term, index), sealed)
            .map_err(|source| EnvelopeError::Sealed { index, source })?;
        let payload = decode_body(&body).map_err(|e| malformed(index, &e))?;
        Ok(Entry { log_id: log_id(header.term, index), payload })
    }
}

/// The header alone, without opening the seal. The term is authenticated only by [`Envelopes::open`].
pub(crate) fn header(stored: &LogEntry) -> Result<Header, EnvelopeError> {
    split(stored).map(|(header, _)| header)
}

fn split(stored: &LogEntry) -> Result<(Header, &[u8]), EnvelopeError> {
    let (_, rest) = codec::split_format(&stored.bytes, &[FORMAT]).map_err(|e| malformed(stored.index, &e))?;
    let short =
        || EnvelopeError::Malformed { index: stored.index, reason: "shorter than its header".to_owned() };
    let (term, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let (committed, sealed) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let header =
        Header { term: u64::from_le_bytes(*term), committed: u64::from_le_bytes(*committed).checked_sub(1) };
    Ok((header, sealed))
}

fn malformed(index: u64, cause: &CodecError) -> EnvelopeError {
    EnvelopeError::Malformed { index, reason: cause.to_string() }
}

pub(crate) fn encode_body(payload: &EntryPayload<Command, u64, NodeInfo>) -> Result<Vec<u8>, CodecError> {
    Ok(match payload {
        EntryPayload::Blank => vec![KIND_BLANK],
        EntryPayload::Normal(Command::Proposal(bytes)) => {
            let mut body = Vec::with_capacity(1 + bytes.len());
            body.push(KIND_COMMAND);
            body.extend_from_slice(bytes);
            body
        }
        EntryPayload::Normal(Command::Settings(settings)) => {
            let mut body = vec![KIND_SETTINGS];
            body.extend(encode_settings(settings)?);
            body
        }
        EntryPayload::Membership(membership) => {
            let mut body = vec![KIND_MEMBERSHIP];
            body.extend(codec::encode_open(MEMBERSHIP_FORMAT, membership)?);
            body
        }
    })
}

pub(crate) fn decode_body(body: &[u8]) -> Result<EntryPayload<Command, u64, NodeInfo>, CodecError> {
    match body.split_first().ok_or(CodecError::Empty)? {
        (&KIND_BLANK, []) => Ok(EntryPayload::Blank),
        (&KIND_COMMAND, bytes) => Ok(EntryPayload::Normal(Command::Proposal(Arc::from(bytes)))),
        (&KIND_SETTINGS, bytes) => {
            decode_settings(bytes).map(|settings| EntryPayload::Normal(Command::Settings(Arc::new(settings))))
        }
        (&KIND_MEMBERSHIP, bytes) => {
            let (_, body) = codec::split_format(bytes, &[MEMBERSHIP_FORMAT])?;
            codec::decode_open(body).map(EntryPayload::Membership)
        }
        (kind, _) => Err(CodecError::Malformed(format!("entry kind {kind}"))),
    }
}

pub(crate) fn encode_settings(settings: &GroupSettings) -> Result<Vec<u8>, CodecError> {
    codec::encode_open(SETTINGS_FORMAT, settings)
}

pub(crate) fn decode_settings(bytes: &[u8]) -> Result<GroupSettings, CodecError> {
    let (_, body) = codec::split_format(bytes, &[SETTINGS_FORMAT])?;
    codec::decode_open(body)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::Membership;

    use super::*;
    use crate::testing::ToyCipher;

    fn envelopes(partition: u64, incarnation: u64, key: u8) -> Envelopes {
        Envelopes {
            partition: PartitionId(partition),
            incarnation: Incarnation(incarnation),
            cipher: Arc::new(ToyCipher::new(key)),
        }
    }

    fn command(term: u64, index: u64) -> Entry {
        Entry {
            log_id: log_id(term, index),
            payload: EntryPayload::Normal(Command::Proposal(Arc::from(&b"canary"[..]))),
        }
    }

    #[test]
    fn every_kind_of_entry_survives_the_round_trip() {
        let envelopes = envelopes(3, 1, 7);
        let nodes: BTreeMap<u64, NodeInfo> =
            BTreeMap::from([(1, NodeInfo::default()), (2, NodeInfo::default())]);
        let membership = Membership::new(vec![BTreeSet::from([1])], nodes).unwrap();
        let settings = Arc::new(GroupSettings::anywhere(crate::TimerProfile::Wide));
        let payloads = [
            EntryPayload::Blank,
            command(0, 0).payload,
            EntryPayload::Normal(Command::Settings(settings)),
            EntryPayload::Membership(membership),
        ];
        for payload in payloads {
            let entry = Entry { log_id: log_id(4, 9), payload };
            let stored = envelopes.seal(&entry, Some(8)).unwrap();
            assert_eq!(envelopes.open(&stored).unwrap(), entry);
            assert_eq!(header(&stored).unwrap(), Header { term: 4, committed: Some(8) });
        }
    }

    #[test]
    fn an_entry_opens_only_in_its_own_group_life_term_and_index() {
        let stored = envelopes(3, 1, 7).seal(&command(4, 9), None).unwrap();
        let moved = LogEntry { index: 10, bytes: stored.bytes.clone() };
        let mut other_term = stored.clone();
        other_term.bytes[1] ^= 1;
        for (who, entry) in [
            (envelopes(2, 1, 7), &stored),
            (envelopes(3, 2, 7), &stored),
            (envelopes(3, 1, 8), &stored),
            (envelopes(3, 1, 7), &moved),
            (envelopes(3, 1, 7), &other_term),
        ] {
            assert!(matches!(who.open(entry), Err(EnvelopeError::Sealed { .. })));
        }
    }

    #[test]
    fn no_cut_of_an_entry_panics() {
        let envelopes = envelopes(3, 1, 7);
        let stored = envelopes.seal(&command(4, 9), None).unwrap();
        for len in 0..stored.bytes.len() {
            let cut = LogEntry { index: 9, bytes: stored.bytes[..len].to_vec() };
            assert!(envelopes.open(&cut).is_err());
        }
    }
}
