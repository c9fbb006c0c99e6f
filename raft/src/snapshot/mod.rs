//! A partition's whole state for another replica (docs/adr/0010).
//!
//! `build_snapshot` makes what is applied durable and copies nothing; a handle is lazy; a view opens
//! when sending begins, so that entries go on being applied. What arrives is written beside the state
//! that counts, verified, synced and then switched to.

mod digest;
mod limits;
mod place;
mod receive;
mod send;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domicile_storage::{Engine, EngineError, ViewError, ViewedEngine};

use crate::barrier::{AppliedState, StateBarrier};
use crate::peer::{PeerError, StreamSender};
use crate::state_meta::{self, StateMetaError};

pub use digest::{DigestError, StateDigest};
pub(crate) use limits::SnapshotLimits;
pub use limits::SnapshotSettings;
pub(crate) use place::Place;
use receive::Received;
pub(crate) use receive::SnapshotReceiver;

/// A snapshot that cannot be made or used. The state that counts is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A state could not be read or written.
    #[error("state engine")]
    Engine(#[from] EngineError),
    /// The view could not be opened, or was closed before all was read; begin anew.
    #[error("view of the state")]
    View(ViewError),
    /// Raft's values in the state do not decode.
    #[error(transparent)]
    Meta(#[from] StateMetaError),
    /// The file system refused.
    #[error("received state")]
    Io(#[from] io::Error),
    /// The bytes are not a snapshot of a known format, or a bit differs.
    #[error("malformed snapshot: {0}")]
    Malformed(&'static str),
    /// The stream ended before the snapshot did, or its receiver is gone.
    #[error("the snapshot was cut short")]
    Cut,
    /// Nothing came for too long.
    #[error("the snapshot's stream stood still")]
    Idle,
    /// A key, a value or the header is longer than the format allows, in bytes.
    #[error("{0} bytes are too long for a snapshot")]
    TooLong(usize),
    /// All of it is longer than this node takes, in bytes.
    #[error("a snapshot of more than {0} bytes")]
    TooLarge(u64),
    /// Of another partition, or another life of it.
    #[error("a snapshot of partition {partition}, incarnation {incarnation}")]
    Foreign {
        /// Which.
        partition: u64,
        /// Which life.
        incarnation: u64,
    },
    /// Of a later term than its sender leads in.
    #[error("a snapshot of term {found} from a leader of term {max}")]
    Term {
        /// The snapshot's.
        found: u64,
        /// The leader's.
        max: u64,
    },
    /// Nothing is applied yet.
    #[error("there is no state to send")]
    Empty,
    /// The stream broke.
    #[error("snapshot stream")]
    Stream(#[source] PeerError),
    /// There is no room for it here; come again.
    #[error("the disk is almost full")]
    DiskFull,
    /// As many are being received as this node or group takes at once; come again.
    #[error("too many snapshots are being received")]
    Busy,
}

impl From<ViewError> for SnapshotError {
    fn from(cause: ViewError) -> Self {
        match cause {
            ViewError::Engine(cause) => Self::Engine(cause),
            other @ (ViewError::TooMany(_) | ViewError::Closed(_)) => Self::View(other),
        }
    }
}

/// A snapshot as openraft passes it around.
pub(crate) enum StateSnapshot {
    /// This replica's state. Nothing is read until it is sent.
    Local(LocalState),
    /// From a peer: verified and durable, but not counting yet.
    Received(Received),
    /// From a peer, no newer than what is here.
    NotNeeded,
}

/// This replica's state, whatever is applied to it by the time it is read.
#[derive(Clone)]
pub(crate) struct LocalState {
    pub(crate) barrier: Arc<StateBarrier>,
    pub(crate) place: Arc<Place>,
}

impl StateSnapshot {
    /// Sends the state as one stream and gives the follower's answer. A view is open meanwhile, so
    /// that entries go on being applied.
    ///
    /// Waits for its turn and keeps to the node's rate. Dropping the future aborts the stream. What is
    /// sent may be newer than what the handle's metadata says, but never of a term after `term_max`:
    /// give the term of the vote that goes with it.
    pub(crate) async fn send(
        self,
        to: Box<dyn StreamSender>,
        term_max: u64,
        answer_deadline: Duration,
    ) -> Result<Bytes, SnapshotError> {
        match self {
            Self::Local(state) => send::send(state, to, term_max, answer_deadline).await,
            // openraft asks the state machine for a handle each time it sends.
            Self::Received(_) | Self::NotNeeded => Err(SnapshotError::Empty),
        }
    }
}

impl Place {
    /// Makes a snapshot count, durably. Returns the engine that counts then and what is applied in it;
    /// nothing if there is nothing to install.
    pub(crate) async fn install_snapshot(
        self: &Arc<Self>,
        snapshot: StateSnapshot,
        current: Arc<ViewedEngine>,
    ) -> Result<Option<(Arc<ViewedEngine>, AppliedState)>, SnapshotError> {
        let Received { fresh, applied } = match snapshot {
            StateSnapshot::Received(received) => received,
            StateSnapshot::Local(state) => receive::copy(self, state).await?,
            StateSnapshot::NotNeeded => return Ok(None),
        };
        let place = Arc::clone(self);
        let installing = tokio::task::spawn_blocking(move || place.install(fresh, &current));
        let engine = installing.await.map_err(io::Error::other)??;
        Ok(Some((engine, applied)))
    }
}

/// SHA-256 over a state's pairs outside Raft's own table: equal on all replicas at equal applied
/// indexes. Reads everything.
///
/// # Errors
/// [`EngineError`] of the engine.
pub fn state_digest(engine: &dyn Engine) -> Result<[u8; 32], EngineError> {
    Ok(receive::tally_of(engine)?.digest)
}

/// [`state_digest`] with the applied index that it belongs to; `None` if entries were applied meanwhile.
///
/// # Errors
/// [`StateMetaError`].
pub fn state_digest_at(engine: &dyn Engine) -> Result<Option<(u64, [u8; 32])>, StateMetaError> {
    let applied = || Ok::<_, StateMetaError>(state_meta::load(engine)?.log_id);
    let before = applied()?;
    let digest = state_digest(engine)?;
    let index = before.as_ref().map_or(0, openraft::LogId::index);
    Ok((applied()? == before).then_some((index, digest)))
}
