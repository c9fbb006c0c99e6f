//! What the layer above knows of a node, and what that node may ask here.

use std::sync::{Arc, PoisonError, RwLock};

use super::message::Kind;
use super::transport::PeerRefusal;
use crate::NodeId;

/// What the directory says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerStanding {
    /// Nothing, or not yet here.
    Unknown,
    /// It belongs to the cluster.
    Member,
    /// It belonged to it, and never will again.
    Decommissioned,
}

/// Asked for each message, so it must be quick.
pub type PeerPolicy = Arc<dyn Fn(NodeId) -> PeerStanding + Send + Sync>;

/// The policy in force; until there is one everybody is a member.
#[derive(Default)]
pub(crate) struct Standings(RwLock<Option<PeerPolicy>>);

impl Standings {
    pub(crate) fn set(&self, policy: PeerPolicy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(policy);
    }

    /// Whether `node` may send a message of this kind.
    ///
    /// Who is unknown may take part in groups that admit its region: a replica that was away must be
    /// brought up by leaders that came meanwhile, and that is how it gets to know them.
    pub(crate) fn check(&self, node: NodeId, kind: Kind) -> Result<(), PeerRefusal> {
        let policy = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(policy) = policy else { return Ok(()) };
        let consensus = match kind {
            Kind::Append
            | Kind::Vote
            | Kind::PreVote
            | Kind::TransferLeader
            | Kind::Heartbeats
            | Kind::Timers
            | Kind::Snapshot => true,
            Kind::ReadIndexes | Kind::Order | Kind::Application => false,
        };
        let refused = |why: &str| Err(PeerRefusal::Forbidden(format!("node {} is {why}", node.0)));
        match policy(node) {
            PeerStanding::Member => Ok(()),
            PeerStanding::Unknown if consensus => Ok(()),
            PeerStanding::Unknown => refused("not known here"),
            PeerStanding::Decommissioned => Err(PeerRefusal::Decommissioned),
        }
    }
}
