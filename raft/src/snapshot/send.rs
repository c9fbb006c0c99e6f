//! Sending: a view is read on a thread of its own, a few chunks ahead of the stream.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domicile_storage::{KeyRange, Pair, View, ViewError};
use tokio::sync::mpsc;

use super::stream::{Header, Packer, Tally};
use super::{LocalState, SnapshotError};
use crate::peer::StreamSender;
use crate::state_meta;
use crate::type_config::term_of;

pub(super) const SCAN_PAIRS: usize = 1_024;
pub(super) const SCAN_BYTES: usize = 512 << 10;
/// Chunks that wait for the stream.
const AHEAD: usize = 4;

/// Reads a state into chunks.
pub(super) struct Source {
    state: LocalState,
    term_max: u64,
    to: mpsc::Sender<Result<Bytes, SnapshotError>>,
}

/// Begins to read; the view closes when the receiver is dropped or the end was read.
pub(super) fn read_ahead(state: LocalState, term_max: u64) -> mpsc::Receiver<Result<Bytes, SnapshotError>> {
    let (to, chunks) = mpsc::channel(AHEAD);
    let source = Source { state, term_max, to };
    tokio::task::spawn_blocking(move || source.run());
    chunks
}

impl Source {
    fn run(self) {
        let ended = self.read();
        if let Err(cause) = ended {
            // Whoever waited may be gone.
            let _ = self.to.blocking_send(Err(cause));
        }
    }

    fn read(&self) -> Result<(), SnapshotError> {
        // INVARIANT: opened before it is asked what is applied, so that the two agree.
        let view = self.state.barrier.engine().view()?;
        let sent = self.read_view(&view);
        // Writes need not clear up beside their own work.
        view.close()?;
        sent
    }

    fn read_view(&self, view: &View) -> Result<(), SnapshotError> {
        let mut packer = Packer::default();
        self.hand_over(packer.header(&self.header(view)?)?)?;
        let mut tally = Tally::new();
        let range = KeyRange { start: Bound::Included(vec![state_meta::TABLE + 1]), end: Bound::Unbounded };
        let mut scan = view.scan(&range);
        while let Some(pairs) = scan.next_chunk(SCAN_PAIRS, SCAN_BYTES)? {
            for (key, value) in pairs {
                tally.add(&key, &value);
                packer.pair(&key, &value, |chunk| self.hand_over(chunk))?;
            }
        }
        for chunk in packer.end(&tally.totals())? {
            self.hand_over(chunk)?;
        }
        Ok(())
    }

    fn header(&self, view: &View) -> Result<Header, SnapshotError> {
        let mut raft = raft_pairs(view)?;
        let applied = state_meta::from_pairs(&raft)?;
        let log_id = applied.log_id.ok_or(SnapshotError::Empty)?;
        if term_of(&log_id) > self.term_max {
            return Err(SnapshotError::Term { found: term_of(&log_id), max: self.term_max });
        }
        raft.retain(|(key, _)| state_meta::is_sent_as_is(key));
        Ok(Header {
            partition: self.state.place.partition.0,
            incarnation: self.state.place.incarnation.0,
            log_id,
            membership: applied.membership,
            raft,
        })
    }

    fn hand_over(&self, chunk: Bytes) -> Result<(), SnapshotError> {
        self.to.blocking_send(Ok(chunk)).map_err(|_| SnapshotError::Cut)
    }
}

/// The pairs of Raft's own table.
pub(super) fn raft_pairs(view: &View) -> Result<Vec<Pair>, ViewError> {
    let mut raft = Vec::new();
    let mut scan = view.scan(&KeyRange::prefix(&[state_meta::TABLE]));
    while let Some(pairs) = scan.next_chunk(SCAN_PAIRS, SCAN_BYTES)? {
        raft.extend(pairs);
    }
    Ok(raft)
}

pub(super) async fn send(
    state: LocalState,
    mut to: Box<dyn StreamSender>,
    term_max: u64,
    answer_deadline: Duration,
) -> Result<Bytes, SnapshotError> {
    let limits = Arc::clone(&state.place.limits);
    let _turn = limits.send_turn().await;
    let mut chunks = read_ahead(state, term_max);
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        limits.pace(chunk.len()).await;
        to.send(chunk).await?;
    }
    Ok(to.finish(answer_deadline).await?)
}
