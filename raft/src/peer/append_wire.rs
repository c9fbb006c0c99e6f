//! Appends as bytes: the one message that carries log entries.
//!
//! `format 1 | partition u64 | incarnation u64 | vote (term u64, node u64) | previous | committed |
//! count u32 | (term u64 | length u32 | payload)*`, little-endian; a log id is `present u8 | term u64 |
//! index u64`. Indexes follow `previous` without holes, so only the first is implied. A payload is what
//! the log holds once opened; the way there is encrypted by the transport.

use bytes::Buf;
use domicile_storage::codec::CodecError;
use openraft::raft::AppendEntriesRequest;

use super::transport::PeerRefusal;
use super::wire::{GroupKey, WireLogId, malformed, raft_id, wire_id};
use crate::envelope;
use crate::type_config::{Entry, RaftVote, TypeConfig, log_id, term_of};
use crate::{Incarnation, PartitionId};

const FORMAT: u8 = 1;
const HEAD_LEN: usize = 1 + 4 * 8 + 2 * 17 + 4;
const ENTRY_HEAD_LEN: usize = 12;

type Request = AppendEntriesRequest<TypeConfig>;

/// Writes `request` after what `out` holds.
pub(crate) fn encode(out: &mut Vec<u8>, group: GroupKey, request: &Request) -> Result<(), CodecError> {
    out.push(FORMAT);
    let leader = request.vote.leader_id;
    for field in [group.partition.0, group.incarnation.0, leader.term, leader.voted_for] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    put_log_id(out, wire_id(request.prev_log_id.as_ref()));
    put_log_id(out, wire_id(request.leader_commit.as_ref()));
    put_len(out, request.entries.len())?;
    for entry in &request.entries {
        out.extend_from_slice(&term_of(&entry.log_id).to_le_bytes());
        let payload = envelope::encode_body(&entry.payload)?;
        put_len(out, payload.len())?;
        out.extend_from_slice(&payload);
    }
    Ok(())
}

fn put_log_id(out: &mut Vec<u8>, id: Option<WireLogId>) {
    let WireLogId { term, index } = id.unwrap_or(WireLogId { term: 0, index: 0 });
    out.push(u8::from(id.is_some()));
    out.extend_from_slice(&term.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) -> Result<(), CodecError> {
    let len = u32::try_from(len).map_err(|_| CodecError::NotEncodable(format!("{len} bytes")))?;
    out.extend_from_slice(&len.to_le_bytes());
    Ok(())
}

/// The request, checked to be one that a leader could have sent.
pub(crate) fn decode(mut body: &[u8]) -> Result<(GroupKey, Request), PeerRefusal> {
    let refused = |what: &str| PeerRefusal::Malformed(format!("append: {what}"));
    if body.len() < HEAD_LEN {
        return Err(refused("cut short"));
    }
    if body.get_u8() != FORMAT {
        return Err(refused("unknown format"));
    }
    let group =
        GroupKey { partition: PartitionId(body.get_u64_le()), incarnation: Incarnation(body.get_u64_le()) };
    let (term, node) = (body.get_u64_le(), body.get_u64_le());
    let previous = take_log_id(&mut body)?;
    let committed = take_log_id(&mut body)?;
    let count = body.get_u32_le();
    let mut next = previous.map_or(Some(0), |previous| previous.index.checked_add(1));
    let mut last_term = previous.map_or(0, |previous| previous.term);
    if last_term > term {
        return Err(refused("an entry of a later term"));
    }
    let capacity = usize::try_from(count).unwrap_or(0).min(body.len() / ENTRY_HEAD_LEN);
    let mut entries = Vec::with_capacity(capacity);
    for _ in 0..count {
        let index = next.ok_or_else(|| refused("index"))?;
        let entry = take_entry(&mut body, index)?;
        let entry_term = term_of(&entry.log_id);
        if entry_term < last_term || entry_term > term {
            return Err(refused("terms out of order"));
        }
        last_term = entry_term;
        next = index.checked_add(1);
        entries.push(entry);
    }
    if body.has_remaining() {
        return Err(refused("bytes after the end"));
    }
    let request = Request {
        vote: RaftVote::new_committed(term, node),
        prev_log_id: raft_id(previous),
        leader_commit: raft_id(committed),
        entries,
    };
    Ok((group, request))
}

/// The caller checked the length.
fn take_log_id(body: &mut &[u8]) -> Result<Option<WireLogId>, PeerRefusal> {
    let (present, term, index) = (body.get_u8(), body.get_u64_le(), body.get_u64_le());
    match present {
        0 => Ok(None),
        1 => Ok(Some(WireLogId { term, index })),
        _ => Err(PeerRefusal::Malformed("append: log id".to_owned())),
    }
}

fn take_entry(body: &mut &[u8], index: u64) -> Result<Entry, PeerRefusal> {
    let short = || PeerRefusal::Malformed("append: cut short".to_owned());
    if body.len() < ENTRY_HEAD_LEN {
        return Err(short());
    }
    let term = body.get_u64_le();
    let len = usize::try_from(body.get_u32_le()).map_err(|_| short())?;
    let (payload, rest) = body.split_at_checked(len).ok_or_else(short)?;
    *body = rest;
    let payload = envelope::decode_body(payload).map_err(|cause| malformed(&cause))?;
    Ok(Entry { log_id: log_id(term, index), payload })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use std::sync::Arc;

    use openraft::EntryPayload;
    use proptest::prelude::*;

    use super::*;
    use crate::type_config::Command;

    const GROUP: GroupKey = GroupKey { partition: PartitionId(4), incarnation: Incarnation(2) };

    fn request(bodies: &[Vec<u8>]) -> Request {
        let entry = |(n, body): (usize, &Vec<u8>)| Entry {
            log_id: log_id(3, 8 + n as u64),
            payload: EntryPayload::Normal(Command::Proposal(Arc::from(&body[..]))),
        };
        Request {
            vote: RaftVote::new_committed(5, 2),
            prev_log_id: Some(log_id(3, 7)),
            leader_commit: Some(log_id(3, 6)),
            entries: bodies.iter().enumerate().map(entry).collect(),
        }
    }

    fn bytes(request: &Request) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, GROUP, request).unwrap();
        out
    }

    fn shown(request: &Request) -> String {
        let bodies: Vec<_> = request.entries.iter().map(|e| (e.log_id, e.payload.clone())).collect();
        format!("{:?} {:?} {:?} {bodies:?}", request.vote, request.prev_log_id, request.leader_commit)
    }

    #[test]
    fn every_cut_and_leftover_is_refused() {
        let whole = bytes(&request(&[vec![1; 5], Vec::new()]));
        for len in 0..whole.len() {
            assert!(decode(&whole[..len]).is_err());
        }
        assert!(decode(&[whole, vec![0]].concat()).is_err());
    }

    #[test]
    fn an_entry_of_a_later_term_than_its_leader_is_refused() {
        let mut bad = request(&[vec![1]]);
        bad.vote = RaftVote::new_committed(2, 2);
        assert!(matches!(decode(&bytes(&bad)), Err(PeerRefusal::Malformed(_))));
    }

    proptest! {
        #[test]
        fn appends_survive_the_round_trip(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            let sent = request(&bodies);
            let (group, read) = decode(&bytes(&sent)).unwrap();
            prop_assert_eq!(group, GROUP);
            prop_assert_eq!(shown(&read), shown(&sent));
        }

        #[test]
        fn no_bytes_panic_the_reader(mut bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(first) = bytes.first_mut() {
                *first = FORMAT;
            }
            let _ = decode(&bytes);
        }
    }
}
