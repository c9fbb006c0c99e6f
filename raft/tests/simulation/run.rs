//! One run: healthy, then faults, then everything mended and progress.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::{Change, Consistency, Incarnation, NodeId, Order, Start};
use tokio::time::{Instant, sleep, timeout};

use crate::bugs::Bug;
use crate::clients;
use crate::coverage::Coverage;
use crate::nemesis;
use crate::rng::Rng;
use crate::scenario::{Scenario, Weather};
use crate::world::{GROUP, World, info};

/// Once mended, a new write is committed and on every member within this.
const PROGRESS_WAIT: Duration = Duration::from_secs(20);
const MAKE_WAIT: Duration = Duration::from_secs(20);
/// Simulated time that stands still for so long, in real time, is moved on.
const STILL_WAIT: Duration = Duration::from_millis(3);
const STEP_WAIT: Duration = Duration::from_secs(1);

/// What a scenario was made from, which is what runs it again.
#[derive(Clone, Copy)]
pub enum Origin {
    /// Its seed alone.
    Seed,
    /// The test of this name, which draws from the seed what it leaves open.
    Test(&'static str),
}

pub struct Report {
    pub origin: Origin,
    pub scenario: Scenario,
    pub violations: Vec<String>,
    pub trace: Vec<String>,
    pub coverage: Coverage,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, command) = (self.scenario.seed, "cargo test -p domicile-raft --test simulation");
        match self.origin {
            Origin::Seed => writeln!(f, "again: DOMICILE_SIM_SEED={seed} {command} seeds")?,
            Origin::Test(name) => writeln!(f, "again: {command} {name} # at its seed {seed}")?,
        }
        writeln!(f, "{}", self.scenario)?;
        writeln!(f, "what the steps came to:")?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "violations:")?;
        self.violations.iter().take(10).try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Runs a seed's scenario, with a bug around Raft if one is given.
pub fn simulate(seed: u64, bug: Option<Bug>) -> Report {
    play(Scenario::from_seed(seed), Origin::Seed, bug)
}

/// Plays a scenario, whose seed draws all that it leaves open.
pub fn play(scenario: Scenario, origin: Origin, bug: Option<Bug>) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let seed = scenario.seed;
    let (violations, trace, coverage) = runtime.block_on(async {
        let mut rng = Rng::new(!seed);
        let world = World::new(scenario.clone(), bug, &mut rng);
        let story = live(Arc::clone(&world), rng);
        let (pump, _running) = pump();
        tokio::select! {
            () = story => {}
            () = pump => {}
            () = world.checker.failed.notified() => {}
        }
        world.checker.verdict()
    });
    runtime.shutdown_background();
    Report { origin, scenario, violations, trace, coverage }
}

/// Moves simulated time on while a thread waits for something that only time can bring: tokio does it
/// by itself only when no thread is busy. Ends never; its thread ends with what is returned beside it.
fn pump() -> (impl Future<Output = ()>, std::sync::mpsc::Sender<()>) {
    let (running, ended) = std::sync::mpsc::channel::<()>();
    let (beat, mut beats) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(STILL_WAIT) {
            // A full queue means that the runtime is busy.
            let _ = beat.try_send(());
        }
    });
    let moving = async move {
        let mut seen = Instant::now();
        while beats.recv().await.is_some() {
            if Instant::now() == seen {
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            seen = Instant::now();
        }
        std::future::pending::<()>().await;
    };
    (moving, running)
}

async fn live(world: Arc<World>, mut rng: Rng) {
    let watch = tokio::spawn(Arc::clone(&world).watch());
    world.network.set_weather(Weather::CALM);
    if timeout(MAKE_WAIT, make(&world)).await.is_err() {
        return world.checker.violation("the cluster was not made in time".to_owned());
    }
    world.checker.trace("the cluster is made");
    world.network.set_weather(world.scenario.weather);
    let clients: Vec<_> = (0..world.scenario.clients)
        .map(|_| tokio::spawn(clients::run(Arc::clone(&world), rng.fork())))
        .collect();
    nemesis::run(Arc::clone(&world), rng.fork()).await;
    world.end_faults();
    world.checker.trace("the faults end");
    for client in clients {
        client.await.unwrap();
    }
    mend(&world).await;
    world.checker.trace("all nodes run");
    if timeout(PROGRESS_WAIT, progress(&world)).await.is_err() {
        let status: Vec<_> = world.running().iter().map(|replica| replica.partition.status()).collect();
        world.checker.violation(format!("no progress after all was mended: {status:#?}"));
    }
    world.checker.trace("a write is on every member");
    world.history.settle(&world.checker);
    watch.abort();
}

/// Node 1 makes the group, the others join, and the first of them get a vote.
async fn make(world: &Arc<World>) {
    world.start(1, Start::Bootstrap(info(1))).await;
    for node in 2..=world.scenario.nodes {
        world.start(node, Start::Join).await;
    }
    for node in 2..=world.scenario.voters {
        order(world, |expected| Change::AddLearner { expected, node: NodeId(node), info: info(node) }).await;
    }
    let voters: std::collections::BTreeSet<_> = (1..=world.scenario.voters).map(NodeId).collect();
    order(world, |expected| Change::SetVoters { expected, voters: voters.clone() }).await;
}

/// Orders until it is done, unless there is no leader.
async fn order(world: &Arc<World>, change: impl Fn(Option<domicile_raft::LogPosition>) -> Change) {
    while let Some(leader) = world.leader() {
        let status = leader.partition.status();
        let generation = status.settings.map_or(0, |settings| settings.generation);
        let change = change(status.membership);
        let order = Order { partition: GROUP, incarnation: Incarnation(1), generation, change };
        if leader.raft.order(NodeId(leader.node), order, STEP_WAIT).await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn mend(world: &Arc<World>) {
    match world.bug {
        Some(Bug::StaysCut) => world.network.cut_all(world.scenario.nodes),
        _ => world.network.heal_all(),
    }
    world.network.set_weather(Weather::CALM);
    for node in 1..=world.scenario.nodes {
        world.disk(node).set_sync_ms((0, 2));
        world.clock(node).set_rate(0);
    }
    // Those that are down start by themselves, within the longest time down; who lost its replica gets one.
    let all = usize::try_from(world.scenario.nodes).unwrap();
    let until = Instant::now() + Duration::from_secs(25);
    let mended = || world.running().len() == all && world.held().is_empty();
    while !mended() && Instant::now() < until {
        sleep(Duration::from_millis(10)).await;
    }
}

/// A new write is acknowledged, and read on every member.
async fn progress(world: &Arc<World>) {
    let index = loop {
        sleep(Duration::from_millis(20)).await;
        let Some(leader) = world.leader() else { continue };
        if leader.partition.status().joint {
            order(world, |expected| Change::FinishJoint { expected }).await;
            continue;
        }
        if let Some(index) = clients::write(world, &leader, 1, STEP_WAIT).await {
            break index;
        }
    };
    let Some(leader) = world.leader() else { return };
    for member in leader.partition.status().members {
        while !has(world, member.node.0, index).await {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn has(world: &World, node: u64, index: u64) -> bool {
    let Some(replica) = world.replica(node) else { return false };
    let read = replica.partition.read(Consistency::Linearizable, STEP_WAIT).await;
    read.is_ok_and(|applied| applied >= index)
}
