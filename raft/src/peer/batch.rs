//! Small requests of many groups to one peer, sent as one message.
//!
//! A batch is what gathered while the task that sends it was waiting for its turn; nothing is held back
//! for others to come, but for heartbeats while [`PeerLink::gather`] is on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::link::{PeerLink, unreadable};
use super::message::Kind;
use super::transport::PeerError;
use super::wire::{
    self, AppendAnswer, BatchAnswer, BatchBody, BatchRefusal, Beat, GroupKey, ReadIndexAnswer,
};
use crate::NodeId;

/// Requests in one message at most.
pub(crate) const BATCH_MAX: usize = 512;

/// What is sent in batches.
pub(crate) trait Batched: Sized + 'static {
    type Request: bincode::Encode + Send + 'static;
    type Answer: bincode::Decode<()> + Send + 'static;
    const KIND: Kind;
}

/// Appends without entries.
pub(crate) struct Heartbeats;

impl Batched for Heartbeats {
    type Request = Beat;
    type Answer = AppendAnswer;
    const KIND: Kind = Kind::Heartbeats;
}

/// Questions for a read index.
pub(crate) struct ReadIndexes;

impl Batched for ReadIndexes {
    type Request = GroupKey;
    type Answer = ReadIndexAnswer;
    const KIND: Kind = Kind::ReadIndexes;
}

struct Waiting<B: Batched> {
    group: GroupKey,
    request: B::Request,
    deadline: Duration,
    answer: oneshot::Sender<Result<B::Answer, PeerError>>,
}

type Queue<B> = mpsc::UnboundedSender<Waiting<B>>;

/// One queue per peer, made when it is first needed.
pub(crate) struct Batchers<B: Batched> {
    link: Weak<PeerLink>,
    queues: Mutex<BTreeMap<NodeId, Queue<B>>>,
}

impl<B: Batched> Batchers<B> {
    pub(crate) fn new(link: Weak<PeerLink>) -> Self {
        Self { link, queues: Mutex::default() }
    }

    /// Asks `to`; each caller waits for its own answer.
    pub(crate) async fn ask(
        &self,
        to: NodeId,
        group: GroupKey,
        request: B::Request,
        deadline: Duration,
    ) -> Result<B::Answer, PeerError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { group, request, deadline, answer };
        let gone = || PeerError::Unreachable { node: to, reason: "this node is stopping".to_owned() };
        self.queue(to).send(waiting).map_err(|_| gone())?;
        let lost = || PeerError::Lost { node: to, reason: "this node is stopping".to_owned() };
        answered.await.unwrap_or_else(|_| Err(lost()))
    }

    fn queue(&self, to: NodeId) -> Queue<B> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (queue, waiting) = mpsc::unbounded_channel();
            tokio::spawn(run::<B>(self.link.clone(), to, waiting));
            queue
        };
        queues.entry(to).or_insert_with(make).clone()
    }
}

/// Until the link is dropped, and its queues with it.
async fn run<B: Batched>(link: Weak<PeerLink>, to: NodeId, mut queue: mpsc::UnboundedReceiver<Waiting<B>>) {
    // Groups that kept a batch waiting ask alone until they answer again.
    let slow: Arc<Mutex<BTreeSet<GroupKey>>> = Arc::default();
    let Some(mut gathering) = link.upgrade().map(|link| link.gathering()) else { return };
    while let Some(first) = queue.recv().await {
        if B::KIND == Kind::Heartbeats && gathering.wait_for(|on| !on).await.is_err() {
            return;
        }
        // Lets every group that is about to ask do so.
        tokio::task::yield_now().await;
        let mut together = Vec::new();
        let mut alone = Vec::new();
        let mut next = Some(first);
        while let Some(waiting) = next {
            let is_slow = slow.lock().unwrap_or_else(PoisonError::into_inner).contains(&waiting.group);
            if is_slow {
                alone.push(vec![waiting]);
            } else {
                together.push(waiting);
            }
            next = if together.len() < BATCH_MAX { queue.try_recv().ok() } else { None };
        }
        let Some(link) = link.upgrade() else { return };
        for batch in alone.into_iter().chain((!together.is_empty()).then_some(together)) {
            send(&link, to, batch, &slow);
        }
    }
}

fn send<B: Batched>(
    link: &PeerLink,
    to: NodeId,
    batch: Vec<Waiting<B>>,
    slow: &Arc<Mutex<BTreeSet<GroupKey>>>,
) {
    let deadline = batch.iter().map(|waiting| waiting.deadline).max().unwrap_or_default();
    // The answer must come before the deadline, with those that are not late; the way takes its time too.
    let wait_ms = u64::try_from((deadline / 3).as_millis()).unwrap_or(u64::MAX);
    let (mut requests, mut waiters) = (Vec::new(), Vec::new());
    for Waiting { group, request, answer, .. } in batch {
        requests.push(request);
        waiters.push((group, answer));
    }
    let body = match wire::encode(&BatchBody { wait_ms, requests }) {
        Ok(body) => body,
        Err(cause) => {
            tracing::error!(%cause, "a batch cannot be written");
            return;
        }
    };
    // Called here, not in the task: messages go in the order of these calls.
    let call = link.call(to, B::KIND, &body, deadline);
    let slow = Arc::clone(slow);
    tokio::spawn(async move {
        let answers = call.await.and_then(|bytes| {
            wire::decode::<BatchAnswer<B::Answer>>(&bytes).map_err(|cause| unreadable(to, &cause))
        });
        let mut answers = match answers {
            Ok(BatchAnswer { answers }) => answers.into_iter(),
            Err(cause) => {
                // One of them may have held all the others up: each shows for itself.
                if matches!(cause, PeerError::Timeout(_)) && waiters.len() > 1 {
                    let mut slow = slow.lock().unwrap_or_else(PoisonError::into_inner);
                    slow.extend(waiters.iter().map(|(group, _)| *group));
                }
                for (_, waiter) in waiters {
                    // Who asked may have stopped waiting.
                    let _ = waiter.send(Err(cause.clone()));
                }
                return;
            }
        };
        for (group, waiter) in waiters {
            let answer = match answers.next() {
                Some(Ok(answer)) => Ok(answer),
                Some(Err(BatchRefusal::Refused(refusal))) => Err(PeerError::Refused { node: to, refusal }),
                Some(Err(BatchRefusal::Late)) | None => Err(PeerError::Timeout(to)),
            };
            let mut slow = slow.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(answer, Err(PeerError::Timeout(_))) {
                slow.insert(group);
            } else {
                slow.remove(&group);
            }
            drop(slow);
            let _ = waiter.send(answer);
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use bytes::Bytes;

    use super::super::boots::SeenBoots;
    use super::super::message::Envelope;
    use super::super::transport::{Lane, PeerTransport, StreamSender};
    use super::*;
    use crate::data_dir::NodeIdentity;
    use crate::peer::ClusterId;
    use crate::{BoxFuture, Incarnation, PartitionId};

    /// Answers nothing, and notes how many requests each message carries and how long it may wait.
    #[derive(Default)]
    struct Silent(Mutex<Vec<(usize, u64)>>);

    impl PeerTransport for Arc<Silent> {
        fn call(
            &self,
            to: NodeId,
            _lane: Lane,
            message: Bytes,
            _deadline: Duration,
        ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
            let (_, body) = Envelope::decode(message).unwrap();
            let BatchBody { wait_ms, requests } = wire::decode::<BatchBody<GroupKey>>(&body).unwrap();
            self.0.lock().unwrap().push((requests.len(), wait_ms));
            Box::pin(async move { Err(PeerError::Timeout(to)) })
        }

        fn open_stream(
            &self,
            to: NodeId,
            _header: Bytes,
            _deadline: Duration,
        ) -> BoxFuture<'static, Result<Box<dyn StreamSender>, PeerError>> {
            Box::pin(async move { Err(PeerError::Timeout(to)) })
        }
    }

    #[tokio::test]
    async fn groups_of_a_batch_that_was_not_answered_ask_alone() {
        let silent = Arc::new(Silent::default());
        let identity = NodeIdentity { id: NodeId(1), boots: 1 };
        let cluster = ClusterId::new("c1").unwrap();
        let boots = Arc::new(SeenBoots::default());
        let link = PeerLink::new(Arc::new(Arc::clone(&silent)), cluster, identity, boots);
        for _ in 0..2 {
            let asked = (1..=3).map(|partition| {
                let group = GroupKey { partition: PartitionId(partition), incarnation: Incarnation(1) };
                link.read_index(NodeId(2), group, Duration::from_millis(300))
            });
            for answer in futures::future::join_all(asked).await {
                assert_eq!(answer, Err(PeerError::Timeout(NodeId(2))));
            }
        }
        assert_eq!(*silent.0.lock().unwrap(), [(3, 100), (1, 100), (1, 100), (1, 100)]);
    }
}
