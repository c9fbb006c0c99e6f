//! [`TlsPeers`]: the dialling side, and what both sides share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::addresses::AddressBook;
use super::certificate::NodeCertificate;
use super::config::{ClientConfigs, Protocol, ServerConfigs};
use super::counters::{CounterTable, PeerCounts, count};
use super::delay::DelayTable;
use super::dial::{dial, knock};
use super::options::{LaneOptions, TlsOptions};
use super::queue::{Fate, LaneQueue, Waiting};
use super::socket::PeerStream;
use super::trust::TrustStore;
use super::verify::PeerVerifier;
use super::{TlsError, config, lane, stream};
use crate::peer::{Lane, MESSAGE_BYTES_MAX, PeerError, PeerRefusal, PeerTransport, StreamSender};
use crate::{BoxFuture, Clock, NodeId};

/// What a node's transport is made of.
pub struct TlsPeersConfig {
    /// Who this node is, and the certificate that says so.
    pub certificate: Arc<NodeCertificate>,
    /// Whom it believes; may be updated at any time.
    pub trust: Arc<TrustStore>,
    /// Where the others are; may be updated at any time.
    pub book: Arc<AddressBook>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Bounds.
    pub options: TlsOptions,
}

pub(super) struct Shared {
    pub(super) cluster: String,
    pub(super) book: Arc<AddressBook>,
    pub(super) trust: Arc<TrustStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: TlsOptions,
    pub(super) clients: ClientConfigs,
    pub(super) servers: ServerConfigs,
    pub(super) counters: CounterTable,
    pub(super) delays: DelayTable,
    pub(super) stop: CancellationToken,
    pub(super) lanes: Mutex<BTreeMap<(NodeId, Lane), Arc<LaneQueue>>>,
    /// Peers a connection with which ended.
    pub(super) ended: broadcast::Sender<NodeId>,
}

/// More at once are told as the last ones only; who listens is seldom late.
const ENDED_MAX: usize = 256;

type Answer = oneshot::Receiver<Result<Bytes, PeerError>>;

impl TlsOptions {
    pub(super) fn lane(&self, lane: Lane) -> &LaneOptions {
        match lane {
            Lane::Control => &self.control,
            Lane::Data => &self.data,
        }
    }
}

impl Shared {
    /// A connection from `node` came in: it need not be waited for.
    pub(super) fn seen(&self, node: NodeId) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in [Lane::Control, Lane::Data] {
            if let Some(queue) = lanes.get(&(node, lane)) {
                queue.retry_now();
            }
        }
    }

    /// A connection with `node` ended, whoever made it.
    pub(super) fn ended(&self, node: NodeId) {
        // Nobody need listen.
        let _ = self.ended.send(node);
    }

    /// The control connection to `node` broke: data need not be waited for as long as otherwise.
    pub(super) fn doubt(&self, node: NodeId) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = lanes.get(&(node, Lane::Data)) {
            queue.doubt(true);
        }
    }
}

/// Mutual TLS to the peers. Dropping it ends its connections and tasks, and those of its listeners.
pub struct TlsPeers {
    pub(super) shared: Arc<Shared>,
    handle: Handle,
    tasks: TaskTracker,
    _stop: DropGuard,
}

impl TlsPeers {
    /// Dials nobody yet. Must be called inside a Tokio runtime; its tasks run there.
    ///
    /// # Errors
    /// [`TlsError::Configuration`].
    pub fn new(config: TlsPeersConfig) -> Result<Self, TlsError> {
        let TlsPeersConfig { certificate, trust, book, clock, options } = config;
        let verifier = Arc::new(PeerVerifier::new(Arc::clone(&trust), Arc::clone(&book)));
        let clients = ClientConfigs::new(&certificate, &verifier, &clock)?;
        let servers = config::server(&certificate, verifier, &clock)?;
        let stop = CancellationToken::new();
        let shared = Shared {
            cluster: trust.cluster().to_owned(),
            book,
            trust,
            clock,
            options,
            clients,
            servers,
            counters: CounterTable::default(),
            delays: DelayTable::default(),
            stop: stop.clone(),
            lanes: Mutex::new(BTreeMap::new()),
            ended: broadcast::Sender::new(ENDED_MAX),
        };
        let (handle, tasks) = (Handle::current(), TaskTracker::new());
        Ok(Self { shared: Arc::new(shared), handle, tasks, _stop: stop.drop_guard() })
    }

    /// Where peers are.
    #[must_use]
    pub fn book(&self) -> &Arc<AddressBook> {
        &self.shared.book
    }

    /// What went to and came from each peer so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<NodeId, PeerCounts> {
        self.shared.counters.snapshot(self.shared.clock.monotonic())
    }

    /// Delays all that is sent to peers of `region`, one way, on connections made from here on.
    /// For demos and tests.
    pub fn set_delay(&self, region: &str, delay: Duration) {
        self.shared.delays.set(region, delay);
    }

    /// A connection of its own to `to`, for the caller to speak HTTP over.
    ///
    /// # Errors
    /// [`PeerError::Unreachable`].
    pub async fn connect_http(&self, to: NodeId, deadline: Duration) -> Result<PeerStream, PeerError> {
        if self.tasks.is_closed() {
            return Err(PeerError::Unreachable { node: to, reason: "the transport is closed".to_owned() });
        }
        dial(&self.shared, to, Protocol::Http, deadline)
            .await
            .map_err(|reason| PeerError::Unreachable { node: to, reason })
    }

    /// Ends the lanes to `node`, after what waits is sent and answered. A later call dials again
    /// and may overtake them.
    pub fn disconnect(&self, node: NodeId) {
        let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in [Lane::Control, Lane::Data] {
            if let Some(queue) = lanes.remove(&(node, lane)) {
                queue.close();
            }
        }
    }

    /// Takes no more calls, sends what waits, and waits up to `grace` for the answers.
    pub async fn close(&self, grace: Duration) {
        self.tasks.close();
        for queue in self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner).values() {
            queue.close();
        }
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::info!("closed the peer transport with calls unanswered");
        }
        self.shared.stop.cancel();
    }

    fn queue(&self, to: NodeId, lane: Lane) -> Arc<LaneQueue> {
        let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = lanes.get(&(to, lane)) {
            return Arc::clone(queue);
        }
        let queue = Arc::new(LaneQueue::new(to, self.shared.options.lane(lane).queue_bytes_max));
        if self.tasks.is_closed() {
            queue.close();
            return queue;
        }
        lanes.insert((to, lane), Arc::clone(&queue));
        let running = lane::run(Arc::clone(&self.shared), to, lane, Arc::clone(&queue));
        self.tasks.spawn_on(running, &self.handle);
        queue
    }

    fn enqueue(
        &self,
        to: NodeId,
        lane: Lane,
        message: Bytes,
        deadline: Duration,
    ) -> Result<(Answer, Fate), PeerError> {
        if message.len() > MESSAGE_BYTES_MAX {
            let reason = format!("{} bytes; at most {MESSAGE_BYTES_MAX}", message.len());
            return Err(PeerError::Refused { node: to, refusal: PeerRefusal::Malformed(reason) });
        }
        if self.shared.book.region(to).is_none() {
            let reason = "no address of it is known".to_owned();
            return Err(PeerError::Unreachable { node: to, reason });
        }
        let (reply, answer) = oneshot::channel();
        let now = self.shared.clock.monotonic();
        let fate = Fate::default();
        let call = Waiting { message, reply, expires: now.saturating_add(deadline), fate: fate.clone() };
        let pushed = self.queue(to, lane).push(call, now);
        if let Err(PeerError::QueueFull(_)) = &pushed {
            count(&self.shared.counters.of(to).queue_full, 1);
        }
        pushed.map(|()| (answer, fate))
    }
}

impl std::fmt::Debug for TlsPeers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsPeers").field("book", &self.shared.book).finish_non_exhaustive()
    }
}

impl PeerTransport for TlsPeers {
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        message: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (answer, fate) = match self.enqueue(to, lane, message, deadline) {
            Ok(enqueued) => enqueued,
            Err(refused) => return Box::pin(std::future::ready(Err(refused))),
        };
        // The deadline runs from here, not from the first poll.
        let _inside = self.handle.enter();
        let answer = tokio::time::timeout(deadline, answer);
        Box::pin(async move {
            match answer.await {
                Ok(Ok(answer)) => answer,
                // Still waiting for its turn, or dropped unsent because it was too late.
                Ok(Err(_)) | Err(_) if fate.give_up() => {
                    let reason = "it did not leave before its deadline".to_owned();
                    Err(PeerError::Unreachable { node: to, reason })
                }
                Ok(Err(_)) | Err(_) => Err(PeerError::Timeout(to)),
            }
        })
    }

    fn open_stream(
        &self,
        to: NodeId,
        header: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Box<dyn StreamSender>, PeerError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { stream::open(shared, to, header, deadline).await })
    }

    fn region_of(&self, node: NodeId) -> Option<String> {
        self.shared.book.region(node)
    }

    fn ended_connections(&self) -> Option<broadcast::Receiver<NodeId>> {
        Some(self.shared.ended.subscribe())
    }

    fn listens(&self, node: NodeId, deadline: Duration) -> BoxFuture<'static, Option<bool>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { tokio::time::timeout(deadline, knock(&shared, node)).await.ok().flatten() })
    }
}
