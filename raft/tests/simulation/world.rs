//! The cluster of one run: nodes that start, end without a word and start again on what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_raft::peer::{ClusterId, PeerIdentity};
use domicile_raft::placement::GroupSettings;
use domicile_raft::testing::ToyCipher;
use domicile_raft::{
    Clock, GroupConfig, Health, Incarnation, JoinPoint, NodeConfig, NodeId, NodeIdentity, NodeInfo,
    OpenState, Partition, PartitionId, Peers, RaftNode, Start, TimerProfile,
};
use tokio::time::{sleep, timeout};

use crate::bugs::Bug;
use crate::checker::{Checker, Marks};
use crate::clients::History;
use crate::clock::SimClock;
use crate::disk::Disk;
use crate::life::Life;
use crate::machine::Registers;
use crate::network::Network;
use crate::rng::Rng;
use crate::scenario::{Loss, Scenario};

/// The one group. Orders to the directory come from its own voters, so no second group is needed.
pub const GROUP: PartitionId = PartitionId::DIRECTORY;
/// A node opens its group within this, whatever its disk holds.
const OPEN_WAIT: Duration = Duration::from_secs(20);
const CIPHER_KEY: u8 = 9;

/// One node's replica in one life.
#[derive(Clone)]
pub struct Replica {
    pub node: u64,
    pub raft: Arc<RaftNode>,
    pub partition: Arc<dyn Partition>,
    pub life: Life,
    /// Ends before the node's life if the replica is destroyed.
    pub kept: Life,
}

pub struct World {
    pub scenario: Scenario,
    pub bug: Option<Bug>,
    pub checker: Arc<Checker>,
    pub history: History,
    pub network: Network,
    clocks: Vec<Arc<SimClock>>,
    disks: Vec<Arc<Disk>>,
    slots: Mutex<BTreeMap<u64, Slot>>,
    /// Nodes whose replicas are being taken away and brought back.
    held: Mutex<BTreeSet<u64>>,
    over: AtomicBool,
}

#[derive(Default)]
struct Slot {
    boots: u64,
    running: Option<Replica>,
    /// It runs without a replica.
    bare: Option<(Arc<RaftNode>, Life)>,
    /// How its replica was brought back, which each start repeats, as from the file beside a replica on disk.
    noted: Option<(JoinPoint, Option<TimerProfile>)>,
}

pub fn cipher() -> ToyCipher {
    ToyCipher::new(CIPHER_KEY)
}

pub fn info(node: u64) -> NodeInfo {
    NodeInfo { region: format!("r{node}"), zone: "a".to_owned(), ..NodeInfo::default() }
}

impl World {
    pub fn new(scenario: Scenario, bug: Option<Bug>, rng: &mut Rng) -> Arc<Self> {
        let checker = Arc::new(Checker::new());
        let clocks = (0..scenario.nodes).map(|_| Arc::new(SimClock::new(rng.fork()))).collect();
        let disk = |node, rng| Arc::new(Disk::new(node, rng, scenario.sync_ms, Arc::clone(&checker), bug));
        let disks = (1..=scenario.nodes).map(|node| disk(node, rng.fork())).collect();
        let network = Network::new(rng.fork(), scenario.weather);
        let (history, slots, held, over) = <_>::default();
        Arc::new(Self { scenario, bug, checker, history, network, clocks, disks, slots, held, over })
    }

    pub fn disk(&self, node: u64) -> &Arc<Disk> {
        &self.disks[usize::try_from(node - 1).unwrap()]
    }

    pub fn clock(&self, node: u64) -> &Arc<SimClock> {
        &self.clocks[usize::try_from(node - 1).unwrap()]
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn end_faults(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn running(&self) -> Vec<Replica> {
        self.slots().values().filter_map(|slot| slot.running.clone()).collect()
    }

    pub fn replica(&self, node: u64) -> Option<Replica> {
        self.slots().get(&node)?.running.clone()
    }

    pub fn any(&self, rng: &mut Rng) -> Option<Replica> {
        rng.pick(&self.running()).cloned()
    }

    /// Who leads, as it says itself; the newest of several.
    pub fn leader(&self) -> Option<Replica> {
        let seen = |replica: &Replica| *replica.partition.leadership().borrow();
        let leading = self.running().into_iter().filter(|replica| seen(replica).leads);
        leading.max_by_key(|replica| seen(replica).term)
    }

    /// Starts a node on what its disk holds. Does nothing if it runs.
    pub async fn start(&self, node: u64, start: Start) {
        let boots = {
            let mut slots = self.slots();
            let slot = slots.entry(node).or_default();
            if slot.running.is_some() || slot.bare.is_some() {
                return;
            }
            slot.boots += 1;
            slot.boots
        };
        let life = Life::default();
        let state = self.disk(node).state(&life);
        let open: OpenState = Arc::new(move |_, _| Ok(Arc::clone(&state)));
        let clock = Arc::clone(self.clock(node)) as Arc<dyn Clock>;
        let mut config = NodeConfig::new(None, self.disk(node).log(&life), open, clock);
        config.identity = Some(NodeIdentity { id: NodeId(node), boots });
        let identity = PeerIdentity { node: NodeId(node), region: info(node).region, zone: "a".to_owned() };
        let transport = self.network.transport(identity, life.clone());
        config.peers = Some(Peers { transport, cluster: ClusterId::new("simulated").unwrap() });
        let (checker, lived) = (Arc::clone(&self.checker), life.clone());
        config.on_panic = Arc::new(move |report| {
            if lived.is_lived() {
                checker.violation(format!("node {node}: panic: {}", report.message));
            }
        });
        let raft = Arc::new(RaftNode::open(config).unwrap());
        self.network.attach(node, raft.peer_service(), life.clone());
        if self.disk(node).is_gone() {
            self.slots().entry(node).or_default().bare = Some((raft, life));
            return;
        }
        self.open(node, raft, life, start).await;
    }

    async fn open(&self, node: u64, raft: Arc<RaftNode>, life: Life, start: Start) {
        match timeout(OPEN_WAIT, raft.open_group(self.group(node, start))).await {
            Ok(Ok(partition)) => {
                let replica = Replica { node, raft, partition, life, kept: Life::default() };
                self.slots().entry(node).or_default().running = Some(replica);
            }
            Ok(Err(cause)) => self.checker.violation(format!("node {node} does not open: {cause:?}")),
            Err(_) => self.checker.violation(format!("node {node} does not open in time")),
        }
    }

    /// Has a node no replica any more for others; the node is what still destroys it. `None` while it does not run.
    pub fn without_replica(&self, node: u64) -> Option<Arc<RaftNode>> {
        let mut slots = self.slots();
        let slot = slots.get_mut(&node)?;
        if let Some(Replica { raft, life, kept, .. }) = slot.running.take() {
            kept.end();
            slot.bare = Some((raft, life));
        }
        slot.bare.as_ref().map(|(raft, _)| Arc::clone(raft))
    }

    /// Opens a replica on a node that has none, at once or when it starts again.
    pub async fn begin_anew(&self, node: u64, point: JoinPoint, timers: Option<TimerProfile>) {
        let bare = {
            let mut slots = self.slots();
            let slot = slots.entry(node).or_default();
            slot.noted = Some((point, timers));
            self.disk(node).begin_anew();
            slot.bare.take()
        };
        if let Some((raft, life)) = bare {
            self.open(node, raft, life, Start::Join).await;
        }
    }

    /// Keeps other orders from bringing a node in. False if it is held already.
    pub fn hold(&self, node: u64) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(node)
    }

    pub fn release(&self, node: u64) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    pub fn held(&self) -> BTreeSet<u64> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn group(&self, node: u64, start: Start) -> GroupConfig {
        let noted = self.slots().get(&node).and_then(|slot| slot.noted);
        let (start, timers) = match noted {
            Some((_, timers)) if self.bug == Some(Bug::JoinsAnywhere) => (Start::Join, timers),
            Some((point, timers)) => (Start::JoinAt(point), timers),
            None => (start, None),
        };
        GroupConfig {
            partition: GROUP,
            incarnation: Incarnation(1),
            cipher: Arc::new(cipher()),
            state_machine: Arc::new(Registers { node, checker: Arc::clone(&self.checker) }),
            settings: GroupSettings::anywhere(timers.unwrap_or(self.scenario.timers)),
            retention: self.scenario.retention,
            start,
        }
    }

    /// Ends a node without a word. False if it does not run.
    pub fn crash(&self, node: u64, loss: Loss) -> bool {
        let ended = self.slots().get_mut(&node).and_then(|slot| {
            let running = slot.running.take().map(|replica| (replica.raft, replica.life));
            running.or_else(|| slot.bare.take())
        });
        let Some((raft, life)) = ended else { return false };
        self.network.detach(node);
        self.disk(node).crash(&life, loss);
        self.checker.count(|coverage| coverage.crashes += 1);
        // Its tasks are still there, but nothing they do reaches anything; this lets go of them.
        tokio::spawn(async move { raft.shutdown().await });
        true
    }

    /// Looks at every replica again and again.
    pub async fn watch(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(20)).await;
            for replica in self.running() {
                let node = replica.node;
                let status = replica.partition.status();
                let leadership = *replica.partition.leadership().borrow();
                if !matches!(status.health, Health::Running) {
                    self.checker.violation(format!("node {node}: {:?}", status.health));
                    return;
                }
                if leadership.leads {
                    self.checker.leads(node, leadership.term);
                }
                // Raft counts a snapshot that is being installed as its log, and as committed.
                let disk = self.disk(node).marks();
                let (term, committed, last) = (status.term, status.committed, disk.last.max(status.last));
                let marks = Marks { term, committed, last, ..disk };
                self.checker.looked(node, replica.raft.identity().boots, marks);
            }
        }
    }
}
