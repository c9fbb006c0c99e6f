//! What a node and its groups are made of.

use std::path::Path;
use std::sync::Arc;

use domicile_storage::{Engine, EngineError, LogEngine, LogOptions, SledOptions};

use crate::data_dir::DataDir;
use crate::faults::{OnPanic, abort_on_panic};
use crate::timers::{Retention, TimerProfile};
use crate::type_config::NodeInfo;
use crate::{Clock, EntryCipher, Incarnation, PartitionId, StateMachine};

/// Opens a partition's state in the given directory (empty path in memory).
pub type OpenState = Arc<dyn Fn(PartitionId, &Path) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync>;

/// What a node is made of.
pub struct NodeConfig {
    /// Where identity and partitions lie; `None` in memory: nothing then survives the process.
    pub directory: Option<DataDir>,
    /// The log engine shared by all groups.
    pub log: Arc<dyn LogEngine>,
    /// How a partition's state is opened.
    pub open_state: OpenState,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Called when a group panicked; [`abort_on_panic`] unless a test wants to look.
    pub on_panic: OnPanic,
}

impl NodeConfig {
    /// With [`abort_on_panic`].
    #[must_use]
    pub fn new(
        directory: Option<DataDir>,
        log: Arc<dyn LogEngine>,
        open_state: OpenState,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { directory, log, open_state, clock, on_panic: abort_on_panic() }
    }
}

/// What a group is made of.
pub struct GroupConfig {
    /// Which partition.
    pub partition: PartitionId,
    /// Which life of it. A log of another is refused.
    pub incarnation: Incarnation,
    /// Seals its log entries.
    pub cipher: Arc<dyn EntryCipher>,
    /// Applies its commands.
    pub state_machine: Arc<dyn StateMachine>,
    /// How far apart its voters are.
    pub timers: TimerProfile,
    /// When its log is cut.
    pub retention: Retention,
    /// What to do where there is no log yet.
    pub start: Start,
}

/// What a group without a log does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Becomes a group with this node as its only voter.
    Bootstrap(NodeInfo),
    /// Waits for a leader to bring it in.
    Join,
}

/// How the engines of a node on disk are opened.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// The shared log.
    pub log: LogOptions,
    /// Each partition's state.
    pub state: SledOptions,
}
