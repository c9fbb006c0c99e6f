//! Raft's messages as bytes, in structures of our own: openraft's may change with it.

use domicile_storage::codec::{self, CodecError};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};

use super::transport::PeerRefusal;
use crate::type_config::{LogId, RaftVote, TypeConfig, log_id, term_of};
use crate::{Incarnation, PartitionId};

/// The format of every body of one length.
const FORMAT: u8 = 1;

/// Bytes of a fixed body.
pub(crate) fn encode<T: bincode::Encode>(body: &T) -> Result<Vec<u8>, CodecError> {
    codec::encode_fixed(FORMAT, body)
}

/// A fixed body, all of it.
pub(crate) fn decode<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (_, body) = codec::split_format(bytes, &[FORMAT])?;
    codec::decode_fixed(body)
}

/// [`decode`] for what came from a peer.
pub(crate) fn decode_from_peer<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, PeerRefusal> {
    decode(bytes).map_err(|cause| malformed(&cause))
}

pub(crate) fn malformed(cause: &dyn std::fmt::Display) -> PeerRefusal {
    PeerRefusal::Malformed(cause.to_string())
}

/// Which group, in which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub(crate) struct GroupKey {
    pub(crate) partition: PartitionId,
    pub(crate) incarnation: Incarnation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct WireLogId {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

impl WireLogId {
    pub(crate) fn from_raft(id: &LogId) -> Self {
        Self { term: term_of(id), index: id.index() }
    }

    pub(crate) fn into_raft(self) -> LogId {
        log_id(self.term, self.index)
    }
}

pub(crate) fn wire_id(id: Option<&LogId>) -> Option<WireLogId> {
    id.map(WireLogId::from_raft)
}

pub(crate) fn raft_id(id: Option<WireLogId>) -> Option<LogId> {
    id.map(WireLogId::into_raft)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct WireVote {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

impl WireVote {
    pub(crate) fn from_raft(vote: &RaftVote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }

    pub(crate) fn into_raft(self) -> RaftVote {
        if self.committed {
            RaftVote::new_committed(self.term, self.node)
        } else {
            RaftVote::new(self.term, self.node)
        }
    }
}

/// A vote or a pre-vote.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct VoteBody {
    pub(crate) group: GroupKey,
    pub(crate) vote: WireVote,
    pub(crate) last: Option<WireLogId>,
    pub(crate) transfer: bool,
}

impl VoteBody {
    pub(crate) fn from_raft(group: GroupKey, request: &VoteRequest<TypeConfig>) -> Self {
        Self {
            group,
            vote: WireVote::from_raft(&request.vote),
            last: wire_id(request.last_log_id.as_ref()),
            transfer: request.leadership_transfer,
        }
    }

    pub(crate) fn into_raft(self) -> VoteRequest<TypeConfig> {
        let mut request = VoteRequest::new(self.vote.into_raft(), raft_id(self.last));
        request.leadership_transfer = self.transfer;
        request
    }
}

#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct VoteAnswer {
    vote: WireVote,
    granted: bool,
    last: Option<WireLogId>,
}

impl VoteAnswer {
    pub(crate) fn from_raft(answer: &VoteResponse<TypeConfig>) -> Self {
        Self {
            vote: WireVote::from_raft(&answer.vote),
            granted: answer.vote_granted,
            last: wire_id(answer.last_log_id.as_ref()),
        }
    }

    pub(crate) fn into_raft(self) -> VoteResponse<TypeConfig> {
        VoteResponse::new(self.vote.into_raft(), raft_id(self.last), self.granted)
    }
}

/// Have `to` stand for election, or drop the lease so that it can win.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct TransferBody {
    pub(crate) group: GroupKey,
    pub(crate) leader: WireVote,
    pub(crate) to: u64,
    pub(crate) last: Option<WireLogId>,
}

impl TransferBody {
    pub(crate) fn from_raft(group: GroupKey, request: &TransferLeaderRequest<TypeConfig>) -> Self {
        Self {
            group,
            leader: WireVote::from_raft(request.from_leader()),
            to: *request.to_node_id(),
            last: wire_id(request.last_log_id()),
        }
    }

    pub(crate) fn into_raft(self) -> TransferLeaderRequest<TypeConfig> {
        TransferLeaderRequest::new(self.leader.into_raft(), self.to, raft_id(self.last))
    }
}

/// Whether a replica runs with timers of this length yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct TimersBody {
    pub(crate) group: GroupKey,
    pub(crate) election_max_ms: u64,
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) enum AppendAnswer {
    /// The log agrees through this entry, and has it on disk.
    Matched(Option<WireLogId>),
    /// The entry before those sent is not in the log.
    Conflict,
    /// Another was voted for in a later term.
    HigherVote(WireVote),
}

impl AppendAnswer {
    pub(crate) fn from_raft(result: &StreamAppendResult<TypeConfig>) -> Self {
        match result {
            Ok(matched) => Self::Matched(wire_id(matched.as_ref())),
            Err(StreamAppendError::Conflict(_)) => Self::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote(WireVote::from_raft(vote)),
        }
    }

    /// `previous` is what the request said comes before its entries.
    pub(crate) fn into_raft(self, previous: Option<LogId>) -> StreamAppendResult<TypeConfig> {
        match self {
            Self::Matched(matched) => Ok(raft_id(matched)),
            // Nothing comes before an empty log, so only a faulty peer says so.
            Self::Conflict => Err(StreamAppendError::Conflict(previous.unwrap_or_else(|| log_id(0, 0)))),
            Self::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into_raft())),
        }
    }
}

/// One group's heartbeat: an append without entries.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct Beat {
    pub(crate) group: GroupKey,
    pub(crate) vote: WireVote,
    pub(crate) previous: Option<WireLogId>,
    pub(crate) committed: Option<WireLogId>,
}

impl Beat {
    pub(crate) fn from_raft(group: GroupKey, request: &AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            group,
            vote: WireVote::from_raft(&request.vote),
            previous: wire_id(request.prev_log_id.as_ref()),
            committed: wire_id(request.leader_commit.as_ref()),
        }
    }

    pub(crate) fn into_raft(self) -> AppendEntriesRequest<TypeConfig> {
        AppendEntriesRequest {
            vote: self.vote.into_raft(),
            prev_log_id: raft_id(self.previous),
            leader_commit: raft_id(self.committed),
            entries: Vec::new(),
        }
    }
}

/// Requests of many groups in one message.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct BatchBody<T> {
    /// How long the answer may wait for the slowest, in ms.
    pub(crate) wait_ms: u64,
    pub(crate) requests: Vec<T>,
}

/// One answer per request of a batch, in its order.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct BatchAnswer<T> {
    pub(crate) answers: Vec<Result<T, BatchRefusal>>,
}

/// Why one request of a batch has no answer.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) enum BatchRefusal {
    /// Not within the time given.
    Late,
    /// As a message of its own would have been refused.
    Refused(PeerRefusal),
}

/// What a read index asked of a leader came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) enum ReadIndexAnswer {
    /// Confirmed by a quorum after the request came.
    Index(u64),
    /// Not the leader; who is, where known.
    NotLeader(Option<u64>),
    /// No quorum answered.
    NoQuorum,
}
