//! What the layers above see of consensus: partitions that take proposals and answer reads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domicile_storage::{Engine, EngineError, Transaction};
use tokio::sync::watch;

use crate::placement::GroupSettings;
use crate::{NodeInfo, TimerProfile};

/// A boxed future, so that [`Partition`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A partition: one Raft group with its log and its state. 0 is the directory.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct PartitionId(pub u64);

impl PartitionId {
    /// The directory, replicated to all regions and free of personal data.
    pub const DIRECTORY: Self = Self(0);
}

/// A node's id, given by a directory counter, never reused. The first is 1.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct NodeId(pub u64);

/// Which life of a partition: `cluster recover` makes a new one. The first is 1.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct Incarnation(pub u64);

/// A committed command on its way into the state.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// What was proposed.
    pub body: &'a [u8],
}

/// What applying a command came to. Both carry bytes for the proposer, opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The effects are in the transaction.
    Applied(Vec<u8>),
    /// A read dependency had moved: the transaction is discarded, nothing changes.
    Conflict(Vec<u8>),
}

/// A fault that quarantines the partition: a committed command is never skipped.
#[derive(Debug, thiserror::Error)]
pub enum ApplyFault {
    /// The state could not be read or written.
    #[error("state engine")]
    Engine(#[from] EngineError),
    /// A committed command or a stored value does not decode, or breaks an invariant.
    #[error("{0}")]
    Invalid(String),
}

/// The deterministic half of a partition; implemented by `iam`.
///
/// INVARIANT: the same commands in the same order give the same bytes on every replica. No clock,
/// randomness, float, hash-map order or I/O other than the transaction.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one command. The caller commits the transaction together with the applied index.
    ///
    /// # Errors
    /// [`ApplyFault`]: the group stops and is quarantined.
    fn apply(&self, transaction: &mut Transaction<'_>, command: Committed<'_>)
    -> Result<Verdict, ApplyFault>;
}

/// Why an outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownReason {
    /// The deadline passed.
    Timeout,
    /// The entry was discarded or the channel closed; it may still have committed.
    ReplyLost,
    /// The group stopped.
    Fatal,
}

/// How a proposal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed and applied here at `index`.
    Applied {
        /// Log index.
        index: u64,
        /// From [`Verdict::Applied`].
        reply: Vec<u8>,
    },
    /// Committed at `index`, changed nothing.
    Conflict {
        /// Log index.
        index: u64,
        /// From [`Verdict::Conflict`].
        detail: Vec<u8>,
    },
    /// Not proposed: this replica does not lead.
    NotLeader {
        /// The leader, where known.
        leader: Option<NodeId>,
    },
    /// It may have happened. Retry only with the same proposal id.
    Unknown(UnknownReason),
    /// Not proposed: bounds on proposal size, bytes in flight or apply lag (503 above).
    Overloaded(&'static str),
}

/// How fresh a read must be (design §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// After a read-index round that began after the call.
    Linearizable,
    /// At least this log index applied here.
    AtLeast(u64),
    /// At most this many milliseconds stale, measured.
    BoundedMs(u64),
    /// This replica as it is.
    Local,
}

/// Why a read cannot be served here now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Ask the leader.
    #[error("this replica does not lead")]
    NotLeader {
        /// The leader, where known.
        leader: Option<NodeId>,
    },
    /// No quorum, or not applied in time.
    #[error("not confirmed before the deadline")]
    Timeout,
    /// The group stopped.
    #[error("the partition stopped")]
    Stopped,
}

/// Whether the group works.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
pub enum Health {
    /// Taking part.
    Running,
    /// Stopped by a fault; a marker on disk keeps it stopped. Says why.
    Quarantined(String),
    /// Stopped though nobody ordered it; a restart of the process starts it again. Says why.
    Failed(String),
}

/// A place in a partition's log.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct LogPosition {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// A member of a partition's group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemberStatus {
    /// Which node.
    pub node: NodeId,
    /// Where it runs, as the membership entry says.
    pub info: NodeInfo,
    /// Whether it votes.
    pub voter: bool,
    /// The last index it is known to hold; the leader knows, others say `None`.
    pub matched: Option<u64>,
    /// Milliseconds since it last answered the leader; the leader knows, others say `None`.
    pub contact_ms: Option<u64>,
    /// Its log lost what it had acknowledged to this leader: its disk went back in time. It gets nothing
    /// more; remove it and let the node join under a new id.
    pub went_back: bool,
}

/// A partition as seen from this node, for operators and the placement controller.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartitionStatus {
    /// The partition.
    pub id: PartitionId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Its leader, where known. It may be gone: see [`PartitionStatus::leader_heard`].
    pub leader: Option<NodeId>,
    /// Milliseconds since this replica last heard of that leader, once they are more than its lease and an election
    /// timeout; `None` before, and where this replica leads. Nodes of a version before do not say it.
    #[serde(default)]
    pub leader_silent_ms: Option<u64>,
    /// The current term.
    pub term: u64,
    /// Where the last membership stands in the log; what membership orders are conditional on.
    pub membership: Option<LogPosition>,
    /// Whether a change of voters was begun and not finished.
    pub joint: bool,
    /// Voting members.
    pub voters: Vec<NodeId>,
    /// Members without a vote.
    pub learners: Vec<NodeId>,
    /// All members, with what the leader knows of them.
    pub members: Vec<MemberStatus>,
    /// What the log says of the group; `None` where no settings entry is applied.
    pub settings: Option<GroupSettings>,
    /// What Raft runs with here; follows the settings within moments.
    pub timers: Option<TimerProfile>,
    /// Last index in the log here.
    pub last: u64,
    /// Last applied log index here.
    pub applied: u64,
    /// Last index known committed here.
    pub committed: u64,
    /// Bytes of the log here, since it was opened.
    pub log_bytes: u64,
    /// Age of what this replica can prove to hold; `None` before the first read index.
    pub staleness_ms: Option<u64>,
    /// Whether it works.
    pub health: Health,
}

impl PartitionStatus {
    /// A replica of which nothing is known but that it runs.
    #[must_use]
    pub fn new(id: PartitionId) -> Self {
        Self {
            id,
            incarnation: Incarnation(1),
            leader: None,
            leader_silent_ms: None,
            term: 0,
            membership: None,
            joint: false,
            voters: Vec::new(),
            learners: Vec::new(),
            members: Vec::new(),
            settings: None,
            timers: None,
            last: 0,
            applied: 0,
            committed: 0,
            log_bytes: 0,
            staleness_ms: None,
            health: Health::Running,
        }
    }

    /// The leader, unless this replica has not heard of it for too long; what operators are shown. A replica names
    /// a leader that is gone for as long as nobody else can be elected.
    #[must_use]
    pub fn leader_heard(&self) -> Option<NodeId> {
        self.leader.filter(|_| self.leader_silent_ms.is_none())
    }
}

/// Who leads, as it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The term this was seen in.
    pub term: u64,
    /// True while this replica leads and has applied everything committed before its term.
    pub leads: bool,
}

/// A partition's replica on this node, as a trait so that `iam` can be tested without Raft.
pub trait Partition: Send + Sync + 'static {
    /// Which partition.
    fn id(&self) -> PartitionId;

    /// Which life of it.
    fn incarnation(&self) -> Incarnation;

    /// Orders and applies `body` (at most 1 MiB). Does not retry.
    fn propose(&self, body: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Outcome>;

    /// Waits until a read of [`Partition::state`] has the wanted consistency; returns the applied
    /// index that the read may rely on.
    fn read(&self, consistency: Consistency, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>>;

    /// The applied state. Read it after [`Partition::read`].
    fn state(&self) -> Arc<dyn Engine>;

    /// The last applied index.
    fn applied(&self) -> u64;

    /// Changes of leadership; latches are dropped when it is lost.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// For operators. Costs a walk over the members.
    fn status(&self) -> PartitionStatus;

    /// The age, in ms, of what this replica can prove to hold: everything acknowledged that long ago is
    /// applied here. `None` before the first proof. For a check after a [`Consistency::BoundedMs`] read.
    fn staleness_ms(&self) -> Option<u64> {
        None
    }
}

/// Seals log entries with the partition's key, so that nothing readable reaches the disk.
pub trait EntryCipher: Send + Sync + 'static {
    /// Seals `plaintext`, bound to `context` (group, incarnation, term, index).
    fn seal(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8>;

    /// Opens what [`EntryCipher::seal`] gave for the same context.
    ///
    /// # Errors
    /// [`CipherError`] if a bit differs or the key is another.
    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CipherError>;
}

/// A sealed entry does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed log entry does not open with this partition's key")]
pub struct CipherError;
