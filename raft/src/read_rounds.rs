//! Read-index rounds, shared by the readers that wait (Raft §6.4).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::barrier::Applied;
use crate::read_source::ReadSource;
use crate::{Clock, ReadError};

/// Readers that may wait for a round.
const QUEUE_MAX: usize = 4_096;

/// A read index, and when the round that gave it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadIndex {
    pub(crate) index: u64,
    /// On the monotonic clock. Everything acknowledged before it is at or below `index`.
    pub(crate) began: Duration,
}

type Waiter = oneshot::Sender<Result<ReadIndex, ReadError>>;

/// What the rounds so far prove of this replica.
#[derive(Debug, Default)]
struct Proof {
    /// The newest round that was confirmed.
    newest: Option<ReadIndex>,
    /// When the newest round began whose index was seen applied here.
    applied: Option<Duration>,
}

/// Runs one round at a time; who comes during a round shares the next.
pub(crate) struct ReadRounds {
    waiters: mpsc::Sender<Waiter>,
    proof: Arc<Mutex<Proof>>,
    applied: watch::Receiver<Applied>,
    clock: Arc<dyn Clock>,
    task: JoinHandle<()>,
}

impl ReadRounds {
    pub(crate) fn start(
        source: ReadSource,
        clock: Arc<dyn Clock>,
        applied: watch::Receiver<Applied>,
    ) -> Arc<Self> {
        let (waiters, queue) = mpsc::channel(QUEUE_MAX);
        let proof = Arc::<Mutex<Proof>>::default();
        let task = tokio::spawn(run(source, Arc::clone(&clock), queue, Arc::clone(&proof), applied.clone()));
        Arc::new(Self { waiters, proof, applied, clock, task })
    }

    /// The result of a round that begins after this call.
    pub(crate) async fn next(&self) -> Result<ReadIndex, ReadError> {
        let (waiter, result) = oneshot::channel();
        self.waiters.send(waiter).await.map_err(|_| ReadError::Stopped)?;
        result.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// How long ago the newest round began whose index is applied here (design §6). Contact with a
    /// leader counts for nothing.
    pub(crate) fn staleness(&self) -> Option<Duration> {
        let mut proof = lock(&self.proof);
        proof.settle(self.applied.borrow().index);
        proof.applied.map(|began| self.clock.monotonic().saturating_sub(began))
    }
}

impl Proof {
    fn settle(&mut self, applied: u64) {
        if let Some(newest) = self.newest
            && newest.index <= applied
        {
            self.applied = self.applied.max(Some(newest.began));
        }
    }
}

impl Drop for ReadRounds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(proof: &Mutex<Proof>) -> MutexGuard<'_, Proof> {
    proof.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(
    source: ReadSource,
    clock: Arc<dyn Clock>,
    mut queue: mpsc::Receiver<Waiter>,
    proof: Arc<Mutex<Proof>>,
    applied: watch::Receiver<Applied>,
) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, QUEUE_MAX).await > 0 {
        let began = clock.monotonic();
        let result = source.index().await.map(|index| ReadIndex { index, began });
        if let Ok(confirmed) = result {
            let mut proof = lock(&proof);
            // What the round before proves, before it is forgotten.
            proof.settle(applied.borrow().index);
            proof.newest = Some(confirmed);
        }
        for waiter in waiting.drain(..) {
            // A reader whose deadline passed is gone.
            let _ = waiter.send(result);
        }
    }
}
