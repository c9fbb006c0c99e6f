//! Proposals on their way into Raft, handed over together.
//!
//! One sync answers many proposers at once, and each of them may propose again at once. Handed over one
//! by one, the first of these would be synced alone while the others wait for a second sync.

use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResponse;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::type_config::{Answer, Command, Raft, TypeConfig};

/// How Raft answers a proposal.
pub(crate) type Written = Result<ClientWriteResponse<TypeConfig>, ClientWriteError<TypeConfig>>;

struct Proposal {
    command: Command,
    answer: Answer<Written>,
}

/// The queue of one group. What waits in it is bounded by the bytes in flight.
pub(crate) struct Proposals {
    queue: mpsc::UnboundedSender<Proposal>,
    task: JoinHandle<()>,
}

impl Proposals {
    pub(crate) fn start(raft: Raft) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        Self { queue, task: tokio::spawn(run(raft, waiting)) }
    }

    /// Proposes `command`; `None` if the group ended before it answered. The proposal goes on when the
    /// caller stops waiting.
    pub(crate) async fn propose(&self, command: Command, in_flight: OwnedSemaphorePermit) -> Option<Written> {
        let (to, written) = oneshot::channel();
        let proposal = Proposal { command, answer: Answer { to, in_flight } };
        self.queue.send(proposal).ok()?;
        written.await.ok()
    }
}

impl Drop for Proposals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until the group ends; who waits then learns it from the dropped answer.
async fn run(raft: Raft, mut queue: mpsc::UnboundedReceiver<Proposal>) {
    let mut waiting = Vec::new();
    while let Some(first) = queue.recv().await {
        waiting.push(first);
        // Lets every task that is ready run first: proposers that were answered together come together.
        tokio::task::yield_now().await;
        while let Ok(next) = queue.try_recv() {
            waiting.push(next);
        }
        for Proposal { command, answer } in waiting.drain(..) {
            if raft.client_write_ff(command, Some(answer)).await.is_err() {
                return;
            }
        }
    }
}
