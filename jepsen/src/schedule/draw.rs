//! Drawing faults: each kind once in a shuffled order before any comes again, so that short runs cover
//! what was asked for.

use super::fault::{Fault, Kind, Shape, Who};
use super::spread::Spread;
use super::{Machine, Packets, Phases, Step};
use crate::random::Random;
use crate::topology::Topology;

/// Between the end of a fault and the next: time to recover, and to see that it did.
const REST_MS: (u64, u64) = (4_000, 9_000);
const LASTS_MS: (u64, u64) = (3_000, 9_000);
/// One fault in so many (percent) lasts long enough for logs to be purged meanwhile.
const LONG_PERCENT: u64 = 15;
const LONG_MS: (u64, u64) = (20_000, 40_000);
/// A short run has short faults and short rests, or it would have none.
pub(super) const SHORT_RUN_MS: u64 = 60_000;
const SHORT_MS: (u64, u64) = (2_500, 4_000);
/// A partition is felt only once another leads.
const SHORT_CUT_MS: (u64, u64) = (5_000, 6_000);
/// Between short faults.
const SHORT_REST_MS: (u64, u64) = (1_500, 2_500);
/// How long nodes are away in a short run: for 100 entries of the log, and a little more.
const AWAY_MS: (u64, u64) = (8_000, 10_000);

pub(super) fn steps(seed: u64, topology: &Topology, kinds: &[Kind], phases: Phases) -> Vec<Step> {
    let mut random = Random::fork(seed, "schedule");
    let until = phases.healthy_ms + phases.chaos_ms;
    let mut at_ms = phases.healthy_ms + random.between(500, 2_000);
    let mut steps = Vec::new();
    let mut deck: Vec<Kind> = Vec::new();
    let short = phases.chaos_ms < SHORT_RUN_MS;
    let mut left_of_first_round = kinds.len();
    let mut spread = Spread::new(seed, topology);
    while !kinds.is_empty() {
        if deck.is_empty() {
            deck = kinds.to_vec();
            random.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else { break };
        let long = random.chance(LONG_PERCENT) && phases.chaos_ms > 2 * LONG_MS.1;
        let (low, high) = match (long || kind == Kind::Outage, short) {
            (true, true) if kind == Kind::Outage => AWAY_MS,
            (_, true) if kind == Kind::Partition => SHORT_CUT_MS,
            (_, true) => SHORT_MS,
            (true, false) => LONG_MS,
            (false, false) => LASTS_MS,
        };
        let for_ms = random.between(low, high);
        let mut fault = fault(kind, topology, &mut random);
        if left_of_first_round > 0 {
            left_of_first_round -= 1;
            fault = on_the_leader(fault);
        } else {
            fault = spread.over(fault);
        }
        if at_ms + for_ms > until {
            break;
        }
        steps.push(Step { at_ms, for_ms, fault });
        let (low, high) = if short { SHORT_REST_MS } else { REST_MS };
        at_ms += for_ms + random.between(low, high);
    }
    steps
}

/// The first of each kind hits the leader, where most can go wrong.
fn on_the_leader(fault: Fault) -> Fault {
    match fault {
        Fault::Kill(_) => Fault::Kill(Who::Leader),
        Fault::Pause(_) => Fault::Pause(Who::Leader),
        Fault::Slow { ms, .. } => Fault::Slow { who: Who::Leader, ms },
        Fault::Partition(_) => Fault::Partition(Shape::Isolate(Who::Leader)),
        Fault::Packets(packets) => Fault::Packets(Packets { who: Who::Leader, ..packets }),
        Fault::Machine(machine) => Fault::Machine(machine.of_the_leader()),
        Fault::Replace(_) => Fault::Replace(Who::Leader),
        Fault::Rejoin(_) => Fault::Rejoin(Who::Leader),
        Fault::Snapshot(_) => Fault::Snapshot(Who::Leader),
        other @ (Fault::Restart(_) | Fault::Transfer | Fault::Renewal) => other,
    }
}

fn fault(kind: Kind, topology: &Topology, random: &mut Random) -> Fault {
    match kind {
        Kind::Kill => Fault::Kill(victims(topology, random)),
        Kind::Pause => Fault::Pause(victims(topology, random)),
        Kind::Partition => Fault::Partition(shape(topology, random)),
        Kind::Slow => Fault::Slow { who: victims(topology, random), ms: random.between(30, 400) },
        Kind::Restart => {
            let mut all = everyone(topology);
            random.shuffle(&mut all);
            all.truncate(3);
            Fault::Restart(all)
        }
        Kind::Transfer => Fault::Transfer,
        Kind::Replace => Fault::Replace(one(topology, random)),
        Kind::Rejoin => Fault::Rejoin(one(topology, random)),
        Kind::Renewal => Fault::Renewal,
        Kind::Snapshot => Fault::Snapshot(one(topology, random)),
        Kind::Loss | Kind::Duplicate | Kind::Reorder | Kind::Rate => {
            let who = victims(topology, random);
            Packets::draw(kind, who, random).map_or(Fault::Transfer, Fault::Packets)
        }
        Kind::Starve
        | Kind::ClockJump
        | Kind::ClockRate
        | Kind::Power
        | Kind::DiskFull
        | Kind::ReadOnly
        | Kind::SlowDisk
        | Kind::BitFlip
        | Kind::Outage => {
            let (many, single) = (victims(topology, random), one(topology, random));
            Machine::draw(kind, many, single, random).map_or(Fault::Transfer, Fault::Machine)
        }
    }
}

fn everyone(topology: &Topology) -> Vec<usize> {
    (0..topology.total()).collect()
}

/// The leader, one node, a minority, a region, or all.
fn victims(topology: &Topology, random: &mut Random) -> Who {
    let mut all = everyone(topology);
    random.shuffle(&mut all);
    match random.below(100) {
        0..40 => return Who::Leader,
        40..65 => all.truncate(1),
        65..80 => all.truncate((all.len().saturating_sub(1) / 2).max(1)),
        80..92 => {
            let region = random.pick(&topology.regions).map(|region| region.name.clone());
            all = topology.nodes_of(&region.unwrap_or_default());
        }
        _ => {}
    }
    all.sort_unstable();
    Who::Nodes(all)
}

fn one(topology: &Topology, random: &mut Random) -> Who {
    if random.chance(70) {
        return Who::Leader;
    }
    Who::Nodes(random.pick(&everyone(topology)).copied().into_iter().collect())
}

fn shape(topology: &Topology, random: &mut Random) -> Shape {
    let mut all = everyone(topology);
    random.shuffle(&mut all);
    let half = (all.len() / 2).max(1);
    let region = random.pick(&topology.regions).map(|region| region.name.clone()).unwrap_or_default();
    let side = |nodes: &[usize]| {
        let mut side = nodes.to_vec();
        side.sort_unstable();
        side
    };
    let wide = topology.regions.len() > 1;
    match random.below(if wide { 9 } else { 7 }) {
        0 => Shape::Isolate(one(topology, random)),
        1 => Shape::CutOut(one(topology, random)),
        2 => Shape::CutIn(one(topology, random)),
        3 => Shape::Halves(side(&all[..half])),
        4 => Shape::Bridge { over: all[all.len() - 1], side: side(&all[..all.len().saturating_sub(1) / 2]) },
        5 => Shape::Ring(all),
        6 => Shape::Swizzle(all),
        7 => Shape::Region(region),
        _ => Shape::RegionOneWay(region),
    }
}
