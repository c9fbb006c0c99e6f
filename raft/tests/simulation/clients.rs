//! Clients: what was acknowledged stays, and reads see what they must.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_raft::{Consistency, Outcome};
use tokio::time::{Instant, sleep};

use crate::bugs::Bug;
use crate::checker::Checker;
use crate::clock::RATE_MAX_PER_MILLE;
use crate::machine::{KEYS, command, held};
use crate::rng::Rng;
use crate::world::{Replica, World};

/// Registers by the newest write index that everybody must see.
type Floor = BTreeMap<u8, u64>;

/// What clients know together.
#[derive(Default)]
pub struct History(Mutex<Known>);

#[derive(Default)]
struct Known {
    last_id: u64,
    floor: Floor,
    /// Digests of acknowledged commands.
    acknowledged: BTreeSet<u64>,
    /// Acknowledgements by register: when, and the newest index by then.
    by_time: BTreeMap<u8, Vec<(Instant, u64)>>,
}

impl History {
    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn next_id(&self) -> u64 {
        self.with(|known| {
            known.last_id += 1;
            known.last_id
        })
    }

    fn floor(&self) -> Floor {
        self.with(|known| known.floor.clone())
    }

    /// What was acknowledged by `when`.
    fn floor_at(&self, when: Instant) -> Floor {
        self.with(|known| {
            let newest = |(key, acks): (&u8, &Vec<(Instant, u64)>)| {
                let before = acks.partition_point(|(at, _)| *at <= when);
                Some((*key, acks.get(before.checked_sub(1)?)?.1))
            };
            known.by_time.iter().filter_map(newest).collect()
        })
    }

    fn acknowledge(&self, key: u8, index: u64, digest: u64) {
        self.with(|known| {
            let floor = known.floor.entry(key).or_default();
            *floor = (*floor).max(index);
            let acks = known.by_time.entry(key).or_default();
            let newest = acks.last().map_or(0, |(_, index)| *index).max(index);
            acks.push((Instant::now(), newest));
            known.acknowledged.insert(digest);
        });
    }

    fn saw(&self, key: u8, index: u64) {
        self.with(|known| {
            let floor = known.floor.entry(key).or_default();
            *floor = (*floor).max(index);
        });
    }

    /// At the end: everything acknowledged was committed, once.
    pub fn settle(&self, checker: &Checker) {
        let acknowledged = self.with(|known| known.acknowledged.clone());
        let times = checker.times_committed(&acknowledged);
        for digest in &acknowledged {
            let times = times.get(digest).copied().unwrap_or(0);
            if times != 1 {
                checker.violation(format!("an acknowledged write was committed {times} times"));
            }
        }
    }
}

/// Writes and reads until the faults end.
pub async fn run(world: Arc<World>, mut rng: Rng) {
    let (low, high) = world.scenario.think_ms;
    while !world.is_over() {
        sleep(Duration::from_millis(rng.between(low, high))).await;
        let Some(replica) = world.any(&mut rng) else { continue };
        match rng.between(0, 9) {
            0..=5 => {
                let target = if rng.chance(900) { world.leader().unwrap_or(replica) } else { replica };
                let wait = Duration::from_millis(rng.between(50, 800));
                write(&world, &target, u8::try_from(rng.between(1, u64::from(KEYS))).unwrap(), wait).await;
            }
            6..=7 => read(&world, &replica, Duration::from_millis(rng.between(50, 800))).await,
            _ => read_bounded(&world, &replica, rng.between(20, 1_000), rng.between(0, 600)).await,
        }
    }
}

/// Writes a new value; its index if it was acknowledged.
pub async fn write(world: &World, to: &Replica, key: u8, wait: Duration) -> Option<u64> {
    let floor = world.history.floor();
    let body = command(key, world.history.next_id());
    let digest = Checker::command_digest(&body);
    let (index, applied) = match to.partition.propose(body, wait).await {
        Outcome::Applied { index, .. } => (index, true),
        Outcome::Conflict { index, .. } => (index, false),
        Outcome::NotLeader { .. } | Outcome::Overloaded(_) => return None,
        Outcome::Unknown(_) => {
            world.checker.count(|coverage| coverage.unknown += 1);
            return None;
        }
    };
    world.checker.count(|coverage| coverage.writes += 1);
    if world.checker.committed(index) != Some(digest) {
        world.checker.violation(format!("node {}: acknowledged {index}, not committed there", to.node));
    }
    let newest = floor.values().max().copied().unwrap_or(0);
    if index <= newest {
        world.checker.violation(format!("a write began after {newest} was seen, and came to {index}"));
    }
    if applied {
        world.history.acknowledge(key, index, digest);
    }
    Some(index)
}

async fn read(world: &World, replica: &Replica, wait: Duration) {
    let floor = world.history.floor();
    let consistency = match world.bug {
        Some(Bug::ReadsWithoutAnIndex) => Consistency::Local,
        _ => Consistency::Linearizable,
    };
    if replica.partition.read(consistency, wait).await.is_ok() && look(world, replica, &floor, "linearizable")
    {
        world.checker.count(|coverage| coverage.linearizable_reads += 1);
    }
}

async fn read_bounded(world: &World, replica: &Replica, bound_ms: u64, wait_ms: u64) {
    let wait = Duration::from_millis(wait_ms);
    let consistency = match world.bug {
        Some(Bug::ReadsWithoutABound) => Consistency::Local,
        _ => Consistency::BoundedMs(bound_ms),
    };
    if replica.partition.read(consistency, wait).await.is_err() {
        return;
    }
    let oldest = Duration::from_millis(bound_ms + 1) * RATE_MAX_PER_MILLE / 1_000;
    let Some(when) = Instant::now().checked_sub(oldest) else { return };
    if look(world, replica, &world.history.floor_at(when), "bounded") {
        world.checker.count(|coverage| coverage.bounded_reads += 1);
    }
}

/// Reads every register, none of which may be older than `floor`. False if the node or its replica is gone.
fn look(world: &World, replica: &Replica, floor: &Floor, kind: &str) -> bool {
    if !replica.life.is_lived() || !replica.kept.is_lived() {
        return false;
    }
    let state = replica.partition.state();
    for key in 1..=KEYS {
        let found = held(&*state, key);
        let (index, wanted) = (found.map_or(0, |held| held.index), floor.get(&key).copied().unwrap_or(0));
        if index < wanted {
            let node = replica.node;
            let what = format!("a {kind} read at node {node} found {index} in register {key}, not {wanted}");
            world.checker.violation(what);
        }
        if let Some(held) = found {
            if world.checker.committed(index) != Some(Checker::command_digest(&command(key, held.id))) {
                world.checker.violation(format!("register {key} holds what {index} did not write"));
            }
            world.history.saw(key, index);
        }
    }
    true
}

#[test]
fn an_acknowledged_write_that_was_not_committed_once_is_found() {
    use domicile_raft::LogPosition;

    use crate::checker::Entry;

    let committed = |times: u64| {
        let (checker, history) = (Checker::new(), History::default());
        history.acknowledge(1, 5, 7);
        let entry =
            |index, voters| Entry { at: LogPosition { term: 1, index }, digest: 7, committed: 0, voters };
        checker.appended(1, None, &[entry(0, Some(vec![[1].into()]))]);
        for index in 1..=times {
            let entries = [entry(index, None)];
            checker.durable(1, &entries);
            checker.applied(1, index - 1, entries[0].at, Some(&entries), index);
        }
        history.settle(&checker);
        checker.verdict().0
    };
    assert_eq!(committed(1), Vec::<String>::new());
    for times in [0, 2] {
        let found = committed(times);
        assert!(matches!(&found[..], [what] if what.contains("an acknowledged write")), "{found:?}");
    }
}
