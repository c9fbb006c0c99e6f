//! A group's whole state on a byte stream of its own.
//!
//! The header is the envelope with a [`SnapshotBody`]; the chunks are the bytes of a
//! [`StateSnapshot`], which carry their own checksum.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use domicile_storage::codec::{self, CodecError};
use openraft::raft::SnapshotResponse;
use openraft::type_config::alias::SnapshotOf;

use super::link::{PeerLink, unreadable};
use super::message::Kind;
use super::transport::{CHUNK_BYTES_MAX, PeerError, PeerRefusal, StreamReceiver};
use super::wire::{self, GroupKey, WireLogId, WireVote, malformed, raft_id, wire_id};
use crate::NodeId;
use crate::snapshot::StateSnapshot;
use crate::type_config::{RaftVote, SnapshotMeta, StoredMembership, TypeConfig};

const MEMBERSHIP_FORMAT: u8 = 1;
/// How long opening and finishing may take; the latter includes the install.
const OPEN_WAIT: Duration = Duration::from_secs(5);
const FINISH_WAIT: Duration = Duration::from_mins(10);
/// Longest state taken, in bytes, while it is held in memory.
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct SnapshotBody {
    pub(crate) group: GroupKey,
    pub(crate) vote: WireVote,
    last: Option<WireLogId>,
    membership: Vec<u8>,
}

impl SnapshotBody {
    fn from_raft(group: GroupKey, vote: &RaftVote, meta: &SnapshotMeta) -> Result<Self, CodecError> {
        Ok(Self {
            group,
            vote: WireVote::from_raft(vote),
            last: wire_id(meta.last_log_id.as_ref()),
            membership: codec::encode_open(MEMBERSHIP_FORMAT, &meta.last_membership)?,
        })
    }

    /// What openraft calls it.
    pub(crate) fn meta(&self) -> Result<SnapshotMeta, PeerRefusal> {
        let membership = codec::split_format(&self.membership, &[MEMBERSHIP_FORMAT])
            .and_then(|(_, body)| codec::decode_open::<StoredMembership>(body))
            .map_err(|cause| malformed(&cause))?;
        Ok(SnapshotMeta { last_log_id: raft_id(self.last), last_membership: membership })
    }
}

/// Sends the state and waits until it is installed.
pub(crate) async fn send(
    link: &PeerLink,
    to: NodeId,
    group: GroupKey,
    vote: RaftVote,
    snapshot: SnapshotOf<TypeConfig, StateSnapshot>,
) -> Result<SnapshotResponse<TypeConfig>, PeerError> {
    let failed =
        |cause: &dyn std::fmt::Display| PeerError::Unreachable { node: to, reason: cause.to_string() };
    let body = SnapshotBody::from_raft(group, &vote, &snapshot.meta).map_err(|cause| failed(&cause))?;
    let body = wire::encode(&body).map_err(|cause| failed(&cause))?;
    let state = snapshot.snapshot;
    let bytes = tokio::task::spawn_blocking(move || state.into_bytes())
        .await
        .map_err(io::Error::other)
        .and_then(|bytes| bytes.map_err(io::Error::other))
        .map_err(|cause| failed(&cause))?;
    let mut bytes = Bytes::from(bytes);
    let mut stream = link.open_stream(to, Kind::Snapshot, &body, OPEN_WAIT).await?;
    while !bytes.is_empty() {
        let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
        stream.send(chunk).await?;
    }
    let answer = stream.finish(FINISH_WAIT).await?;
    let vote: WireVote = wire::decode(&answer).map_err(|cause| unreadable(to, &cause))?;
    Ok(SnapshotResponse::new(vote.into_raft()))
}

/// The bytes of a whole stream.
pub(crate) async fn receive(mut chunks: Box<dyn StreamReceiver>) -> Result<StateSnapshot, PeerRefusal> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await.map_err(|cause| PeerRefusal::Failed(cause.to_string()))? {
        if bytes.len() + chunk.len() > SNAPSHOT_BYTES_MAX {
            return Err(PeerRefusal::Overloaded("snapshot over 1 GiB".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(StateSnapshot::Bytes(bytes))
}
