//! Transactions that append to lists and read them: what was read gives the order of versions, and the
//! orders of all lists with real time must have no cycle (strict serializability; the way of Elle:
//! K. Kingsbury, P. Alvaro, "Elle: inferring isolation anomalies", 2020).

use std::collections::BTreeMap;

use super::finding::Check;
use super::graph::{Graph, Why};
use crate::history::{Call, History, Key, Operation, Outcome, Refusal, Reply, Step, Value};

/// Cycles told at most; one is enough to know.
const CYCLES_MAX: usize = 5;

/// Judges all transactions.
pub fn check(history: &History) -> Check {
    let mut out = Check::named("list append");
    let all: Vec<&Operation> =
        history.operations.iter().filter(|one| matches!(one.call, Call::Txn(_))).collect();
    out.looked_at = all.iter().filter(|one| one.is_ok()).count() as u64;
    let lists = Lists::of(&all, &mut out);
    lists.check_reads(&mut out);
    let graph = lists.graph();
    for cycle in graph.cycles(CYCLES_MAX) {
        let members: Vec<&Operation> = cycle.iter().filter_map(|(node, _)| all.get(*node).copied()).collect();
        out.find(told(&cycle, &all), &members);
    }
    out
}

/// The steps of a transaction, with what it read if it ended.
fn steps(operation: &Operation) -> &[Step] {
    match (&operation.outcome, &operation.call) {
        (Outcome::Ok(Reply::Txn(steps)), _) | (_, Call::Txn(steps)) => steps,
        _ => &[],
    }
}

struct Lists<'a> {
    all: &'a [&'a Operation],
    /// Who appended a value, by list and value.
    writers: BTreeMap<(Key, Value), usize>,
    /// The longest reading of each list: the order of its versions.
    orders: BTreeMap<Key, &'a [Value]>,
}

impl<'a> Lists<'a> {
    fn of(all: &'a [&'a Operation], out: &mut Check) -> Self {
        let mut writers = BTreeMap::new();
        let mut orders: BTreeMap<Key, &[Value]> = BTreeMap::new();
        let mut by: BTreeMap<Key, &Operation> = BTreeMap::new();
        for (node, operation) in all.iter().enumerate() {
            for step in steps(operation) {
                match step {
                    Step::Append(key, value) => {
                        writers.insert((*key, *value), node);
                    }
                    Step::Read(key, Some(values)) if operation.is_ok() => {
                        let longest = orders.entry(*key).or_insert(values);
                        let other = by.entry(*key).or_insert(operation);
                        let common = longest.len().min(values.len());
                        if longest[..common] != values[..common] {
                            out.find(
                                format!("readings of list {key} are not prefixes of each other"),
                                &[other, operation],
                            );
                        } else if values.len() > longest.len() {
                            (*longest, *other) = (values, operation);
                        }
                    }
                    Step::Read(..) => {}
                }
            }
        }
        Self { all, writers, orders }
    }

    fn check_reads(&self, out: &mut Check) {
        for operation in self.all.iter().filter(|one| one.is_ok()) {
            let mut own: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
            for step in steps(operation) {
                match step {
                    Step::Append(key, value) => own.entry(*key).or_default().push(*value),
                    Step::Read(key, Some(values)) => {
                        let mine = own.get(key).map_or(&[][..], Vec::as_slice);
                        if !values.ends_with(mine) {
                            out.find(
                                format!("a transaction does not see its own appends to list {key}"),
                                &[operation],
                            );
                        }
                        let others = &values[..values.len().saturating_sub(mine.len())];
                        self.check_read(*key, others, operation, out);
                    }
                    Step::Read(..) => {}
                }
            }
        }
    }

    /// G1a (of what failed), G1b (of the middle of a transaction), values twice or from nowhere.
    fn check_read(&self, key: Key, values: &[Value], reader: &Operation, out: &mut Check) {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            out.find(format!("list {key} has a value twice"), &[reader]);
        }
        for value in values {
            let Some(writer) = self.writer(key, *value) else {
                out.find(format!("list {key} has {value}, which nobody appended"), &[reader]);
                continue;
            };
            if matches!(&writer.outcome, Outcome::Fail(refusal) if *refusal != Refusal::Taken) {
                out.find(format!("G1a: list {key} has {value} of a failed transaction"), &[writer, reader]);
            }
        }
        if let Some(writer) = values.last().and_then(|last| self.writer(key, *last)) {
            let appended = steps(writer).iter().rev().find_map(|step| match step {
                Step::Append(to, value) if *to == key => Some(*value),
                Step::Append(..) | Step::Read(..) => None,
            });
            if appended != values.last().copied() && writer.index != reader.index {
                out.find(
                    format!("G1b: list {key} was read in the middle of a transaction"),
                    &[writer, reader],
                );
            }
        }
    }

    fn writer(&self, key: Key, value: Value) -> Option<&'a Operation> {
        self.writers.get(&(key, value)).and_then(|node| self.all.get(*node)).copied()
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::default();
        for (key, order) in &self.orders {
            for pair in order.windows(2) {
                if let (Some(from), Some(to)) =
                    (self.writers.get(&(*key, pair[0])), self.writers.get(&(*key, pair[1])))
                {
                    graph.add(*from, *to, Why::WriteWrite);
                }
            }
        }
        for (node, operation) in self.all.iter().enumerate().filter(|(_, one)| one.is_ok()) {
            for step in steps(operation) {
                if let Step::Read(key, Some(values)) = step {
                    self.around_a_read(&mut graph, node, *key, values);
                }
            }
        }
        self.real_time(&mut graph);
        graph
    }

    fn around_a_read(&self, graph: &mut Graph, node: usize, key: Key, values: &[Value]) {
        if let Some(writer) = values.last().and_then(|last| self.writers.get(&(key, *last))) {
            graph.add(*writer, node, Why::WriteRead);
        }
        let order = self.orders.get(&key).copied().unwrap_or_default();
        if let Some(writer) = order.get(values.len()).and_then(|next| self.writers.get(&(key, *next))) {
            graph.add(node, *writer, Why::ReadWrite);
        }
        // What was acknowledged and never read comes after every reading.
        for ((_, value), writer) in self.writers.range((key, 0)..=(key, u64::MAX)) {
            if !order.contains(value) && self.all.get(*writer).is_some_and(|one| one.is_ok()) {
                graph.add(node, *writer, Why::ReadWrite);
            }
        }
    }

    /// Only from the last to be over: the others follow from these.
    fn real_time(&self, graph: &mut Graph) {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (node, operation) in self.all.iter().enumerate() {
            moments.push((operation.invoked_ns, false, node));
            if operation.is_ok() {
                moments.push((operation.ended_ns(), true, node));
            }
        }
        moments.sort_unstable();
        let mut over: Vec<usize> = Vec::new();
        for (_, is_end, node) in moments {
            if is_end {
                let began = self.all[node].invoked_ns;
                over.retain(|other| self.all[*other].ended_ns() >= began);
                over.push(node);
            } else if !matches!(self.all[node].outcome, Outcome::Fail(_)) {
                for other in &over {
                    graph.add(*other, node, Why::RealTime);
                }
            }
        }
    }
}

fn told(cycle: &[(usize, Why)], all: &[&Operation]) -> String {
    let count = |wanted: Why| cycle.iter().filter(|(_, why)| *why == wanted).count();
    let name = match (count(Why::ReadWrite), count(Why::WriteRead)) {
        (0, 0) => "G0",
        (0, _) => "G1c",
        (1, _) => "G-single",
        _ => "G2",
    };
    let suffix = if count(Why::RealTime) > 0 { "-realtime" } else { "" };
    let mut text = format!("{name}{suffix}:");
    for (node, why) in cycle {
        let index = all.get(*node).map_or(0, |operation| operation.index);
        let because = match why {
            Why::WriteWrite => "was overwritten by",
            Why::WriteRead => "was read by",
            Why::ReadWrite => "did not see",
            Why::RealTime => "was over before",
        };
        text = format!("{text} #{index} {because}");
    }
    let first = cycle.first().and_then(|(node, _)| all.get(*node)).map_or(0, |operation| operation.index);
    format!("{text} #{first}")
}
