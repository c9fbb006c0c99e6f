//! The envelope of every message between nodes (docs/adr/0009).
//!
//! `format 1 | kind u8 | from u64 | to u64 | boots u64 | cluster length u8 | cluster | body`,
//! little-endian. Each body begins with a format byte of its own. What the envelope claims is checked
//! against the sender's certificate before the body is looked at. An answer is
//! `format 1 | boots u64 | body`: who answers proves in which start it is, too.

use bytes::{Buf, Bytes};

use super::ClusterId;
use crate::NodeId;

const FORMAT: u8 = 1;
const FIXED_LEN: usize = 27;

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Log entries of one group.
    Append,
    /// A vote.
    Vote,
    /// Whether a vote would be given.
    PreVote,
    /// Stand for election now.
    TransferLeader,
    /// Heartbeats of many groups.
    Heartbeats,
    /// Read indexes of many groups.
    ReadIndexes,
    /// A change of a group, for its leader.
    Order,
    /// Opaque, for the layer above.
    Application,
    /// A byte stream with a group's whole state.
    Snapshot,
    /// Whether a replica runs with these timers yet.
    Timers,
}

const KINDS: [(u8, Kind); 10] = [
    (1, Kind::Append),
    (2, Kind::Vote),
    (3, Kind::PreVote),
    (4, Kind::TransferLeader),
    (5, Kind::Heartbeats),
    (6, Kind::ReadIndexes),
    (7, Kind::Order),
    (8, Kind::Application),
    (9, Kind::Snapshot),
    (10, Kind::Timers),
];

impl Kind {
    fn byte(self) -> u8 {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or(0, |(byte, _)| *byte)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        KINDS.iter().find(|(known, _)| *known == byte).map(|(_, kind)| *kind)
    }
}

/// A message that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("cut short")]
    Short,
    #[error("unknown format {0}")]
    Format(u8),
    #[error("unknown kind {0}")]
    Kind(u8),
    #[error("no cluster id")]
    Cluster,
}

/// What every message says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: Kind,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    /// The sender's boot counter.
    pub(crate) boots: u64,
    pub(crate) cluster: ClusterId,
}

impl Envelope {
    /// The envelope's bytes, with room for a body of `body_len`.
    pub(crate) fn encode(&self, body_len: usize) -> Vec<u8> {
        let cluster = self.cluster.as_str().as_bytes();
        let mut out = Vec::with_capacity(FIXED_LEN + cluster.len() + body_len);
        out.extend_from_slice(&[FORMAT, self.kind.byte()]);
        for field in [self.from.0, self.to.0, self.boots] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        // A cluster id is at most 63 bytes long.
        out.push(u8::try_from(cluster.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(cluster);
        out
    }

    /// The envelope and the body after it, which shares the message's memory.
    pub(crate) fn decode(mut message: Bytes) -> Result<(Self, Bytes), MessageError> {
        if message.len() < FIXED_LEN {
            return Err(MessageError::Short);
        }
        let format = message.get_u8();
        if format != FORMAT {
            return Err(MessageError::Format(format));
        }
        let kind = message.get_u8();
        let kind = Kind::from_byte(kind).ok_or(MessageError::Kind(kind))?;
        let (from, to) = (NodeId(message.get_u64_le()), NodeId(message.get_u64_le()));
        let boots = message.get_u64_le();
        let len = usize::from(message.get_u8());
        if message.len() < len {
            return Err(MessageError::Short);
        }
        let cluster = message.split_to(len);
        let cluster = std::str::from_utf8(&cluster).ok().and_then(|text| ClusterId::new(text).ok());
        let cluster = cluster.ok_or(MessageError::Cluster)?;
        Ok((Self { kind, from, to, boots, cluster }, message))
    }
}

/// An answer: the boot counter of who gives it, then what it says.
pub(crate) fn encode_answer(boots: u64, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(1 + 8 + body.len());
    out.push(FORMAT);
    out.extend_from_slice(&boots.to_le_bytes());
    out.extend_from_slice(body);
    Bytes::from(out)
}

/// The boot counter of who answered, and the body, which shares the answer's memory.
pub(crate) fn decode_answer(mut answer: Bytes) -> Result<(u64, Bytes), MessageError> {
    if answer.len() < 1 + 8 {
        return Err(MessageError::Short);
    }
    match answer.get_u8() {
        FORMAT => Ok((answer.get_u64_le(), answer)),
        other => Err(MessageError::Format(other)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(kind: Kind) -> Envelope {
        let cluster = ClusterId::new("c1").unwrap();
        Envelope { kind, from: NodeId(7), to: NodeId(9), boots: 3, cluster }
    }

    #[test]
    fn every_kind_survives_the_round_trip_with_its_body() {
        for (_, kind) in KINDS {
            let mut bytes = envelope(kind).encode(4);
            bytes.extend_from_slice(b"body");
            let (read, body) = Envelope::decode(Bytes::from(bytes)).unwrap();
            assert_eq!((read, &body[..]), (envelope(kind), &b"body"[..]));
        }
    }

    #[test]
    fn an_answer_says_in_which_start_it_was_given() {
        let bytes = encode_answer(7, b"body");
        assert_eq!(decode_answer(bytes.clone()).unwrap(), (7, Bytes::from_static(b"body")));
        assert_eq!(decode_answer(bytes.slice(..8)), Err(MessageError::Short));
    }

    #[test]
    fn a_cut_envelope_and_another_format_are_refused() {
        let bytes = envelope(Kind::Append).encode(0);
        for len in 0..bytes.len() {
            assert!(Envelope::decode(Bytes::copy_from_slice(&bytes[..len])).is_err());
        }
        let mut other = bytes.clone();
        other[0] = 2;
        assert_eq!(Envelope::decode(Bytes::from(other)), Err(MessageError::Format(2)));
        let mut other = bytes;
        other[1] = 200;
        assert_eq!(Envelope::decode(Bytes::from(other)), Err(MessageError::Kind(200)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::decode(Bytes::from(bytes.clone()));
            let _ = decode_answer(Bytes::from(bytes));
        }
    }
}
