//! Linearizability: is there an order of the operations, true to real time, that the model allows?
//!
//! The search is Wing and Gong's with Lowe's memory of what was tried (G. Lowe, "Testing for
//! linearizability", 2017; the way of porcupine). An operation with an unknown end may take effect at any
//! time after its request, also after the history's end, or never.

use std::collections::HashSet;
use std::hash::Hash;

use crate::history::Operation;

/// Configurations remembered at most; a history of one key stays far below.
const CONFIGURATIONS_MAX: usize = 3_000_000;

/// What a sequential object does.
pub trait Model {
    /// Its state.
    type State: Clone + Eq + Hash;

    /// Before all operations.
    fn initial(&self) -> Self::State;

    /// The state after an operation; `None` if it cannot have gone as it did. An operation whose end is
    /// unknown must be allowed in every state.
    fn step(&self, state: &Self::State, operation: &Operation) -> Option<Self::State>;
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// There is an order.
    Linearizable,
    /// There is none.
    Not,
    /// The search grew too large.
    Unknown,
}

/// Judges the operations of one object. Those that did nothing and saw nothing must not be among them.
pub fn judge<M: Model>(model: &M, operations: &[&Operation]) -> Judgement {
    Search::new(model, operations).run()
}

/// A request or an end in the list of those not yet placed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Head,
    Begin(usize),
    End(usize),
}

struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [&'a Operation],
    entries: Vec<Entry>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Place in `entries` of each operation's request and end.
    begins: Vec<usize>,
    ends: Vec<Option<usize>>,
    /// Operations with an end that are not placed yet.
    left: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, operations: &'a [&'a Operation]) -> Self {
        // At equal times requests come first: the operations then overlap, which allows more orders.
        let mut order: Vec<(u64, bool, usize)> = Vec::new();
        for (turn, operation) in operations.iter().enumerate() {
            order.push((operation.invoked_ns, false, turn));
            if operation.ended_ns() != u64::MAX {
                order.push((operation.ended_ns(), true, turn));
            }
        }
        order.sort_unstable();
        let mut entries = vec![Entry::Head];
        let mut begins = vec![0; operations.len()];
        let mut ends = vec![None; operations.len()];
        for (_, is_end, turn) in order {
            if is_end {
                ends[turn] = Some(entries.len());
                entries.push(Entry::End(turn));
            } else {
                begins[turn] = entries.len();
                entries.push(Entry::Begin(turn));
            }
        }
        let total = entries.len();
        let next = (1..=total).map(|place| place % total).collect();
        let previous = (0..total).map(|place| (place + total - 1) % total).collect();
        let left = ends.iter().flatten().count();
        Self { model, operations, entries, next, previous, begins, ends, left }
    }

    fn unlink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn relink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        self.previous[after] = place;
    }

    fn lift(&mut self, turn: usize) {
        self.unlink(self.begins[turn]);
        if let Some(end) = self.ends[turn] {
            self.unlink(end);
            self.left -= 1;
        }
    }

    /// In the opposite order of [`Self::lift`].
    fn lower(&mut self, turn: usize) {
        if let Some(end) = self.ends[turn] {
            self.relink(end);
            self.left += 1;
        }
        self.relink(self.begins[turn]);
    }

    fn run(mut self) -> Judgement {
        let mut state = self.model.initial();
        let mut placed = vec![0_u64; self.operations.len().div_ceil(64)];
        let mut seen: HashSet<(Vec<u64>, M::State)> = HashSet::new();
        let mut taken: Vec<(usize, M::State)> = Vec::new();
        let mut at = self.next[0];
        while self.left > 0 {
            if let Entry::Begin(turn) = self.entries[at] {
                if let Some(after) = self.model.step(&state, self.operations[turn]) {
                    placed[turn / 64] |= 1 << (turn % 64);
                    if seen.insert((placed.clone(), after.clone())) {
                        if seen.len() > CONFIGURATIONS_MAX {
                            return Judgement::Unknown;
                        }
                        taken.push((turn, std::mem::replace(&mut state, after)));
                        self.lift(turn);
                        at = self.next[0];
                        continue;
                    }
                    placed[turn / 64] &= !(1 << (turn % 64));
                }
                at = self.next[at];
            } else {
                // An operation that ended must be placed before: the last choice was wrong.
                let Some((turn, before)) = taken.pop() else { return Judgement::Not };
                state = before;
                placed[turn / 64] &= !(1 << (turn % 64));
                self.lower(turn);
                at = self.next[self.begins[turn]];
            }
        }
        Judgement::Linearizable
    }
}
