//! The receiving side of replication: one leader's appends to one group, fed to Raft in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use openraft::raft::AppendEntriesRequest;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::intake::{Entered, Intake};
use super::transport::PeerRefusal;
use super::wire::AppendAnswer;
use crate::NodeId;
use crate::type_config::{Raft, TypeConfig};

/// Appends of one leader to one group that wait here. A leader keeps fewer in flight.
const WAITING_MAX: usize = 1_024;

type Request = AppendEntriesRequest<TypeConfig>;
type Answered = oneshot::Sender<AppendAnswer>;

struct Session {
    requests: mpsc::UnboundedSender<Request>,
    answers: mpsc::UnboundedSender<Answered>,
}

/// The sessions of one group, one per sending node.
pub(crate) struct AppendSessions {
    sessions: Mutex<BTreeMap<NodeId, Session>>,
    intake: Intake,
    room: Arc<Semaphore>,
}

impl AppendSessions {
    pub(crate) fn new(intake: Intake) -> Self {
        Self { sessions: Mutex::default(), intake, room: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// Queues an append behind those of the same node, before this returns.
    pub(crate) fn push(
        &self,
        raft: &Raft,
        from: NodeId,
        request: Request,
    ) -> impl Future<Output = Result<AppendAnswer, PeerRefusal>> + Send + 'static {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let queued = room.is_ok().then(|| self.queue(raft, from, request));
        async move {
            // Held until answered.
            let _room = room.map_err(|_| PeerRefusal::Overloaded("appends waiting".to_owned()))?;
            let ended = || PeerRefusal::Failed("the append session ended".to_owned());
            queued.ok_or_else(ended)?.await.map_err(|_| ended())
        }
    }

    fn queue(&self, raft: &Raft, from: NodeId, request: Request) -> oneshot::Receiver<AppendAnswer> {
        let (answered, answer) = oneshot::channel();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match sessions.remove(&from) {
            Some(open) if !open.answers.is_closed() => open,
            Some(_) | None => Session::start(raft, &self.intake),
        };
        // The waiter first: an answer always finds it. A session that ends now drops both.
        let _ = session.answers.send(answered);
        let _ = session.requests.send(request);
        sessions.insert(from, session);
        answer
    }
}

impl Session {
    fn start(raft: &Raft, intake: &Intake) -> Self {
        let (requests, input) = mpsc::unbounded_channel();
        let (answers, waiting) = mpsc::unbounded_channel();
        tokio::spawn(run(raft.clone(), intake.clone(), input, waiting));
        Self { requests, answers }
    }
}

/// Until the first answer that is no success: what comes after it in the same session is in vain, and
/// its senders learn that the session ended.
async fn run(
    raft: Raft,
    intake: Intake,
    input: mpsc::UnboundedReceiver<Request>,
    mut waiting: mpsc::UnboundedReceiver<Answered>,
) {
    let (entering, mut entered) = mpsc::unbounded_channel();
    let mut results = std::pin::pin!(raft.stream_append(received(intake, input, entering)));
    while let Some(Ok(result)) = results.next().await {
        let Some(answered) = waiting.recv().await else { return };
        drop(entered.recv().await);
        // A leader that stopped waiting asks again.
        let _ = answered.send(AppendAnswer::from_raft(&result));
        if result.is_err() {
            return;
        }
    }
}

/// What Raft takes, each with its leave to enter, which the answer ends.
fn received(
    intake: Intake,
    input: mpsc::UnboundedReceiver<Request>,
    entering: mpsc::UnboundedSender<Entered>,
) -> impl Stream<Item = Request> + Send + 'static {
    futures::stream::unfold((intake, input, entering), |(intake, mut input, entering)| async {
        let request = input.recv().await?;
        // A session that ended waits for no answers.
        let _ = entering.send(intake.enter().await);
        Some((request, (intake, input, entering)))
    })
}
