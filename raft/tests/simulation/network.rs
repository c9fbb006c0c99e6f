//! A network inside one process that delays, loses, repeats and cuts, as drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domicile_raft::peer::{
    Lane, PeerError, PeerIdentity, PeerRefusal, PeerService, PeerTransport, StreamReceiver, StreamSender,
};
use domicile_raft::{BoxFuture, NodeId};
use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::life::Life;
use crate::rng::Rng;
use crate::scenario::Weather;

/// Of a thousand losses, those after which no reset reaches the sender.
const SILENT_PER_MILLE: u64 = 100;
/// Chunks of a stream that wait for a slow receiver.
const CHUNKS_MAX: usize = 4;

type Line = (u64, u64, Lane);
type Answer = oneshot::Sender<Seen>;

/// What the sender of a message sees of it in the end.
enum Seen {
    Answer(Result<Bytes, PeerRefusal>),
    Reset,
}

struct Packet {
    at: Instant,
    message: Bytes,
    /// `None` for a repetition.
    answer: Option<Answer>,
}

/// Clones share everything.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    weather: Weather,
    services: BTreeMap<u64, (Arc<dyn PeerService>, Life)>,
    /// Directed.
    cut: BTreeSet<(u64, u64)>,
    /// Lines that stand still while others between the same nodes go on.
    stuck: BTreeSet<Line>,
    lines: BTreeMap<Line, (mpsc::UnboundedSender<Packet>, Instant)>,
}

impl State {
    fn delay(&mut self) -> Duration {
        let (low, high) = self.weather.delay_ms;
        Duration::from_micros(self.rng.between(low * 1_000, high * 1_000 + 400))
    }

    fn loses(&mut self) -> bool {
        let lost = self.weather.lost_per_mille;
        self.rng.chance(lost)
    }

    /// What the sender of a lost message sees: most often the connection breaks, else nothing.
    fn lost(&mut self) -> Option<Seen> {
        (!self.rng.chance(SILENT_PER_MILLE)).then_some(Seen::Reset)
    }
}

impl Network {
    pub fn new(rng: Rng, weather: Weather) -> Self {
        let (services, cut, stuck, lines) = <_>::default();
        Self(Arc::new(Mutex::new(State { rng, weather, services, cut, stuck, lines })))
    }

    pub fn transport(&self, identity: PeerIdentity, life: Life) -> Arc<dyn PeerTransport> {
        Arc::new(Transport { network: self.clone(), identity, life })
    }

    pub fn attach(&self, node: u64, service: Arc<dyn PeerService>, life: Life) {
        self.lock().services.insert(node, (service, life));
    }

    pub fn detach(&self, node: u64) {
        self.lock().services.remove(&node);
    }

    pub fn cut_one_way(&self, from: u64, to: u64) {
        self.lock().cut.insert((from, to));
    }

    pub fn cut(&self, a: u64, b: u64) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    pub fn cut_all(&self, nodes: u64) {
        let others = |node| (1..node).map(move |other| (node, other));
        (1..=nodes).flat_map(others).for_each(|(a, b)| self.cut(a, b));
    }

    pub fn cut_line(&self, from: u64, to: u64, lane: Lane) {
        self.lock().stuck.insert((from, to, lane));
    }

    pub fn heal_all(&self) {
        let mut state = self.lock();
        state.cut.clear();
        state.stuck.clear();
    }

    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    fn is_cut(&self, from: u64, to: u64) -> bool {
        self.lock().cut.contains(&(from, to))
    }

    fn service(&self, node: u64) -> Option<(Arc<dyn PeerService>, Life)> {
        self.lock().services.get(&node).cloned()
    }

    fn delay(&self) -> Duration {
        self.lock().delay()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in its line, unless it is lost; the answer's sender is dropped with it then.
    fn send(&self, from: &PeerIdentity, to: u64, lane: Lane, message: Bytes, answer: Answer) {
        let mut state = self.lock();
        let way = (from.node.0, to, lane);
        if state.cut.contains(&(from.node.0, to)) || state.stuck.contains(&way) {
            return;
        }
        if state.loses() {
            state.lost().map(|reset| answer.send(reset));
            return;
        }
        let (delay, again) = (state.delay(), state.delay());
        let twice_per_mille = state.weather.twice_per_mille;
        let twice = state.rng.chance(twice_per_mille);
        let (queue, last) = state.lines.entry(way).or_insert_with(|| {
            let (queue, packets) = mpsc::unbounded_channel();
            tokio::spawn(self.clone().carry(from.clone(), to, lane, packets));
            (queue, Instant::now())
        });
        // INVARIANT: what one line carries arrives in the order sent.
        let at = (Instant::now() + delay).max(*last);
        *last = at;
        let repeated = twice.then(|| Packet { at: at + again, message: message.clone(), answer: None });
        let _ = queue.send(Packet { at, message, answer: Some(answer) });
        if let Some(packet) = repeated {
            *last = packet.at;
            let _ = queue.send(packet);
        }
    }

    async fn carry(
        self,
        from: PeerIdentity,
        to: u64,
        lane: Lane,
        mut packets: mpsc::UnboundedReceiver<Packet>,
    ) {
        while let Some(Packet { at, message, answer }) = packets.recv().await {
            sleep_until(at).await;
            if self.is_cut(from.node.0, to) {
                continue;
            }
            let Some((service, life)) = self.service(to) else { continue };
            let served = service.serve(&from, lane, message);
            let (network, back) = (self.clone(), (to, from.node.0));
            tokio::spawn(async move {
                let said = served.await;
                sleep(network.delay()).await;
                let Some(answer) = answer else { return };
                if !life.is_lived() || network.is_cut(back.0, back.1) {
                    return;
                }
                let seen = {
                    let mut state = network.lock();
                    if state.loses() { state.lost() } else { Some(Seen::Answer(said)) }
                };
                seen.map(|seen| answer.send(seen));
            });
        }
    }
}

struct Transport {
    network: Network,
    identity: PeerIdentity,
    life: Life,
}

impl PeerTransport for Transport {
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        message: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let until = Instant::now() + deadline;
        let (answer, answered) = oneshot::channel();
        if self.life.is_lived() {
            if self.network.service(to.0).is_none() {
                let reason = "connection refused".to_owned();
                return sleep(self.network.delay())
                    .map(move |()| Err(PeerError::Unreachable { node: to, reason }))
                    .boxed();
            }
            self.network.send(&self.identity, to.0, lane, message, answer);
        }
        async move {
            match timeout_at(until, answered).await {
                Ok(Ok(Seen::Answer(said))) => {
                    said.map_err(|refusal| PeerError::Refused { node: to, refusal })
                }
                Ok(Ok(Seen::Reset)) => {
                    Err(PeerError::Unreachable { node: to, reason: "connection reset".to_owned() })
                }
                Ok(Err(_)) => {
                    sleep_until(until).await;
                    Err(PeerError::Timeout(to))
                }
                Err(_) => Err(PeerError::Timeout(to)),
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
        let (network, identity, life) = (self.network.clone(), self.identity.clone(), self.life.clone());
        async move {
            sleep(network.delay()).await;
            if !life.is_lived() || network.is_cut(identity.node.0, to.0) {
                sleep(deadline).await;
                return Err(PeerError::Timeout(to));
            }
            let refused = || PeerError::Unreachable { node: to, reason: "connection refused".to_owned() };
            let (service, theirs) = network.service(to.0).ok_or_else(refused)?;
            let (chunks, received) = mpsc::channel(CHUNKS_MAX);
            let (answered, answer) = oneshot::channel();
            let served =
                service.serve_stream(&identity, header, Box::new(Incoming { from: identity.node, received }));
            tokio::spawn(async move {
                let said = served.await;
                if theirs.is_lived() {
                    let _ = answered.send(said);
                }
            });
            let stream = Outgoing { network, from: identity.node.0, to, life, chunks, answer };
            Ok(Box::new(stream) as Box<dyn StreamSender>)
        }
        .boxed()
    }
}

/// `None` at the orderly end.
type Chunk = Option<Bytes>;

struct Outgoing {
    network: Network,
    from: u64,
    to: NodeId,
    life: Life,
    chunks: mpsc::Sender<Chunk>,
    answer: oneshot::Receiver<Result<Bytes, PeerRefusal>>,
}

impl Outgoing {
    fn broken(&self) -> PeerError {
        PeerError::Unreachable { node: self.to, reason: "the stream broke".to_owned() }
    }

    /// Without a delay: a thread waits for the chunk, and simulated time stands still meanwhile.
    async fn put(&self, chunk: Chunk) -> Result<(), PeerError> {
        let lost = self.network.lock().loses();
        if lost || !self.life.is_lived() || self.network.is_cut(self.from, self.to.0) {
            return Err(self.broken());
        }
        self.chunks.send(chunk).await.map_err(|_| self.broken())
    }
}

impl StreamSender for Outgoing {
    fn send(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), PeerError>> {
        self.put(Some(chunk)).boxed()
    }

    fn finish(mut self: Box<Self>, deadline: Duration) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        async move {
            self.put(None).await?;
            let said = timeout(deadline, &mut self.answer).await.map_err(|_| PeerError::Timeout(self.to))?;
            sleep(self.network.delay()).await;
            if self.network.is_cut(self.to.0, self.from) {
                return Err(self.broken());
            }
            let said = said.map_err(|_| self.broken())?;
            said.map_err(|refusal| PeerError::Refused { node: self.to, refusal })
        }
        .boxed()
    }
}

struct Incoming {
    from: NodeId,
    received: mpsc::Receiver<Chunk>,
}

impl StreamReceiver for Incoming {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, PeerError>> {
        async move {
            let aborted = || PeerError::Unreachable { node: self.from, reason: "aborted".to_owned() };
            self.received.recv().await.ok_or_else(aborted)
        }
        .boxed()
    }
}
