//! A network inside one process, whose links the test cuts and heals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::peer::{
    Lane, PeerError, PeerIdentity, PeerRefusal, PeerService, PeerTransport, StreamReceiver, StreamSender,
};
use crate::{BoxFuture, NodeId};

/// Chunks of a stream that wait for a slow receiver.
const CHUNKS_MAX: usize = 8;

/// Joins the nodes of a test. Clones share everything.
///
/// A cut link loses what is sent over it without a word, as a network does; a node that is not attached
/// refuses at once, as a closed port does. Messages are delivered inside the call, so in its order.
#[derive(Clone, Default)]
pub struct Switchboard {
    state: Arc<Mutex<State>>,
}

struct State {
    services: BTreeMap<NodeId, Arc<dyn PeerService>>,
    /// Directed: what the first sends the second is lost.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Where nodes run, as their transports say.
    regions: BTreeMap<NodeId, String>,
    /// Calls per lane, delivered or not.
    calls: BTreeMap<(NodeId, NodeId, Lane), u64>,
    /// Nodes that went away.
    ended: broadcast::Sender<NodeId>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            cut: BTreeSet::new(),
            regions: BTreeMap::new(),
            calls: BTreeMap::new(),
            ended: broadcast::Sender::new(64),
        }
    }
}

impl Switchboard {
    /// Without nodes; every link whole.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the node that `identity` names sends.
    #[must_use]
    pub fn transport(&self, identity: PeerIdentity) -> Arc<dyn PeerTransport> {
        self.lock().regions.insert(identity.node, identity.region.clone());
        Arc::new(MemoryTransport { board: self.clone(), identity })
    }

    /// From now on `service` answers for `node`.
    pub fn attach(&self, node: NodeId, service: Arc<dyn PeerService>) {
        self.lock().services.insert(node, service);
    }

    /// Nobody answers for `node` any more: its process ended, and with it its connections.
    pub fn detach(&self, node: NodeId) {
        let mut state = self.lock();
        if state.services.remove(&node).is_some() {
            // Nobody need listen.
            let _ = state.ended.send(node);
        }
    }

    /// Loses everything from `from` to `to`, answers too, until healed.
    pub fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.lock().cut.insert((from, to));
    }

    /// Cuts both ways.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Cuts a node from all the others that are attached.
    pub fn isolate(&self, node: NodeId) {
        let others: Vec<NodeId> = self.lock().services.keys().copied().filter(|id| *id != node).collect();
        for other in others {
            self.cut(node, other);
        }
    }

    /// Makes both directions whole.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        let mut state = self.lock();
        state.cut.remove(&(a, b));
        state.cut.remove(&(b, a));
    }

    /// Makes every link whole.
    pub fn heal_all(&self) {
        self.lock().cut.clear();
    }

    /// Calls that `from` made to `to` on `lane` so far.
    #[must_use]
    pub fn calls(&self, from: NodeId, to: NodeId, lane: Lane) -> u64 {
        self.lock().calls.get(&(from, to, lane)).copied().unwrap_or(0)
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.lock().cut.contains(&(from, to))
    }

    fn service(&self, node: NodeId) -> Result<Arc<dyn PeerService>, PeerError> {
        let refused = || PeerError::Unreachable { node, reason: "connection refused".to_owned() };
        self.lock().services.get(&node).cloned().ok_or_else(refused)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryTransport {
    board: Switchboard,
    identity: PeerIdentity,
}

impl PeerTransport for MemoryTransport {
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        message: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let from = self.identity.node;
        *self.board.lock().calls.entry((from, to, lane)).or_default() += 1;
        if self.board.is_cut(from, to) {
            return lost(to, deadline);
        }
        let service = match self.board.service(to) {
            Ok(service) => service,
            Err(cause) => return futures::future::ready(Err(cause)).boxed(),
        };
        // Goes on when the caller forgets the answer.
        let served = tokio::spawn(service.serve(&self.identity, lane, message));
        let board = self.board.clone();
        async move {
            let answer = timeout(deadline, served).await.map_err(|_| PeerError::Timeout(to))?;
            if board.is_cut(to, from) {
                return lost(to, deadline).await;
            }
            match answer {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(refusal)) => Err(PeerError::Refused { node: to, refusal }),
                Err(cause) => Err(PeerError::Lost { node: to, reason: cause.to_string() }),
            }
        }
        .boxed()
    }

    fn open_stream(
        &self,
        to: NodeId,
        header: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Box<dyn StreamSender>, PeerError>> {
        let (board, identity) = (self.board.clone(), self.identity.clone());
        async move {
            if board.is_cut(identity.node, to) {
                sleep(deadline).await;
                return Err(PeerError::Timeout(to));
            }
            let service = board.service(to)?;
            let (chunks, arriving) = mpsc::channel(CHUNKS_MAX);
            let receiver = Box::new(MemoryReceiver { from: identity.node, arriving });
            let (answered, answer) = oneshot::channel();
            let served = service.serve_stream(&identity, header, receiver);
            tokio::spawn(async move {
                // A sender that is gone wants no answer.
                let _ = answered.send(served.await);
            });
            let from = identity.node;
            Ok(Box::new(MemorySender { board, from, to, chunks, answer }) as Box<dyn StreamSender>)
        }
        .boxed()
    }

    fn region_of(&self, node: NodeId) -> Option<String> {
        self.board.lock().regions.get(&node).cloned()
    }

    fn ended_connections(&self) -> Option<broadcast::Receiver<NodeId>> {
        Some(self.board.lock().ended.subscribe())
    }

    fn listens(&self, node: NodeId, _deadline: Duration) -> BoxFuture<'static, Option<bool>> {
        let reached = !self.board.is_cut(self.identity.node, node);
        futures::future::ready(reached.then(|| self.board.service(node).is_ok())).boxed()
    }
}

fn lost(to: NodeId, deadline: Duration) -> BoxFuture<'static, Result<Bytes, PeerError>> {
    sleep(deadline).map(move |()| Err(PeerError::Timeout(to))).boxed()
}

/// `None` at the orderly end.
type Chunk = Option<Bytes>;

struct MemorySender {
    board: Switchboard,
    from: NodeId,
    to: NodeId,
    chunks: mpsc::Sender<Chunk>,
    answer: oneshot::Receiver<Result<Bytes, PeerRefusal>>,
}

impl StreamSender for MemorySender {
    fn send(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), PeerError>> {
        async move {
            let broken = || PeerError::Lost { node: self.to, reason: "the stream broke".to_owned() };
            if self.board.is_cut(self.from, self.to) {
                return Err(broken());
            }
            self.chunks.send(Some(chunk)).await.map_err(|_| broken())
        }
        .boxed()
    }

    fn finish(self: Box<Self>, deadline: Duration) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        async move {
            let node = self.to;
            let broken = |reason: &str| PeerError::Lost { node, reason: reason.to_owned() };
            if self.board.is_cut(self.from, node) {
                return Err(broken("the stream broke"));
            }
            // A receiver that refused early does not read the end.
            let _ = self.chunks.send(None).await;
            let answer = timeout(deadline, self.answer).await.map_err(|_| PeerError::Timeout(node))?;
            let answer = answer.map_err(|_| broken("no answer"))?;
            answer.map_err(|refusal| PeerError::Refused { node, refusal })
        }
        .boxed()
    }
}

struct MemoryReceiver {
    from: NodeId,
    arriving: mpsc::Receiver<Chunk>,
}

impl StreamReceiver for MemoryReceiver {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, PeerError>> {
        async move {
            let aborted = || PeerError::Lost { node: self.from, reason: "aborted".to_owned() };
            self.arriving.recv().await.ok_or_else(aborted)
        }
        .boxed()
    }
}
