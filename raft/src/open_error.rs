//! Why a node or a group does not open.

use std::path::PathBuf;

use domicile_storage::{EngineError, LogError};

use crate::data_dir::DataDirError;
use crate::envelope::EnvelopeError;
use crate::log_store::LogStoreError;
use crate::state_meta::StateMetaError;

/// A node that does not open.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The log engine.
    #[error("log engine")]
    Log(#[from] LogError),
    /// The data directory belongs to nobody though the node has peers: it is new, or was emptied. Nobody
    /// may guess whose it was.
    #[error("`{}` belongs to no node: start with `init` or `join`, never with the id of a lost disk", .0.display())]
    NoIdentity(PathBuf),
    /// The data directory is of another cluster.
    #[error("the data directory is of cluster `{found}`, not `{wanted}`")]
    OtherCluster {
        /// What it says.
        found: String,
        /// What was asked for.
        wanted: String,
    },
}

/// A group that does not open, with its files unharmed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The state engine.
    #[error("partition {partition}: state engine")]
    State {
        /// Which.
        partition: u64,
        /// The cause.
        #[source]
        source: EngineError,
    },
    /// Raft's values in the state.
    #[error("partition {partition}")]
    StateMeta {
        /// Which.
        partition: u64,
        /// The cause.
        #[source]
        source: StateMetaError,
    },
    /// The log; a wrong key shows here.
    #[error("partition {partition}: log")]
    Log {
        /// Which.
        partition: u64,
        /// The cause.
        #[source]
        source: LogStoreError,
    },
    /// The log that belongs to the state is gone or older than it: never started, since this node may
    /// have voted and acknowledged what it no longer knows (Raft §3.8).
    #[error(
        "partition {partition}: the log in `{}` is missing or older than the state beside it; a disk that \
         went back in time must not take part again: restore log and partitions together, or remove this \
         node and rejoin with an empty data directory under a new node id",
        directory.display()
    )]
    LogLost {
        /// Which.
        partition: u64,
        /// Where the log was expected.
        directory: PathBuf,
        /// What is missing.
        #[source]
        source: LogStoreError,
    },
    /// Settings that Raft refuses.
    #[error("partition {partition}: {reason}")]
    Config {
        /// Which.
        partition: u64,
        /// Why.
        reason: String,
    },
    /// The log of a group could not be removed.
    #[error("partition {partition}: its log could not be removed")]
    Remove {
        /// Which.
        partition: u64,
        /// The cause.
        #[source]
        source: LogError,
    },
    /// It is open on this node.
    #[error("partition {0} is open")]
    AlreadyOpen(u64),
    /// Something still uses its state though it was stopped: its files must stay.
    #[error("partition {0} is still in use")]
    StillOpen(u64),
    /// The log could not be replayed into the state; always quarantined.
    #[error("partition {partition}: {reason}")]
    Replay {
        /// Which.
        partition: u64,
        /// Why.
        reason: String,
    },
    /// Raft stopped while it started.
    #[error("partition {partition} stopped at start: {reason}")]
    Stopped {
        /// Which.
        partition: u64,
        /// Why.
        reason: String,
    },
}

impl OpenError {
    /// Whether the partition's own files are at fault, rather than how it was opened.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Replay { .. } => true,
            Self::State { source, .. } => matches!(source, EngineError::Corrupt { .. }),
            Self::StateMeta { source, .. } => match source {
                StateMetaError::Engine(cause) => matches!(cause, EngineError::Corrupt { .. }),
                StateMetaError::Decode(_) => true,
            },
            Self::Log { source, .. } => match source {
                LogStoreError::Engine(cause) => matches!(cause, LogError::Corrupt { .. }),
                LogStoreError::Envelope(EnvelopeError::Malformed { .. })
                | LogStoreError::Meta { .. }
                | LogStoreError::Missing(_) => true,
                LogStoreError::Envelope(EnvelopeError::Sealed { .. })
                | LogStoreError::Incarnation { .. }
                | LogStoreError::BehindState { .. } => false,
            },
            Self::Directory(_)
            | Self::LogLost { .. }
            | Self::Config { .. }
            | Self::Remove { .. }
            | Self::AlreadyOpen(_)
            | Self::StillOpen(_)
            | Self::Stopped { .. } => false,
        }
    }
}
