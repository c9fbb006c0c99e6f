//! Where a read index comes from: a quorum round of this replica if it leads, else of its leader.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use tokio::time::timeout;

use crate::peer::PeerError;
use crate::peer::link::PeerLink;
use crate::peer::transport::PeerRefusal;
use crate::peer::wire::{GroupKey, ReadIndexAnswer};
use crate::type_config::{Raft, TypeConfig};
use crate::{NodeId, ReadError};

/// How long to wait for news of a leader before asking again.
const RETRY_WAIT: Duration = Duration::from_millis(50);

/// Gives read indexes to one replica.
pub(crate) enum ReadSource {
    /// By a round among the voters, if this replica leads.
    Leader(Raft),
    /// From whoever leads.
    Replica(Replica),
}

/// A replica that may ask its leader.
pub(crate) struct Replica {
    pub(crate) raft: Raft,
    pub(crate) node: NodeId,
    pub(crate) link: Arc<PeerLink>,
    pub(crate) group: GroupKey,
    /// How long one round may look for a leader that a quorum follows.
    pub(crate) patience: Duration,
}

/// What one attempt came to, where the next may do better.
enum Miss {
    /// Somebody else leads.
    NotLeader(Option<NodeId>),
    /// No answer, or no quorum.
    Silence,
}

impl ReadSource {
    /// An index at or above everything acknowledged before this call.
    pub(crate) async fn index(&self) -> Result<u64, ReadError> {
        match self {
            Self::Leader(raft) => match lead(raft).await? {
                Ok(index) => Ok(index),
                Err(Miss::NotLeader(leader)) => Err(ReadError::NotLeader { leader }),
                Err(Miss::Silence) => Err(ReadError::Timeout),
            },
            Self::Replica(replica) => {
                timeout(replica.patience, replica.index()).await.unwrap_or(Err(ReadError::Timeout))
            }
        }
    }
}

impl Replica {
    async fn index(&self) -> Result<u64, ReadError> {
        let mut metrics = self.raft.server_metrics();
        let mut hint = None;
        loop {
            let known = metrics.borrow_and_update().current_leader.map(NodeId);
            let missed = match hint.take().or(known) {
                Some(leader) if leader != self.node => self.ask(leader).await?,
                Some(_) | None => lead(&self.raft).await?,
            };
            match missed {
                Ok(index) => return Ok(index),
                Err(Miss::NotLeader(Some(leader))) if leader != self.node && Some(leader) != known => {
                    hint = Some(leader);
                }
                Err(Miss::NotLeader(_) | Miss::Silence) => {
                    if let Ok(Err(_)) = timeout(RETRY_WAIT, metrics.changed()).await {
                        return Err(ReadError::Stopped);
                    }
                }
            }
        }
    }

    async fn ask(&self, leader: NodeId) -> Result<Result<u64, Miss>, ReadError> {
        match self.link.read_index(leader, self.group, self.patience / 2).await {
            Ok(ReadIndexAnswer::Index(index)) => Ok(Ok(index)),
            Ok(ReadIndexAnswer::NotLeader(leader)) => Ok(Err(Miss::NotLeader(leader.map(NodeId)))),
            Ok(ReadIndexAnswer::NoQuorum)
            | Err(
                PeerError::Unreachable { .. }
                | PeerError::Lost { .. }
                | PeerError::Timeout(_)
                | PeerError::QueueFull(_),
            ) => Ok(Err(Miss::Silence)),
            Err(PeerError::Refused { refusal, .. }) => match refusal {
                // Whoever leads will say so too.
                PeerRefusal::WentBack { .. } | PeerRefusal::Decommissioned => Err(ReadError::Stopped),
                // One that led once may know less than this replica: what it says is not for good.
                PeerRefusal::Forbidden(_)
                | PeerRefusal::Stale(_)
                | PeerRefusal::NoReplica
                | PeerRefusal::Malformed(_)
                | PeerRefusal::Overloaded(_)
                | PeerRefusal::Failed(_) => Ok(Err(Miss::Silence)),
            },
        }
    }
}

/// One round among the voters.
async fn lead(raft: &Raft) -> Result<Result<u64, Miss>, ReadError> {
    let confirmed: Result<_, RaftError<TypeConfig, LinearizableReadError<TypeConfig>>> =
        raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
    match confirmed {
        Ok(linearizer) => Ok(Ok(linearizer.read_log_id().log_id().index())),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Ok(Err(Miss::NotLeader(forward.leader_id.map(NodeId))))
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Ok(Err(Miss::Silence)),
        Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
    }
}
