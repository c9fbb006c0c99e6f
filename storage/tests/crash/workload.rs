//! A seeded sequence of log and state writes whose outcome after any number of steps can be told.

use std::collections::BTreeMap;

use domicile_storage::{
    Batch, Engine, GroupId, KeyRange, LogBounds, LogEngine, LogEntry, OnDurable, Order, Write,
};

/// Log writes that wait for their answer at most.
pub const IN_FLIGHT_MAX: u64 = 16;
pub const GROUPS: u64 = 3;

/// SplitMix64 over seed and step, so that step `n` needs no steps before it.
fn random(seed: u64, step: u64, draw: u64) -> u64 {
    let mut x = seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ draw.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn filler(seed: u64, step: u64, draw: u64, len: u64) -> Vec<u8> {
    let word = random(seed, step, draw).to_le_bytes();
    word.iter().copied().cycle().take(usize::try_from(len).unwrap()).collect()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogGroup {
    pub entries: BTreeMap<u64, Vec<u8>>,
    pub vote: Option<Vec<u8>>,
}

pub enum LogStep {
    Append(Vec<LogEntry>),
    TruncateAfter(u64),
    PurgeThrough(u64),
    Vote(Vec<u8>),
}

/// What the log holds after `done` steps.
#[derive(Clone)]
pub struct LogModel {
    seed: u64,
    pub done: u64,
    pub groups: Vec<LogGroup>,
}

impl LogModel {
    pub fn new(seed: u64) -> Self {
        Self { seed, done: 0, groups: vec![LogGroup::default(); usize::try_from(GROUPS).unwrap()] }
    }

    pub fn after(seed: u64, done: u64) -> Self {
        let mut model = Self::new(seed);
        while model.done < done {
            model.step();
        }
        model
    }

    /// Takes the next step.
    pub fn step(&mut self) -> (GroupId, LogStep) {
        self.done += 1;
        let (seed, step) = (self.seed, self.done);
        let id = random(seed, step, 0) % GROUPS;
        let group = &mut self.groups[usize::try_from(id).unwrap()];
        let last = group.entries.keys().next_back().copied();
        let first = group.entries.keys().next().copied();
        let choice = random(seed, step, 1) % 20;
        let change = match (choice, first, last) {
            (0 | 1, Some(_), Some(last)) => {
                let keep = last.saturating_sub(random(seed, step, 2) % 4 + 1);
                group.entries.retain(|index, _| *index <= keep);
                LogStep::TruncateAfter(keep)
            }
            (2 | 3, Some(first), _) if group.entries.len() > 20 => {
                let through = first + random(seed, step, 2) % 20;
                group.entries.retain(|index, _| *index > through);
                LogStep::PurgeThrough(through)
            }
            (4 | 5, _, _) => {
                let vote = filler(seed, step, 2, 24);
                group.vote = Some(vote.clone());
                LogStep::Vote(vote)
            }
            _ => {
                let start = last.map_or(step, |last| last + 1);
                let count = random(seed, step, 2) % 4 + 1;
                let len = |index| match random(seed, step, index) % 40 {
                    0 => 20_000,
                    n => n * 10,
                };
                let entries: Vec<LogEntry> = (start..start + count)
                    .map(|index| LogEntry { index, bytes: filler(seed, step, index, len(index)) })
                    .collect();
                group.entries.extend(entries.iter().map(|e| (e.index, e.bytes.clone())));
                LogStep::Append(entries)
            }
        };
        (GroupId(id), change)
    }
}

pub fn submit(log: &dyn LogEngine, group: GroupId, step: LogStep, done: OnDurable) {
    match step {
        LogStep::Append(entries) => log.append(group, entries, done),
        LogStep::TruncateAfter(index) => log.truncate_after(group, Some(index), done),
        LogStep::PurgeThrough(index) => log.purge_through(group, index, done),
        LogStep::Vote(vote) => log.put_meta(group, "vote", vote, done),
    }
}

pub fn read_log(log: &dyn LogEngine) -> Vec<LogGroup> {
    let group = |id| {
        let entries = log.read(GroupId(id), 0, u64::MAX, usize::MAX).unwrap();
        let entries: BTreeMap<u64, Vec<u8>> = entries.into_iter().map(|e| (e.index, e.bytes)).collect();
        let bounds =
            LogBounds { first: entries.keys().next().copied(), last: entries.keys().next_back().copied() };
        assert_eq!(log.bounds(GroupId(id)), bounds);
        LogGroup { entries, vote: log.meta(GroupId(id), "vote").unwrap() }
    };
    (0..GROUPS).map(group).collect()
}

/// What the state holds after `done` batches.
#[derive(Clone)]
pub struct StateModel {
    seed: u64,
    pub done: u64,
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl StateModel {
    pub fn new(seed: u64) -> Self {
        Self { seed, done: 0, rows: BTreeMap::new() }
    }

    pub fn after(seed: u64, done: u64) -> Self {
        let mut model = Self::new(seed);
        while model.done < done {
            model.step();
        }
        model
    }

    pub fn step(&mut self) -> Batch {
        self.done += 1;
        let (seed, step) = (self.seed, self.done);
        let applied = Write::Put { key: b"applied".to_vec(), value: step.to_be_bytes().to_vec() };
        let mut writes = vec![applied];
        for n in 0..=random(seed, step, 0) % 8 {
            let key = format!("key {}", random(seed, step, n * 4 + 1) % 200).into_bytes();
            let len = match random(seed, step, n * 4 + 2) % 20 {
                0 => 30_000,
                1 => 5_000,
                n => n * 9,
            };
            if random(seed, step, n * 4 + 3).is_multiple_of(5) {
                writes.push(Write::Delete { key });
            } else {
                writes.push(Write::Put { key, value: filler(seed, step, n * 4 + 4, len) });
            }
        }
        for write in &writes {
            match write {
                Write::Put { key, value } => self.rows.insert(key.clone(), value.clone()),
                Write::Delete { key } => self.rows.remove(key),
            };
        }
        Batch { writes }
    }

    /// Whether the child syncs after this batch: one in `every`.
    pub fn syncs_now(&self, every: u64) -> bool {
        random(self.seed, self.done, 99).is_multiple_of(every)
    }
}

pub fn read_state(engine: &dyn Engine) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let pairs = engine.scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX).unwrap();
    pairs.into_iter().collect()
}

/// A number in `0..bound` for the parent's own choices.
pub fn choice(seed: u64, round: u64, bound: u64) -> u64 {
    random(seed, round, 1 << 40) % bound
}
