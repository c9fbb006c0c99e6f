//! The digest of what a replica has applied, read from a view while writes go on.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use domicile_storage::{KeyRange, View, ViewedEngine};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::SnapshotError;
use super::send::{SCAN_BYTES, SCAN_PAIRS, raft_pairs};
use super::stream::Tally;
use crate::faults::Lifecycle;
use crate::group::Group;
use crate::state_meta;
use crate::type_config::term_of;
use crate::{Incarnation, LogPosition};

/// What a replica has applied, as one number: equal on all replicas of an incarnation at equal positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateDigest {
    /// Which life of the partition.
    pub incarnation: Incarnation,
    /// The last entry that the state holds the effects of.
    pub applied: LogPosition,
    /// [`super::state_digest`] of exactly that.
    pub digest: [u8; 32],
}

/// A digest that was not made.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// There is no running replica of the partition on this node.
    #[error("no running replica of the partition here")]
    NoReplica,
    /// There is no position that it could be of.
    #[error("nothing is applied yet")]
    Empty,
    /// A node makes one at a time; come again.
    #[error("another digest is being made on this node")]
    Busy,
    /// The node stops.
    #[error("the node is stopping")]
    Stopped,
    /// The state could not be read to its end as it was.
    #[error("the state was not read to its end")]
    State(#[from] SnapshotError),
}

impl Group {
    /// Reads everything, on a thread of its own, which holds `turn` and ends soon after this future is dropped or
    /// `stop` is cancelled.
    pub(crate) async fn digest(
        &self,
        turn: OwnedMutexGuard<()>,
        stop: CancellationToken,
    ) -> Result<StateDigest, DigestError> {
        if !matches!(*self.faults.lifecycle.borrow(), Lifecycle::Running) {
            return Err(DigestError::NoReplica);
        }
        let (engine, incarnation) = (self.engine.get(), self.incarnation);
        let _stop_with_this = stop.clone().drop_guard();
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read(&engine, incarnation, &stop)
        });
        reading.await.map_err(|cause| SnapshotError::Io(io::Error::other(cause)))?
    }
}

fn read(
    engine: &Arc<ViewedEngine>,
    incarnation: Incarnation,
    stop: &CancellationToken,
) -> Result<StateDigest, DigestError> {
    let view = engine.view().map_err(SnapshotError::from)?;
    let made = digest_of(&view, incarnation, stop);
    // Writes need not clear up beside their own work.
    view.close().map_err(SnapshotError::from)?;
    made
}

/// INVARIANT: what is applied is read from the view itself, so that the digest is of that and of nothing else.
pub(super) fn digest_of(
    view: &View,
    incarnation: Incarnation,
    stop: &CancellationToken,
) -> Result<StateDigest, DigestError> {
    let raft = raft_pairs(view).map_err(SnapshotError::from)?;
    let applied = state_meta::from_pairs(&raft).map_err(SnapshotError::from)?;
    let log_id = applied.log_id.ok_or(DigestError::Empty)?;
    let mut tally = Tally::new();
    let range = KeyRange { start: Bound::Included(vec![state_meta::TABLE + 1]), end: Bound::Unbounded };
    let mut scan = view.scan(&range);
    while let Some(pairs) = scan.next_chunk(SCAN_PAIRS, SCAN_BYTES).map_err(SnapshotError::from)? {
        if stop.is_cancelled() {
            return Err(DigestError::Stopped);
        }
        for (key, value) in &pairs {
            tally.add(key, value);
        }
    }
    let applied = LogPosition { term: term_of(&log_id), index: log_id.index() };
    Ok(StateDigest { incarnation, applied, digest: tally.totals().digest })
}
