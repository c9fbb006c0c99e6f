//! Small values beside a group's log: format byte 1, then little-endian fields.

use domicile_storage::codec::{self, CodecError};
use openraft::vote::RaftLeaderId;

use crate::type_config::{LogId, RaftVote, log_id, term_of};

/// The vote: term, node, committed.
pub(crate) const VOTE: &str = "vote";
/// The last purged log id: term, index.
pub(crate) const PURGED: &str = "purged";
/// The committed log id at the last clean stop: term, index. Entries carry it otherwise.
pub(crate) const COMMITTED: &str = "committed";
/// The partition's incarnation.
pub(crate) const INCARNATION: &str = "incarnation";

/// All of them.
pub(crate) const KEYS: [&str; 4] = [VOTE, PURGED, COMMITTED, INCARNATION];

const FORMAT: u8 = 1;

#[derive(bincode::Encode, bincode::Decode)]
struct StoredVote {
    term: u64,
    node: u64,
    committed: bool,
}

#[derive(bincode::Encode, bincode::Decode)]
struct StoredLogId {
    term: u64,
    index: u64,
}

pub(crate) fn encode_vote(vote: &RaftVote) -> Result<Vec<u8>, CodecError> {
    let node = *vote.leader_id.node_id();
    codec::encode_fixed(FORMAT, &StoredVote { term: vote.leader_id.term, node, committed: vote.committed })
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<RaftVote, CodecError> {
    let (_, body) = codec::split_format(bytes, &[FORMAT])?;
    let StoredVote { term, node, committed } = codec::decode_fixed(body)?;
    Ok(if committed { RaftVote::new_committed(term, node) } else { RaftVote::new(term, node) })
}

pub(crate) fn encode_log_id(id: &LogId) -> Result<Vec<u8>, CodecError> {
    codec::encode_fixed(FORMAT, &StoredLogId { term: term_of(id), index: id.index() })
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, CodecError> {
    let (_, body) = codec::split_format(bytes, &[FORMAT])?;
    let StoredLogId { term, index } = codec::decode_fixed(body)?;
    Ok(log_id(term, index))
}

pub(crate) fn encode_number(number: u64) -> Result<Vec<u8>, CodecError> {
    codec::encode_fixed(FORMAT, &number)
}

pub(crate) fn decode_number(bytes: &[u8]) -> Result<u64, CodecError> {
    let (_, body) = codec::split_format(bytes, &[FORMAT])?;
    codec::decode_fixed(body)
}
