//! A node loses its replica by order and gets one again from nothing, as placement does it to a node that drains and
//! comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::{
    Change, Consistency, Incarnation, JoinPoint, NodeId, Order, OrderError, PartitionStatus, TimerProfile,
};
use tokio::time::sleep;

use crate::rng::{Rng, mix};
use crate::scenario::{Action, Loss, Scenario, Step, Target, Wanted};
use crate::world::{GROUP, World, info};

/// Sets these draws apart from those of all other steps.
const STREAM: u64 = 0x0c0b_ac4e;
const ORDER_WAIT: Duration = Duration::from_millis(800);
const PAUSE: Duration = Duration::from_millis(30);
/// An order that fails so often is given up.
const TRIES: u32 = 12;

/// Draws of the comebacks of a run.
pub fn rng(seed: u64) -> Rng {
    Rng::new(mix(seed ^ STREAM))
}

/// When nodes lose their replicas, and what befalls them meanwhile.
pub fn steps(rng: &mut Rng, scenario: &Scenario) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at_ms = rng.between(50, 1_500);
    while at_ms < scenario.ends_ms * 3 / 4 {
        let node = rng.between(1, scenario.nodes);
        steps.push(Step { at_ms, action: Action::ComeBack(node) });
        let mut meanwhile = |per_mille, rng: &mut Rng, action| {
            if rng.chance(per_mille) {
                steps.push(Step { at_ms: at_ms + rng.between(0, 700), action });
            }
        };
        let timers = if rng.chance(500) { TimerProfile::Fast } else { TimerProfile::Zone };
        meanwhile(300, rng, Action::Order(Wanted::Timers(timers)));
        let sync_ms = rng.between(20, 150);
        meanwhile(400, rng, Action::SlowDisk { node, sync_ms });
        let loss = if rng.chance(500) { Loss::Process } else { Loss::Power };
        let (target, down_ms) = (Target::Node(node), rng.between(20, 400));
        meanwhile(500, rng, Action::Crash { target, loss, down_ms });
        if rng.chance(200) {
            meanwhile(1_000, rng, Action::Isolate(Target::Node(node)));
            steps.push(Step { at_ms: at_ms + rng.between(300, 1_200), action: Action::HealAll });
        }
        steps.push(Step { at_ms: at_ms + 1_200, action: Action::SlowDisk { node, sync_ms: 0 } });
        at_ms += rng.between(500, 3_000);
    }
    steps.sort_by_key(|step| step.at_ms);
    steps
}

/// Nothing if the node leads or is no member. What fails before the replica is destroyed leaves a member of some
/// kind; once it is, the node gets another in any case, and a vote if nothing fails.
pub async fn run(world: Arc<World>, node: u64) {
    if !world.hold(node) {
        return;
    }
    let result = come_back(&world, node).await;
    world.checker.trace(&format!("the comeback of node {node}: {result:?}"));
    world.release(node);
}

async fn come_back(world: &Arc<World>, node: u64) -> Result<(), &'static str> {
    let Some(leader) = world.leader().filter(|leader| leader.node != node) else {
        return Err("it leads, or nobody does");
    };
    if !is_member(&leader.partition.status(), node) {
        return Err("it is no member");
    }
    taken_out(world, node).await?;
    destroy(world, node).await;
    bring_back(world, node).await;
    brought_in(world, node).await
}

fn is_member(status: &PartitionStatus, node: u64) -> bool {
    status.members.iter().any(|member| member.node == NodeId(node))
}

async fn taken_out(world: &World, node: u64) -> Result<(), &'static str> {
    let id = NodeId(node);
    let voted_out = ordered(world, "loses its vote", node, |status| {
        let voters: BTreeSet<NodeId> = status.voters.iter().copied().filter(|voter| *voter != id).collect();
        let change = Change::SetVoters { expected: status.membership, voters };
        status.voters.contains(&id).then_some(change)
    });
    if !voted_out.await {
        return Err("it keeps its vote");
    }
    let removed = ordered(world, "is taken out", node, |status| {
        let change = Change::RemoveLearner { expected: status.membership, node: id };
        is_member(status, node).then_some(change)
    });
    if removed.await { Ok(()) } else { Err("it stays a member") }
}

async fn brought_in(world: &World, node: u64) -> Result<(), &'static str> {
    let id = NodeId(node);
    let added = ordered(world, "is added", node, |status| {
        let change = Change::AddLearner { expected: status.membership, node: id, info: info(node) };
        (!is_member(status, node)).then_some(change)
    });
    if !added.await {
        return Err("it stays out");
    }
    let voting = ordered(world, "gets a vote", node, |status| {
        let voters = status.voters.iter().copied().chain([id]).collect();
        let change = Change::SetVoters { expected: status.membership, voters };
        (!status.voters.contains(&id)).then_some(change)
    });
    if voting.await { Ok(()) } else { Err("it stays without a vote") }
}

/// Has whoever leads then do what is still to do, until nothing is. False if that fails, or the faults are over.
async fn ordered(
    world: &World,
    what: &str,
    node: u64,
    left: impl Fn(&PartitionStatus) -> Option<Change>,
) -> bool {
    for _ in 0..TRIES {
        let leader = world.leader();
        if world.is_over() || leader.as_ref().is_some_and(|leader| leader.node == node) {
            return false;
        }
        if let Some(leader) = leader {
            let status = leader.partition.status();
            let expected = status.membership;
            let change = if status.joint { Some(Change::FinishJoint { expected }) } else { left(&status) };
            let Some(change) = change else {
                // Who was deposed and does not know it would say so too.
                if leader.partition.read(Consistency::Linearizable, ORDER_WAIT).await.is_ok() {
                    return true;
                }
                continue;
            };
            let generation = status.settings.map_or(0, |settings| settings.generation);
            let order = Order { partition: GROUP, incarnation: Incarnation(1), generation, change };
            let outcome = leader.raft.order(NodeId(leader.node), order, ORDER_WAIT).await.map(|_| "done");
            world.checker.trace(&format!("node {node} {what}, by node {}: {outcome:?}", leader.node));
            if matches!(outcome, Err(OrderError::Refused(_))) {
                return false;
            }
        }
        sleep(PAUSE).await;
    }
    false
}

/// Until nothing of it is left. A node that ends meanwhile starts with what is there, and is ordered again.
async fn destroy(world: &World, node: u64) {
    let disk = world.disk(node);
    while !disk.is_gone() {
        if let Some(raft) = world.without_replica(node) {
            disk.leave();
            let outcome = raft.destroy_group(GROUP).await.map_err(|cause| cause.to_string());
            world.checker.trace(&format!("node {node} destroys its replica: {outcome:?}"));
        }
        sleep(PAUSE).await;
    }
}

/// Until it has a replica, which is noted before it is opened: what ends the node does not change how it opens it.
async fn bring_back(world: &World, node: u64) {
    loop {
        let status = world.leader().map(|leader| leader.partition.status());
        // Nobody has a voter's replica opened: what it promised is gone.
        let status = status.filter(|status| !status.voters.contains(&NodeId(node)));
        if let Some(PartitionStatus { term, leader: Some(leader), committed, membership, timers, .. }) =
            status
        {
            let index = committed.max(membership.map_or(0, |at| at.index));
            let point = JoinPoint { term, leader, index };
            world.checker.trace(&format!("node {node} begins anew at {point:?}"));
            return world.begin_anew(node, point, timers).await;
        }
        sleep(PAUSE).await;
    }
}
