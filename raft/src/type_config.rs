//! What openraft is instantiated with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use openraft::impls::{Vote, leader_id_std};
use openraft::type_config::alias;

use crate::Verdict;

openraft::declare_raft_types!(
    /// One leader a term (Raft §5.2), so a log id is a term and an index.
    pub(crate) TypeConfig:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = NodeInfo,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

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

/// A proposal's bytes, shared between the log cache and the state machine.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Command(pub(crate) Arc<[u8]>);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: this ends in openraft's logs.
        write!(f, "Command({} bytes)", self.0.len())
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
