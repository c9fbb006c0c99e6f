//! Read-index rounds, shared by the readers that wait (Raft §6.4).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::type_config::{Raft, TypeConfig};
use crate::{Clock, NodeId, ReadError};

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

/// Runs one round at a time; who comes during a round shares the next.
pub(crate) struct ReadRounds {
    waiters: mpsc::Sender<Waiter>,
    last: Arc<Mutex<Option<ReadIndex>>>,
    task: JoinHandle<()>,
}

impl ReadRounds {
    pub(crate) fn start(raft: Raft, clock: Arc<dyn Clock>) -> Self {
        let (waiters, queue) = mpsc::channel(QUEUE_MAX);
        let last = Arc::new(Mutex::new(None));
        let task = tokio::spawn(run(raft, clock, queue, Arc::clone(&last)));
        Self { waiters, last, task }
    }

    /// The result of a round that begins after this call.
    pub(crate) async fn next(&self) -> Result<ReadIndex, ReadError> {
        let (waiter, result) = oneshot::channel();
        self.waiters.send(waiter).await.map_err(|_| ReadError::Stopped)?;
        result.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// The newest confirmed round.
    pub(crate) fn last(&self) -> Option<ReadIndex> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadRounds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    raft: Raft,
    clock: Arc<dyn Clock>,
    mut queue: mpsc::Receiver<Waiter>,
    last: Arc<Mutex<Option<ReadIndex>>>,
) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, QUEUE_MAX).await > 0 {
        let began = clock.monotonic();
        let result = round(&raft).await.map(|index| ReadIndex { index, began });
        if let Ok(confirmed) = result {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(confirmed);
        }
        for waiter in waiting.drain(..) {
            // A reader whose deadline passed is gone.
            let _ = waiter.send(result);
        }
    }
}

async fn round(raft: &Raft) -> Result<u64, ReadError> {
    let confirmed: Result<_, RaftError<TypeConfig, LinearizableReadError<TypeConfig>>> =
        raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
    match confirmed {
        Ok(linearizer) => Ok(linearizer.read_log_id().log_id().index()),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Err(ReadError::NotLeader { leader: forward.leader_id.map(NodeId) })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(ReadError::Timeout),
        Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
    }
}
