//! Several nodes over shared partitions: each partition is led by one of them, and the way between
//! them loses what the test says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use domicile_iam::commands::{CreateTenant, InitCluster, ReadyPartition, RecordMembers, RequestPartition};
use domicile_iam::execute::{Actor, IdempotencyKey, RequestContext};
use domicile_iam::ids::{Id, RequestId, TenantId};
use domicile_iam::model::{MemberHints, NodeAddresses, TenantSettings};
use domicile_iam::password::HashingLimits;
use domicile_iam::proposal::{ActorKind, ActorRef};
use domicile_iam::service::{Asker, Iam, IamParts, Locality, RemoteError, RemotePartitions};
use domicile_raft::placement::{GroupSettings, Placement, Regions, SurvivalGoal};
use domicile_raft::testing::{ManualClock, SoloPartition};
use domicile_raft::{
    BoxFuture, Consistency, Incarnation, Leadership, NodeId, Outcome, Partition, PartitionId,
    PartitionStatus, ReadError, UnknownReason,
};
use domicile_storage::Engine;
use tokio::sync::watch;

use crate::support::{START, cheap, solo};

/// What happens to the next ask that goes to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It arrives and is answered.
    Nothing,
    /// It is not sent.
    NotSent,
    /// It is lost on the way.
    Ask,
    /// It is done; its answer is lost.
    Answer,
    /// It arrives as bytes that say nothing: a fault is answered, and nothing done.
    Broken,
    /// It is done; its answer is lost, and the asking node dies.
    Crash,
}

/// A write that its proposer does not learn the outcome of, on its way until the next one comes.
#[derive(Default)]
pub struct Late(Mutex<LateWrite>);

#[derive(Default)]
enum LateWrite {
    #[default]
    None,
    /// The next one will be.
    Awaited,
    /// It is; repeats of it are refused.
    Held(Vec<u8>),
    /// It arrives right before the next.
    Due(Vec<u8>),
}

impl Late {
    /// The next write is on its way for long.
    pub fn hold(&self) {
        *self.0.lock().unwrap() = LateWrite::Awaited;
    }

    /// It arrives ahead of the next one, which was decided without it.
    pub fn release(&self) {
        let mut write = self.0.lock().unwrap();
        let LateWrite::Held(body) = std::mem::take(&mut *write) else { panic!("nothing was written") };
        *write = LateWrite::Due(body);
    }

    /// What is said of `body` before it gets anywhere, or else what is applied before it.
    fn pass(&self, body: &[u8]) -> Result<Option<Vec<u8>>, Outcome> {
        let mut write = self.0.lock().unwrap();
        match std::mem::take(&mut *write) {
            LateWrite::None => Ok(None),
            LateWrite::Due(before) => Ok(Some(before)),
            LateWrite::Awaited => {
                *write = LateWrite::Held(body.to_vec());
                Err(Outcome::Unknown(UnknownReason::Timeout))
            }
            held @ LateWrite::Held(_) => {
                *write = held;
                Err(Outcome::Overloaded("late"))
            }
        }
    }
}

/// A node's replica of a partition that all nodes share.
struct Replica {
    shared: Arc<SoloPartition>,
    late: Arc<Late>,
    leadership: watch::Sender<Leadership>,
}

impl Partition for Replica {
    fn id(&self) -> PartitionId {
        self.shared.id()
    }
    fn incarnation(&self) -> Incarnation {
        self.shared.incarnation()
    }
    fn propose(&self, body: Vec<u8>, deadline: Duration) -> BoxFuture<'_, Outcome> {
        if !self.leadership.borrow().leads {
            return Box::pin(async { Outcome::NotLeader { leader: None } });
        }
        match self.late.pass(&body) {
            Ok(None) => self.shared.propose(body, deadline),
            Ok(Some(before)) => Box::pin(async move {
                self.shared.propose(before, deadline).await;
                self.shared.propose(body, deadline).await
            }),
            Err(said) => Box::pin(async { said }),
        }
    }
    /// Followers read after a read index of their own.
    fn read(&self, consistency: Consistency, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.shared.read(consistency, deadline)
    }
    fn state(&self) -> Arc<dyn Engine> {
        self.shared.state()
    }
    fn applied(&self) -> u64 {
        self.shared.applied()
    }
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }
    fn status(&self) -> PartitionStatus {
        let placement = if self.id() == PartitionId::DIRECTORY { anywhere() } else { pinned() };
        let settings = GroupSettings { generation: 1, timers: placement.timers(), placement };
        PartitionStatus { settings: Some(settings), ..self.shared.status() }
    }
}

/// The way to the leaders.
struct Net {
    /// As whom it asks.
    from: Mutex<Asker>,
    leaders: OnceLock<BTreeMap<PartitionId, Iam>>,
    losses: Mutex<VecDeque<Loss>>,
    dead: Mutex<bool>,
    asked: Mutex<usize>,
}

impl Net {
    fn of(node: u64, region: &str) -> Arc<Self> {
        Arc::new(Self {
            from: Mutex::new(Asker { node: NodeId(node), region: region.to_owned() }),
            leaders: OnceLock::default(),
            losses: Mutex::default(),
            dead: Mutex::default(),
            asked: Mutex::default(),
        })
    }
}

impl RemotePartitions for Net {
    fn call(
        &self,
        partition: PartitionId,
        _leader: Option<NodeId>,
        request: Vec<u8>,
        _deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, RemoteError>> {
        Box::pin(async move {
            if *self.dead.lock().unwrap() {
                return Err(RemoteError::NoRoute);
            }
            *self.asked.lock().unwrap() += 1;
            let from = self.from.lock().unwrap().clone();
            let loss = self.losses.lock().unwrap().pop_front().unwrap_or(Loss::Nothing);
            let leader = self.leaders.get().unwrap().get(&partition).cloned().ok_or(RemoteError::NoRoute)?;
            match loss {
                Loss::Nothing => Ok(leader.serve_remote(&from, partition, &request).await),
                Loss::Broken => Ok(leader.serve_remote(&from, partition, b"").await),
                Loss::NotSent => Err(RemoteError::NotSent),
                Loss::Ask => Err(RemoteError::Lost),
                Loss::Answer => {
                    leader.serve_remote(&from, partition, &request).await;
                    Err(RemoteError::Lost)
                }
                Loss::Crash => {
                    leader.serve_remote(&from, partition, &request).await;
                    *self.dead.lock().unwrap() = true;
                    Err(RemoteError::Lost)
                }
            }
        })
    }
}

/// Three nodes: `directory` leads partition 0, `home` leads 1, `edge` leads nothing and has no replica
/// but the directory's.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub directory: Iam,
    pub home: Iam,
    pub edge: Iam,
    pub partitions: [Arc<SoloPartition>; 2],
    /// Of the directory.
    pub late: Arc<Late>,
    net: Arc<Net>,
    edge_net: Arc<Net>,
    keys: [Arc<domicile_iam::seal::Keyring>; 2],
}

impl World {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START, 7));
        let partitions = [solo(0), solo(1)];
        let keys = [0, 1].map(|id| {
            let key = domicile_iam::seal::PartitionKey::generate(PartitionId(id), &*clock);
            domicile_iam::seal::Keyring::new(key)
        });
        let (net, edge_net) = (Net::of(2, "eu"), Net::of(1, "eu"));
        let late = Arc::new(Late::default());
        let node = |leads: Option<u64>, homes: bool, region: &str, net: &Arc<Net>| {
            let replica = |id: usize| {
                let leadership = Leadership { term: 1, leads: leads == Some(id as u64) };
                let replica = Replica {
                    shared: Arc::clone(&partitions[id]),
                    late: if id == 0 { Arc::clone(&late) } else { Arc::default() },
                    leadership: watch::Sender::new(leadership),
                };
                domicile_iam::execute::Executor::new(
                    Arc::new(replica),
                    Arc::clone(&keys[id]),
                    clock.clone(),
                    domicile_iam::execute::ExecutorConfig::default(),
                )
            };
            let parts = IamParts {
                directory: replica(0),
                homes: if homes { vec![replica(1)] } else { Vec::new() },
                remote: net.clone(),
                locality: Locality {
                    region: Some(region.to_owned()),
                    origin: Some(format!("https://{region}.example")),
                },
                clock: clock.clone(),
                hashing: HashingLimits { threads: 1, queue_max: 64, cost: cheap() },
            };
            Iam::new(parts).unwrap()
        };
        let directory = node(Some(0), false, "us", &net);
        let home = node(Some(1), true, "eu", &net);
        let edge = node(None, false, "ap", &edge_net);
        let leaders = BTreeMap::from([(PartitionId(0), directory.clone()), (PartitionId(1), home.clone())]);
        assert!(net.leaders.set(leaders.clone()).is_ok() && edge_net.leaders.set(leaders).is_ok());
        Self { clock, directory, home, edge, partitions, late, net, edge_net, keys }
    }

    /// A cluster with one partition for tenants of [`pinned`], led by `home`.
    pub async fn initialised() -> Self {
        let world = Self::new();
        world.directory.directory(&ctx(), &init()).await.unwrap();
        let request = RequestPartition { placement: pinned(), must_be_possible: false, by_default: false };
        let chosen = world.directory.directory(&ctx(), &request).await.unwrap().reply;
        assert_eq!(chosen.partition, PartitionId(1));
        let members = MemberHints { voters: BTreeSet::from([NodeId(2)]), ..MemberHints::default() };
        let ready = ReadyPartition { partition: PartitionId(1), generation: 1, members };
        world.directory.directory(&ctx(), &ready).await.unwrap();
        world
    }

    /// Only `node` votes in partition 1 from now on.
    pub async fn voted_by(&self, node: u64) {
        let members = MemberHints { voters: BTreeSet::from([NodeId(node)]), ..MemberHints::default() };
        let record = RecordMembers { partition: PartitionId(1), generation: 1, members };
        self.directory.directory(&ctx(), &record).await.unwrap();
    }

    /// As whom `edge` asks from now on; at first it is node 1 of `eu`, which votes in the directory.
    pub fn ask_as(&self, node: u64, region: &str) {
        *self.edge_net.from.lock().unwrap() = Asker { node: NodeId(node), region: region.to_owned() };
    }

    /// What happens to the next asks of `edge`.
    pub fn lose(&self, losses: impl IntoIterator<Item = Loss>) {
        self.edge_net.losses.lock().unwrap().extend(losses);
    }

    /// How often `edge` asked.
    pub fn asked(&self) -> usize {
        *self.edge_net.asked.lock().unwrap()
    }

    /// `edge` comes back after a crash.
    pub fn restart(&self) {
        *self.edge_net.dead.lock().unwrap() = false;
        self.edge_net.losses.lock().unwrap().clear();
        assert!(!*self.net.dead.lock().unwrap());
    }

    /// A replica of partition 1 that does not lead, for `edge` to take up.
    pub fn reader(&self) -> Arc<domicile_iam::execute::Executor> {
        self.follower(Arc::clone(&self.partitions[1]))
    }

    /// The same, to which nothing of the partition has come yet.
    pub fn newcomer(&self) -> Arc<domicile_iam::execute::Executor> {
        self.follower(solo(1))
    }

    fn follower(&self, shared: Arc<SoloPartition>) -> Arc<domicile_iam::execute::Executor> {
        let leadership = watch::Sender::new(Leadership { term: 1, leads: false });
        let replica = Replica { shared, late: Arc::default(), leadership };
        let config = domicile_iam::execute::ExecutorConfig::default();
        let keys = Arc::clone(&self.keys[1]);
        domicile_iam::execute::Executor::new(Arc::new(replica), keys, self.clock.clone(), config)
    }
}

pub fn ctx() -> RequestContext {
    RequestContext {
        tenant: TenantId::from_bytes([0; 16]),
        actor: Actor {
            who: ActorRef { kind: ActorKind::Operator, id: "operator-1".to_owned() },
            key: None,
            name: Some("Olive Operator".to_owned()),
        },
        request_id: RequestId::from_bytes([3; 16]),
        idempotency: None,
        deadline: Duration::from_secs(5),
        address: Some("192.0.2.7".to_owned()),
        agent: Some("test".to_owned()),
    }
}

pub fn keyed(key: &str) -> RequestContext {
    let idempotency = Some(IdempotencyKey { key: key.to_owned(), request_hash: [9; 32] });
    RequestContext { idempotency, ..ctx() }
}

pub fn of(tenant: TenantId) -> RequestContext {
    RequestContext { tenant, ..ctx() }
}

pub fn pinned() -> Placement {
    Placement {
        regions: Regions::Only(BTreeSet::from(["eu".to_owned()])),
        survive: SurvivalGoal::Zone,
        preferred_leader_regions: Vec::new(),
        read_replicas: false,
    }
}

pub fn anywhere() -> Placement {
    Placement { regions: Regions::Any, ..pinned() }
}

pub fn addresses() -> NodeAddresses {
    NodeAddresses { peer: vec!["[2001:db8::1]:8445".to_owned()], ..NodeAddresses::default() }
}

pub fn init() -> InitCluster {
    InitCluster {
        cluster_id: "c0ffee".to_owned(),
        name: "Example".to_owned(),
        public_origin: "https://id.example".to_owned(),
        default_placement: pinned(),
        directory_placement: anywhere(),
        dead_after_ms: 300_000,
        region: "eu".to_owned(),
        jurisdiction: "eu".to_owned(),
        zone: "a".to_owned(),
        certificate: vec![1; 40],
        addresses: addresses(),
        version: "0.1.0".to_owned(),
    }
}

/// It asks for nothing, so it gets the default: [`pinned`].
pub fn acme() -> CreateTenant {
    CreateTenant {
        slug: "acme".to_owned(),
        display_name: "Acme".to_owned(),
        issuer: "https://acme.example".to_owned(),
        settings: TenantSettings::default(),
        placement: None,
    }
}
