//! A group's whole state on a byte stream of its own.
//!
//! The header is the envelope with a [`SnapshotBody`]; the chunks are those of [`crate::snapshot`], which
//! say what they are of.

use std::time::Duration;

use openraft::raft::SnapshotResponse;
use openraft::type_config::alias::SnapshotOf;

use super::link::{PeerLink, unreadable};
use super::message::Kind;
use super::transport::{PeerError, PeerRefusal};
use super::wire::{self, GroupKey, WireVote};
use crate::NodeId;
use crate::faults::chain;
use crate::snapshot::{SnapshotError, StateSnapshot};
use crate::type_config::{RaftVote, TypeConfig};

/// How long opening and finishing may take; the latter includes reading back and installing.
const OPEN_WAIT: Duration = Duration::from_secs(5);
const FINISH_WAIT: Duration = Duration::from_mins(10);

/// Whose snapshot it is.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(crate) struct SnapshotBody {
    pub(crate) group: GroupKey,
    pub(crate) vote: WireVote,
}

/// Sends the state and waits until it is installed.
pub(crate) async fn send(
    link: &PeerLink,
    to: NodeId,
    group: GroupKey,
    vote: RaftVote,
    snapshot: SnapshotOf<TypeConfig, StateSnapshot>,
) -> Result<SnapshotResponse<TypeConfig>, PeerError> {
    let failed = |reason: String| PeerError::Lost { node: to, reason };
    let body = SnapshotBody { group, vote: WireVote::from_raft(&vote) };
    let body = wire::encode(&body).map_err(|cause| failed(cause.to_string()))?;
    let stream = link.open_stream(to, Kind::Snapshot, &body, OPEN_WAIT).await?;
    let sent = snapshot.snapshot.send(stream, vote.leader_id.term, FINISH_WAIT).await;
    let answer = sent.map_err(|cause| {
        let reason = chain(&cause);
        if let SnapshotError::Stream(broken) = cause { broken } else { failed(reason) }
    })?;
    let answer = link.open_answer(to, answer)?;
    let vote: WireVote = wire::decode(&answer).map_err(|cause| unreadable(to, &cause))?;
    Ok(SnapshotResponse::new(vote.into_raft()))
}

/// What the sender is told of a snapshot that was not taken.
#[allow(clippy::wildcard_enum_match_arm, reason = "all but a few are told in the same way")]
pub(crate) fn refusal(cause: &SnapshotError) -> PeerRefusal {
    match cause {
        SnapshotError::Busy | SnapshotError::DiskFull => PeerRefusal::Overloaded(cause.to_string()),
        SnapshotError::Foreign { .. } => PeerRefusal::Stale(cause.to_string()),
        other => PeerRefusal::Failed(chain(other)),
    }
}
