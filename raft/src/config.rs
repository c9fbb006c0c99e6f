//! What a node and its groups are made of.

use std::path::Path;
use std::sync::Arc;

use domicile_storage::{Engine, EngineError, LogEngine, LogOptions, RaftEngineLog, SledEngine, SledOptions};

use crate::data_dir::{DataDir, NodeIdentity};
use crate::disk_space::DiskReserve;
use crate::faults::{OnPanic, abort_on_panic};
use crate::open_error::NodeError;
use crate::peer::{ClusterId, PeerTransport};
use crate::placement::GroupSettings;
use crate::snapshot::SnapshotSettings;
use crate::timers::Retention;
use crate::type_config::NodeInfo;
use crate::{Clock, EntryCipher, Incarnation, NodeId, PartitionId, StateMachine};

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
    /// The way to other nodes; `None` for a node that is alone.
    pub peers: Option<Peers>,
    /// Who the node is where there is no directory; node 1 in its first start unless set.
    pub identity: Option<NodeIdentity>,
    /// What snapshots may cost.
    pub snapshots: SnapshotSettings,
    /// How much of the disk under `directory` stays free.
    pub disk: DiskReserve,
}

/// The way to other nodes.
#[derive(Clone)]
pub struct Peers {
    /// Carries messages.
    pub transport: Arc<dyn PeerTransport>,
    /// Which cluster; messages of another are refused.
    pub cluster: ClusterId,
}

impl NodeConfig {
    /// With [`abort_on_panic`], alone.
    #[must_use]
    pub fn new(
        directory: Option<DataDir>,
        log: Arc<dyn LogEngine>,
        open_state: OpenState,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            directory,
            log,
            open_state,
            clock,
            on_panic: abort_on_panic(),
            peers: None,
            identity: None,
            snapshots: SnapshotSettings::default(),
            disk: DiskReserve::default(),
        }
    }
}

impl NodeConfig {
    /// On `root`, with `log/` and `partitions/` in it; alone unless [`NodeConfig::peers`] is set.
    ///
    /// # Errors
    /// [`NodeError`]; [`domicile_storage::LogError::Locked`] when another process has it open.
    pub fn on_disk(root: &Path, options: DiskOptions, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        let directory = DataDir::open(root)?;
        let log = RaftEngineLog::open(directory.log(), &options.log)?;
        let open_state: OpenState =
            Arc::new(move |_, path| Ok(Arc::new(SledEngine::open(path, &options.state)?)));
        Ok(Self::new(Some(directory), Arc::new(log), open_state, clock))
    }
}

/// What a group is made of.
#[derive(Clone)]
pub struct GroupConfig {
    /// Which partition.
    pub partition: PartitionId,
    /// Which life of it. A log of another is refused.
    pub incarnation: Incarnation,
    /// Seals its log entries.
    pub cipher: Arc<dyn EntryCipher>,
    /// Applies its commands.
    pub state_machine: Arc<dyn StateMachine>,
    /// Timers and placement until its log says otherwise; a new group writes them to its log.
    pub settings: GroupSettings,
    /// When its log is cut.
    pub retention: Retention,
    /// What to do where there is no log yet.
    pub start: Start,
}

/// What a group without a log does.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Becomes a group with this node as its only voter.
    Bootstrap(NodeInfo),
    /// Waits for a leader to bring it in.
    Join,
    /// As `Join`, on a node that may have been a member before: see [`JoinPoint`].
    JoinAt(JoinPoint),
}

/// Where a group stood when it had a replica opened.
///
/// A replica that comes back to a node from nothing reads the log from its beginning, where the node may be a voter,
/// even the only one: it would be elected by a membership that is long over, with the start of a log that goes on
/// elsewhere (Raft §4.1 has servers keep their logs and votes). Until it holds the log up to here it neither stands for
/// election nor votes, and from its first moment it is in the term of that leader, so that no earlier one counts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JoinPoint {
    /// The leader's term.
    pub term: u64,
    /// The leader that has the replica opened.
    pub leader: NodeId,
    /// What is committed, and the last membership before the one that has the replica.
    pub index: u64,
}

impl Start {
    /// Where the log has to be before the replica takes part.
    pub(crate) fn join_point(&self) -> Option<JoinPoint> {
        match self {
            Self::JoinAt(point) => Some(*point),
            Self::Bootstrap(_) | Self::Join => None,
        }
    }
}

/// How the engines of a node on disk are opened.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// The shared log.
    pub log: LogOptions,
    /// Each partition's state.
    pub state: SledOptions,
}
