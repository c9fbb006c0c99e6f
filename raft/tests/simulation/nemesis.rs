//! Carries a schedule out.

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::placement::GroupSettings;
use domicile_raft::{Change, Incarnation, NodeId, Order, Start, TimerProfile};
use tokio::time::{Instant, sleep, sleep_until};

use crate::comeback;
use crate::rng::Rng;
use crate::scenario::{Action, Loss, Step, Target, Wanted};
use crate::world::{GROUP, World, info};

const ORDER_WAIT: Duration = Duration::from_millis(800);

/// Until the last step is done, whose effects may go on.
pub async fn run(world: Arc<World>, rng: Rng) {
    let (steps, comebacks) = (world.scenario.steps.clone(), world.scenario.comebacks.clone());
    let own = comeback::rng(!world.scenario.seed);
    tokio::join!(carry_out(Arc::clone(&world), rng, steps), carry_out(Arc::clone(&world), own, comebacks));
}

async fn carry_out(world: Arc<World>, mut rng: Rng, steps: Vec<Step>) {
    let began = Instant::now();
    for Step { at_ms, action } in steps {
        let due = began + Duration::from_millis(at_ms);
        sleep_until(due.min(began + Duration::from_millis(world.scenario.ends_ms))).await;
        act(&world, &mut rng, action);
    }
    sleep_until(began + Duration::from_millis(world.scenario.ends_ms)).await;
}

fn act(world: &Arc<World>, rng: &mut Rng, action: Action) {
    let said = format!("{action:?}");
    let all = 1..=world.scenario.nodes;
    match action {
        Action::CutOneWay(from, to) => world.network.cut_one_way(from, to),
        Action::CutAnswers(from) => {
            let Some(to) = resolve(world, rng, Target::Leader) else { return };
            world.checker.trace(&format!("{said}: to node {to}"));
            return world.network.cut_one_way(from, to);
        }
        Action::CutLine(to, lane) => {
            let Some(from) = resolve(world, rng, Target::Leader) else { return };
            world.checker.trace(&format!("{said}: from node {from}"));
            return world.network.cut_line(from, to, lane);
        }
        Action::Isolate(target) => {
            let Some(node) = resolve(world, rng, target) else { return };
            world.checker.trace(&format!("{said}: node {node}"));
            return all.filter(|other| *other != node).for_each(|other| world.network.cut(node, other));
        }
        Action::Split(side) => all.for_each(|other| {
            let across = |node: &&u64| !side.contains(&other) && **node != other;
            side.iter().filter(across).for_each(|node| world.network.cut(*node, other));
        }),
        Action::Bridge(side, between) => all.filter(|other| *other != between).for_each(|other| {
            let across = |node: &&u64| !side.contains(&other) && **node != between;
            side.iter().filter(across).for_each(|node| world.network.cut(*node, other));
        }),
        Action::HealAll => world.network.heal_all(),
        Action::Crash { target, loss, down_ms } => {
            let Some(node) = resolve(world, rng, target) else { return };
            world.checker.trace(&format!("{said}: node {node}"));
            if world.crash(node, loss) {
                start_after(world, node, down_ms);
            }
            return;
        }
        Action::Blackout { down_ms } => {
            for node in all {
                if world.crash(node, Loss::Power) {
                    start_after(world, node, down_ms + rng.between(0, 50));
                }
            }
        }
        Action::SlowDisk { node, sync_ms: 0 } => world.disk(node).set_sync_ms(world.scenario.sync_ms),
        Action::SlowDisk { node, sync_ms } => world.disk(node).set_sync_ms((sync_ms, sync_ms)),
        Action::ClockJump { node, ms } => world.clock(node).jump(ms),
        Action::ClockRate { node, ppm } => world.clock(node).set_rate(ppm),
        Action::Weather(weather) => world.network.set_weather(weather),
        Action::Order(wanted) => {
            tokio::spawn(command(Arc::clone(world), rng.fork(), wanted));
            return;
        }
        Action::ComeBack(node) => {
            tokio::spawn(comeback::run(Arc::clone(world), node));
        }
    }
    world.checker.trace(&said);
}

fn resolve(world: &World, rng: &mut Rng, target: Target) -> Option<u64> {
    let any = rng.between(1, world.scenario.nodes);
    let leader = world.leader().map(|replica| replica.node);
    match target {
        Target::Node(node) => Some(node),
        Target::Leader => Some(leader.unwrap_or(any)),
        Target::Follower(node) => Some(node).filter(|node| Some(*node) != leader),
    }
}

fn start_after(world: &Arc<World>, node: u64, down_ms: u64) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        sleep(Duration::from_millis(down_ms)).await;
        world.start(node, Start::Join).await;
    });
}

/// Orders a change from the leader, as seen by it, through any node.
async fn command(world: Arc<World>, mut rng: Rng, wanted: Wanted) {
    let Some(leader) = world.leader() else { return };
    let status = leader.partition.status();
    // Others may not give orders.
    let voting: Vec<_> =
        world.running().into_iter().filter(|replica| status.voters.contains(&NodeId(replica.node))).collect();
    let Some(through) = rng.pick(&voting) else { return };
    let expected = status.membership;
    let generation = status.settings.as_ref().map_or(0, |settings| settings.generation);
    let said = format!("{wanted:?}");
    let held = world.held();
    let brings_in = match &wanted {
        Wanted::AddLearner(node) => held.contains(node),
        Wanted::SetVoters(voters) => !voters.is_disjoint(&held),
        Wanted::RemoveLearner(_) | Wanted::FinishJoint | Wanted::Transfer(_) | Wanted::Timers(_) => false,
    };
    if brings_in {
        return world.checker.trace(&format!("{said}: not now, a replica of these is destroyed"));
    }
    let change = match wanted {
        Wanted::AddLearner(node) => Change::AddLearner { expected, node: NodeId(node), info: info(node) },
        Wanted::RemoveLearner(node) => Change::RemoveLearner { expected, node: NodeId(node) },
        Wanted::SetVoters(voters) => {
            Change::SetVoters { expected, voters: voters.into_iter().map(NodeId).collect() }
        }
        Wanted::Transfer(to) => Change::TransferLeader { to: NodeId(to) },
        Wanted::Timers(timers) => Change::UpdateSettings { settings: settings(generation + 1, timers) },
        Wanted::FinishJoint => Change::FinishJoint { expected },
    };
    let order = Order { partition: GROUP, incarnation: Incarnation(1), generation, change };
    let outcome = through.raft.order(NodeId(leader.node), order, ORDER_WAIT).await;
    if outcome.is_ok() {
        world.checker.count(|coverage| coverage.orders += 1);
    }
    let outcome = outcome.map(|_| "done");
    world.checker.trace(&format!("{said} by node {}: {outcome:?}", leader.node));
}

fn settings(generation: u64, timers: TimerProfile) -> GroupSettings {
    GroupSettings { generation, ..GroupSettings::anywhere(timers) }
}
