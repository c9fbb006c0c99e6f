//! Questions to other nodes, and to this one without the detour.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use domicile_raft::peer::PeerError;
use domicile_raft::{NodeId, NodeInfo, RaftNode};

use super::messages::{Ask, Reply};
use super::service::LocalNode;

/// A question that brought no answer of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody answered; unless `may_have_happened`, nothing was done.
    #[error("{reason}")]
    Silent {
        /// Why.
        reason: String,
        /// Whether the node may have acted on it.
        may_have_happened: bool,
    },
    /// Nothing was done.
    #[error("{0}")]
    Refused(String),
    /// Nothing was done; another replica leads.
    #[error("that replica does not lead")]
    NotLeader(Option<NodeId>),
}

/// The way to every node's [`LocalNode`].
pub(crate) struct Links {
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) local: Arc<LocalNode>,
    /// Where this node is, for the membership entries of groups that it founds.
    pub(crate) own_info: ArcSwap<NodeInfo>,
}

impl Links {
    /// Asks `to`, which may be this node.
    pub(crate) async fn ask(&self, to: NodeId, ask: Ask, deadline: Duration) -> Result<Reply, AskError> {
        let reply = if to == self.raft.identity().id {
            let answered = tokio::time::timeout(deadline, self.local.answer_own(ask)).await;
            answered.map_err(|_| AskError::Silent {
                reason: "no answer in time".to_owned(),
                may_have_happened: true,
            })?
        } else {
            let message = ask.encode().map_err(|cause| AskError::Refused(cause.to_string()))?;
            let answer = self.raft.call(to, Bytes::from(message), deadline).await.map_err(failed)?;
            // It answered, so that it may have acted.
            Reply::decode(&answer)
                .map_err(|cause| AskError::Silent { reason: cause.to_string(), may_have_happened: true })?
        };
        match reply {
            Reply::Refused(reason) => Err(AskError::Refused(reason)),
            Reply::NotLeader(leader) => Err(AskError::NotLeader(leader)),
            Reply::Report(_)
            | Reply::Domain(_)
            | Reply::Done
            | Reply::PartitionKey(_)
            | Reply::Time { .. } => Ok(reply),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn failed(error: PeerError) -> AskError {
    let reason = error.to_string();
    let may_have_happened = error.may_have_happened();
    match error {
        PeerError::Unreachable { .. }
        | PeerError::Lost { .. }
        | PeerError::Timeout(_)
        | PeerError::QueueFull(_) => AskError::Silent { reason, may_have_happened },
        PeerError::Refused { .. } => AskError::Refused(reason),
    }
}
