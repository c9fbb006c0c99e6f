//! What openraft is instantiated with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use openraft::impls::{BoxedErrorSource, InlineBatch, TokioRuntime, Vote, leader_id_std};
use openraft::raft::responder::Responder;
use openraft::type_config::alias;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, RaftTypeConfig};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::Verdict;
use crate::placement::GroupSettings;

/// One leader a term (Raft §5.2), so a log id is a term and an index.
#[derive(Debug, Clone, Copy, Default, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Command;
    type R = Reply;
    type NodeId = u64;
    type Node = NodeInfo;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, u64, NodeInfo>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = Answer<T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// Answers a proposer, who may be gone. The proposal's bytes count as in flight until Raft is done
/// with it, that is until this is used or dropped.
pub(crate) struct Answer<T> {
    pub(crate) to: oneshot::Sender<T>,
    pub(crate) in_flight: OwnedSemaphorePermit,
}

impl<T: Send + 'static> Responder<TypeConfig, T> for Answer<T> {
    fn on_complete(self, result: T) {
        drop(self.in_flight);
        // A proposer whose deadline passed is gone.
        let _ = self.to.send(result);
    }
}

pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state_adapter::StateAdapter>;
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type RaftVote = Vote<leader_id_std::LeaderId<u64, u64>>;

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(alias::CommittedLeaderIdOf::<TypeConfig>::new(term), index)
}

pub(crate) fn term_of(log_id: &LogId) -> u64 {
    log_id.committed_leader_id().term
}

/// What an entry orders, shared between the log cache and the state machine.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Command {
    /// A proposal, opaque here.
    Proposal(Arc<[u8]>),
    /// The group's settings from here on.
    Settings(Arc<GroupSettings>),
}

impl Command {
    /// What it counts for in bounds, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Proposal(body) => body.len(),
            Self::Settings(_) => 512,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: this ends in openraft's logs.
        match self {
            Self::Proposal(body) => write!(f, "Command({} bytes)", body.len()),
            Self::Settings(settings) => write!(f, "Settings(generation {})", settings.generation),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What an applied entry answers to its proposer.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) enum Reply {
    /// A blank or membership entry.
    None,
    Applied(Vec<u8>),
    Conflict(Vec<u8>),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "None"),
            Self::Applied(bytes) => write!(f, "Applied({} bytes)", bytes.len()),
            Self::Conflict(bytes) => write!(f, "Conflict({} bytes)", bytes.len()),
        }
    }
}

impl From<Verdict> for Reply {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Applied(bytes) => Self::Applied(bytes),
            Verdict::Conflict(bytes) => Self::Conflict(bytes),
        }
    }
}

/// Where a member runs and how peers reach it; part of the membership entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NodeInfo {
    /// Such as `eu-central`.
    #[serde(default)]
    pub region: String,
    /// Such as `a`.
    #[serde(default)]
    pub zone: String,
    /// `host:port` by name; empty on a single node.
    #[serde(default)]
    pub addresses: BTreeMap<String, String>,
}
