//! Receiving: chunks are written beside the state that counts, then checked as a whole.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domicile_storage::{Batch, Engine, KeyRange, Order, Pair, Transaction, Write};
use openraft::type_config::alias::SnapshotOf;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::place::{Fresh, Place};
use super::stream::{Chunk, Header, Tally, Totals, Unpacker};
use super::{LocalState, SnapshotError, StateSnapshot};
use crate::barrier::{Applied, AppliedState};
use crate::peer::{PeerError, StreamReceiver};
use crate::state_meta;
use crate::type_config::{SnapshotMeta, TypeConfig, term_of};

/// Bytes of pairs that go into one batch.
const BATCH_BYTES: usize = 1 << 20;
/// Chunks that wait for the disk.
const AHEAD: usize = 4;
/// A stream that brings nothing for so long is given up: it holds one of few turns.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Takes the snapshots that peers send to one group.
pub(crate) struct SnapshotReceiver {
    pub(crate) place: Arc<Place>,
    pub(crate) applied: watch::Receiver<Applied>,
}

impl SnapshotReceiver {
    /// Takes a stream that [`StateSnapshot::send`] made, whole and verified, beside the state that
    /// counts. To be handed to `Raft::install_full_snapshot`, which switches to it; dropping it removes
    /// what was received. Dropping the future does so too.
    ///
    /// `term_max` is the term of the sender's vote: openraft panics on a snapshot beyond it.
    pub(crate) async fn receive(
        &self,
        mut chunks: Box<dyn StreamReceiver>,
        term_max: u64,
    ) -> Result<SnapshotOf<TypeConfig, StateSnapshot>, SnapshotError> {
        let _node_turn = self.place.limits.receive_turn().ok_or(SnapshotError::Busy)?;
        let _group_turn = self.place.receiving.try_lock().map_err(|_| SnapshotError::Busy)?;
        let mut unpacker = Unpacker::default();
        let first = next(&mut *chunks).await?.ok_or(SnapshotError::Cut)?;
        let Chunk::Header(header) = unpacker.open(&first)? else {
            return Err(SnapshotError::Malformed("no header"));
        };
        self.check(&header, term_max)?;
        let meta =
            SnapshotMeta { last_log_id: Some(header.log_id), last_membership: header.membership.clone() };
        if header.log_id.index() <= self.applied.borrow().index {
            // Answered as taken: openraft sees that there is nothing to install.
            while next(&mut *chunks).await?.is_some() {}
            return Ok(SnapshotOf::<TypeConfig, StateSnapshot> { meta, snapshot: StateSnapshot::NotNeeded });
        }
        let (to, queue) = mpsc::channel(AHEAD);
        let bytes_max = self.place.limits.settings.receive_bytes_max;
        let writing = Incoming::write(&self.place, *header, unpacker, bytes_max, queue);
        while let Some(chunk) = next(&mut *chunks).await? {
            if self.place.limits.disk_is_full(chunk.len()) {
                return Err(SnapshotError::DiskFull);
            }
            if to.send(chunk).await.is_err() {
                // The writer says why.
                break;
            }
        }
        drop(to);
        let received = writing.await.map_err(|cause| SnapshotError::Io(io::Error::other(cause)))??;
        Ok(SnapshotOf::<TypeConfig, StateSnapshot> { meta, snapshot: StateSnapshot::Received(received) })
    }

    fn check(&self, header: &Header, term_max: u64) -> Result<(), SnapshotError> {
        if (header.partition, header.incarnation) != (self.place.partition.0, self.place.incarnation.0) {
            return Err(SnapshotError::Foreign {
                partition: header.partition,
                incarnation: header.incarnation,
            });
        }
        let found = term_of(&header.log_id);
        if found > term_max {
            return Err(SnapshotError::Term { found, max: term_max });
        }
        if header.raft.iter().any(|(key, _)| !state_meta::is_sent_as_is(key)) {
            return Err(SnapshotError::Malformed("a value that is not replicated"));
        }
        Ok(())
    }
}

async fn next(chunks: &mut dyn StreamReceiver) -> Result<Option<Bytes>, SnapshotError> {
    match tokio::time::timeout(IDLE_MAX, chunks.next()).await {
        Ok(chunk) => Ok(chunk?),
        Err(_) => Err(SnapshotError::Idle),
    }
}

impl From<PeerError> for SnapshotError {
    fn from(cause: PeerError) -> Self {
        Self::Stream(cause)
    }
}

/// A state that is whole, verified and durable, and does not count yet.
pub(crate) struct Received {
    pub(super) fresh: Fresh,
    pub(super) applied: AppliedState,
}

/// Copies a state of this process, as a stream would.
pub(super) async fn copy(place: &Arc<Place>, state: LocalState) -> Result<Received, SnapshotError> {
    let mut chunks = super::send::read_ahead(state, u64::MAX);
    let first = chunks.recv().await.ok_or(SnapshotError::Cut)??;
    let mut unpacker = Unpacker::default();
    let Chunk::Header(header) = unpacker.open(&first)? else {
        return Err(SnapshotError::Malformed("no header"));
    };
    let (to, queue) = mpsc::channel(AHEAD);
    let writing = Incoming::write(place, *header, unpacker, u64::MAX, queue);
    while let Some(chunk) = chunks.recv().await {
        if to.send(chunk?).await.is_err() {
            break;
        }
    }
    drop(to);
    writing.await.map_err(|cause| SnapshotError::Io(io::Error::other(cause)))?
}

/// A state that is being written.
struct Incoming {
    fresh: Fresh,
    header: Header,
    unpacker: Unpacker,
    tally: Tally,
    batch: Vec<Write>,
    batch_bytes: usize,
    last: Vec<u8>,
    bytes_max: u64,
    totals: Option<Totals>,
}

impl Incoming {
    /// Writes what waits, on a thread of its own, until the channel is closed.
    fn write(
        place: &Arc<Place>,
        header: Header,
        unpacker: Unpacker,
        bytes_max: u64,
        queue: mpsc::Receiver<Bytes>,
    ) -> JoinHandle<Result<Received, SnapshotError>> {
        let place = Arc::clone(place);
        tokio::task::spawn_blocking(move || {
            let mut incoming = Self {
                fresh: place.fresh()?,
                header,
                unpacker,
                tally: Tally::new(),
                batch: Vec::new(),
                batch_bytes: 0,
                last: vec![state_meta::TABLE],
                bytes_max,
                totals: None,
            };
            incoming.take_all(queue)?;
            incoming.finish()
        })
    }

    fn take_all(&mut self, mut queue: mpsc::Receiver<Bytes>) -> Result<(), SnapshotError> {
        while let Some(chunk) = queue.blocking_recv() {
            if self.totals.is_some() {
                return Err(SnapshotError::Malformed("chunks after the end"));
            }
            match self.unpacker.open(&chunk)? {
                Chunk::Header(_) => return Err(SnapshotError::Malformed("a second header")),
                Chunk::Pairs(body) => self.pairs(body)?,
                Chunk::End(totals) => self.totals = Some(totals),
            }
        }
        Ok(())
    }

    fn pairs(&mut self, body: &[u8]) -> Result<(), SnapshotError> {
        let mut unpacker = std::mem::take(&mut self.unpacker);
        let taken = unpacker.pairs(body, |key, value| self.pair(key, value));
        self.unpacker = unpacker;
        taken
    }

    fn pair(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), SnapshotError> {
        // Also keeps out Raft's own table, which comes in the header.
        if key <= self.last || key.first() == Some(&state_meta::TABLE) {
            return Err(SnapshotError::Malformed("keys out of order"));
        }
        self.tally.add(&key, &value);
        if self.tally.bytes() > self.bytes_max {
            return Err(SnapshotError::TooLarge(self.bytes_max));
        }
        self.batch_bytes += key.len() + value.len();
        self.last.clone_from(&key);
        self.batch.push(Write::Put { key, value });
        if self.batch_bytes >= BATCH_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SnapshotError> {
        let writes = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.fresh.engine().commit(Batch { writes })?;
        self.fresh.step(super::place::Step::Written);
        Ok(())
    }

    /// Checks the whole, and reads it back from where it was written.
    fn finish(mut self) -> Result<Received, SnapshotError> {
        let wanted = self.totals.ok_or(SnapshotError::Cut)?;
        self.commit()?;
        let Self { fresh, header, tally, .. } = self;
        if tally.totals() != wanted {
            return Err(SnapshotError::Malformed("totals"));
        }
        let engine = fresh.engine();
        let applied =
            AppliedState { log_id: Some(header.log_id), membership: header.membership, settings: None };
        let mut raft = Transaction::new(&**engine);
        state_meta::store_applied(&mut raft, &applied)?;
        state_meta::store_membership(&mut raft, &applied)?;
        for (key, value) in header.raft {
            raft.put(key, value);
        }
        engine.commit(raft.into_batch())?;
        engine.sync()?;
        if tally_of(&**engine)? != wanted {
            return Err(SnapshotError::Malformed("what was written does not read back"));
        }
        fresh.step(super::place::Step::Synced);
        let applied =
            state_meta::load(&**engine).map_err(|cause| SnapshotError::Io(io::Error::other(cause)))?;
        Ok(Received { fresh, applied })
    }
}

/// What the pairs outside Raft's own table come to.
pub(super) fn tally_of(engine: &dyn Engine) -> Result<Totals, domicile_storage::EngineError> {
    let mut tally = Tally::new();
    let mut range = KeyRange { start: Bound::Included(vec![state_meta::TABLE + 1]), end: Bound::Unbounded };
    loop {
        let pairs: Vec<Pair> = engine.scan_within(&range, Order::Ascending, 1_024, BATCH_BYTES)?;
        let Some((last, _)) = pairs.last() else { return Ok(tally.totals()) };
        range.start = Bound::Excluded(last.clone());
        for (key, value) in &pairs {
            tally.add(key, value);
        }
    }
}
