//! A graph of "comes before", and the shortest cycles in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Why one transaction comes before another (A. Adya, "Weak consistency", 1999).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// Its write is the one before.
    WriteWrite,
    /// The other read its write.
    WriteRead,
    /// It read what the other's write replaced.
    ReadWrite,
    /// It was over before the other began.
    RealTime,
}

/// Nodes are numbers.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: BTreeMap<usize, BTreeMap<usize, Why>>,
}

impl Graph {
    /// Of several reasons the first that is given counts; none for a node and itself.
    pub(super) fn add(&mut self, from: usize, to: usize, why: Why) {
        if from != to {
            self.edges.entry(from).or_default().entry(to).or_insert(why);
        }
    }

    fn after(&self, node: usize) -> impl Iterator<Item = (usize, Why)> + '_ {
        self.edges.get(&node).into_iter().flatten().map(|(to, why)| (*to, *why))
    }

    /// A shortest cycle through each knot (strongly connected component), at most `max` of them. Each
    /// member comes with the reason why it is before the next; the last is before the first.
    pub(super) fn cycles(&self, max: usize) -> Vec<Vec<(usize, Why)>> {
        self.knots().into_iter().take(max).filter_map(|knot| self.shortest(&knot)).collect()
    }

    /// Tarjan's components of more than one node, without recursion.
    fn knots(&self) -> Vec<BTreeSet<usize>> {
        let mut walk = Walk::default();
        for start in self.edges.keys() {
            if !walk.number.contains_key(start) {
                self.component(*start, &mut walk);
            }
        }
        walk.knots
    }

    fn component(&self, start: usize, walk: &mut Walk) {
        let mut calls = vec![(start, self.after(start).map(|(to, _)| to).collect::<Vec<_>>())];
        walk.enter(start);
        while let Some((node, rest)) = calls.last_mut() {
            let node = *node;
            match rest.pop() {
                Some(to) if !walk.number.contains_key(&to) => {
                    walk.enter(to);
                    calls.push((to, self.after(to).map(|(next, _)| next).collect()));
                }
                Some(to) if walk.on_stack.contains(&to) => walk.lower(node, walk.number_of(to)),
                Some(_) => {}
                None => {
                    calls.pop();
                    let low = walk.low_of(node);
                    if let Some((above, _)) = calls.last() {
                        walk.lower(*above, low);
                    }
                    if low == walk.number_of(node) {
                        walk.leave(node);
                    }
                }
            }
        }
    }

    fn shortest(&self, knot: &BTreeSet<usize>) -> Option<Vec<(usize, Why)>> {
        // Large knots are searched from some of their members only: any cycle tells.
        let found = knot.iter().take(200).filter_map(|start| self.cycle_through(*start, knot));
        found.min_by_key(Vec::len)
    }

    fn cycle_through(&self, start: usize, knot: &BTreeSet<usize>) -> Option<Vec<(usize, Why)>> {
        let mut came: BTreeMap<usize, (usize, Why)> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (to, why) in self.after(node).filter(|(to, _)| knot.contains(to)) {
                if to == start {
                    return Some(path(&came, start, node, why));
                }
                if let std::collections::btree_map::Entry::Vacant(free) = came.entry(to) {
                    free.insert((node, why));
                    queue.push_back(to);
                }
            }
        }
        None
    }
}

/// From `start` to `last`, whose edge back to the start is `back`.
fn path(came: &BTreeMap<usize, (usize, Why)>, start: usize, last: usize, back: Why) -> Vec<(usize, Why)> {
    let mut out = vec![(last, back)];
    let mut node = last;
    while node != start {
        let Some((before, why)) = came.get(&node) else { break };
        out.push((*before, *why));
        node = *before;
    }
    out.reverse();
    out
}

#[derive(Default)]
struct Walk {
    number: BTreeMap<usize, usize>,
    low: BTreeMap<usize, usize>,
    stack: Vec<usize>,
    on_stack: BTreeSet<usize>,
    knots: Vec<BTreeSet<usize>>,
}

impl Walk {
    fn enter(&mut self, node: usize) {
        let number = self.number.len();
        self.number.insert(node, number);
        self.low.insert(node, number);
        self.stack.push(node);
        self.on_stack.insert(node);
    }

    fn number_of(&self, node: usize) -> usize {
        self.number.get(&node).copied().unwrap_or(usize::MAX)
    }

    fn low_of(&self, node: usize) -> usize {
        self.low.get(&node).copied().unwrap_or(usize::MAX)
    }

    fn lower(&mut self, node: usize, to: usize) {
        let low = self.low_of(node).min(to);
        self.low.insert(node, low);
    }

    fn leave(&mut self, node: usize) {
        let mut knot = BTreeSet::new();
        while let Some(member) = self.stack.pop() {
            self.on_stack.remove(&member);
            knot.insert(member);
            if member == node {
                break;
            }
        }
        if knot.len() > 1 {
            self.knots.push(knot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_cycle_of_a_knot_is_found() {
        let mut graph = Graph::default();
        for (from, to) in [(1, 2), (2, 3), (3, 1), (3, 4), (4, 5), (5, 1), (9, 1)] {
            graph.add(from, to, Why::WriteWrite);
        }
        let cycles = graph.cycles(10);
        assert_eq!(cycles.len(), 1);
        assert_eq!(cycles[0].iter().map(|(node, _)| *node).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn an_order_has_no_cycle() {
        let mut graph = Graph::default();
        for from in 0..200 {
            for to in from + 1..200.min(from + 9) {
                graph.add(from, to, Why::RealTime);
            }
        }
        assert!(graph.cycles(10).is_empty());
        graph.add(7, 7, Why::WriteRead);
        assert!(graph.cycles(10).is_empty(), "a node is not before itself");
    }
}
