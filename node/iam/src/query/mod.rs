//! Reads: which freshness is wanted, what can go wrong.

pub(crate) mod cluster;
mod events;
mod origin;
mod page;
mod tokens;
mod view;
mod views;

use domicile_raft::{NodeId, PartitionId};

use crate::execute::ConsistencyToken;

pub use cluster::JoinTokenView;
pub use events::{EventFilter, EventView};
pub(crate) use page::{next_token, parse_token};
pub(crate) use view::{View, stream_version};

/// How fresh a read must be (design §6).
#[derive(Clone, Debug, Default)]
pub enum Consistency {
    /// Sees every write acknowledged before the call.
    #[default]
    Linearizable,
    /// Sees the write that gave this token.
    AtLeast(ConsistencyToken),
    /// At most this many milliseconds stale.
    BoundedMs(u64),
    /// As it is here.
    Local,
}

/// A read that could not be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Ask the leader.
    #[error("another node leads partition {}", .partition.0)]
    NotLeader {
        /// Which.
        partition: PartitionId,
        /// It, where known.
        leader: Option<NodeId>,
    },
    /// This node has no replica of the tenant's home: ask one that has.
    #[error("the tenant lives in partition {}, which has no replica here", .home.0)]
    Elsewhere {
        /// Where it lives.
        home: PartitionId,
    },
    /// No quorum, or not applied in time: 503.
    #[error("not available now")]
    Unavailable {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// There is no such tenant here.
    #[error("no such tenant")]
    UnknownTenant,
    /// The page token is not one of ours.
    #[error("page token is malformed")]
    InvalidPageToken,
    /// The consistency token is of another tenant or of an abandoned incarnation: 409.
    #[error("consistency token does not fit")]
    ForeignToken,
    /// The tenant's keys are destroyed.
    #[error("the tenant is erased")]
    Erased,
    /// Storage or sealing failed; logged where it happened.
    #[error("{0}")]
    Fault(String),
}

/// A fault as text with its causes; what they name holds no personal data.
pub(crate) fn fault<E: std::error::Error>(error: E) -> QueryError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    QueryError::Fault(text)
}
