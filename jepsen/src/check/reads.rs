//! Reads that promise less than linearizability: at a consistency token, within a bound, or whatever is
//! there. Each write writes a value of its own, so that a read names the write that it saw.

use std::collections::BTreeMap;

use super::finding::Check;
use crate::history::{Call, Class, History, Operation, Outcome, Reply};

/// How old what reads returned was, in ms; 0 where nothing newer had been acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staleness {
    /// In increasing order.
    pub bounded_ms: Vec<u64>,
    /// The same for local reads.
    pub local_ms: Vec<u64>,
    /// Pairs of reads of one class by one client at one node.
    pub sessions: u64,
    /// Of the bounded and local ones, those of which the later saw less. Nothing promises that there are
    /// none: a node that lags may have asked another for the first.
    pub went_back: u64,
}

struct Register<'a> {
    writes: BTreeMap<u64, &'a Operation>,
    by_index: BTreeMap<u64, &'a Operation>,
    reads: Vec<(&'a Operation, Option<u64>)>,
}

fn registers(history: &History) -> BTreeMap<u64, Register<'_>> {
    let key = |operation: &Operation| {
        if let Call::Read { key, .. } | Call::Write { key, .. } = operation.call { Some(key) } else { None }
    };
    history.by_key(key).into_iter().map(|(key, operations)| (key, register(operations))).collect()
}

fn register(operations: Vec<&Operation>) -> Register<'_> {
    let mut register = Register { writes: BTreeMap::new(), by_index: BTreeMap::new(), reads: Vec::new() };
    for operation in operations {
        if let Call::Write { value, .. } = operation.call {
            register.writes.insert(value, operation);
            register.by_index.insert(operation.index, operation);
        } else if let Outcome::Ok(Reply::Value(value)) = operation.outcome {
            register.reads.push((operation, value));
        }
    }
    register
}

impl<'a> Register<'a> {
    /// The write whose value is surely older than `write`: it was over before `write` began.
    fn is_older(&self, value: Option<u64>, write: &Operation) -> bool {
        match value {
            None => true,
            Some(value) => self.writes.get(&value).is_some_and(|seen| seen.precedes(write)),
        }
    }

    /// The newest acknowledged write that was over before `time_ns` and is surely newer than `value`.
    fn missed(&self, value: Option<u64>, time_ns: u64) -> Option<&'a Operation> {
        let over = self.writes.values().filter(|write| write.is_ok() && write.ended_ns() < time_ns);
        over.filter(|write| self.is_older(value, write)).copied().min_by_key(|write| write.ended_ns())
    }
}

/// A read with the consistency token of a write returns that write's value or a newer one; a read within
/// a bound returns what was acknowledged `bound_ms` before it began, or something newer; and no read
/// returns what nobody wrote.
pub fn as_promised(history: &History, bound_ms: u64) -> Check {
    let mut out = Check::named("reads at a token or within a bound");
    for (key, register) in registers(history) {
        for (read, value) in &register.reads {
            if let Some(value) = value.filter(|value| !register.writes.contains_key(value)) {
                out.find(format!("register {key} had value {value}, which nobody wrote"), &[read]);
                continue;
            }
            match (read.class, &read.call) {
                (Some(Class::AtToken), Call::Read { after: Some(after), .. }) => {
                    out.looked_at += 1;
                    let Some(write) = register.by_index.get(after) else { continue };
                    if register.is_older(*value, write) {
                        out.find(
                            format!("register {key}: the read's token was not honoured"),
                            &[write, read],
                        );
                    }
                }
                (Some(Class::Bounded), _) => {
                    out.looked_at += 1;
                    let before = read.invoked_ns.saturating_sub(bound_ms * 1_000_000);
                    if let Some(write) = register.missed(*value, before) {
                        out.find(
                            format!("register {key}: the read is staler than {bound_ms} ms"),
                            &[write, read],
                        );
                    }
                }
                (Some(Class::AtToken | Class::Strong | Class::Local) | None, _) => {}
            }
        }
    }
    out
}

/// How stale bounded and local reads were: since when the oldest write that they missed was acknowledged.
pub fn staleness(history: &History) -> Staleness {
    let mut out = Staleness::default();
    for register in registers(history).into_values() {
        for (read, value) in &register.reads {
            let missed = register.missed(*value, read.invoked_ns);
            let age_ms = missed.map_or(0, |write| (read.invoked_ns - write.ended_ns()) / 1_000_000);
            match read.class {
                Some(Class::Bounded) => out.bounded_ms.push(age_ms),
                Some(Class::Local) => out.local_ms.push(age_ms),
                Some(Class::Strong | Class::AtToken) | None => {}
            }
        }
    }
    let back = steps_back(history, &mut out.sessions);
    let weak = |back: &&Back<'_>| matches!(back.read.class, Some(Class::Bounded | Class::Local));
    out.went_back = back.iter().filter(weak).count() as u64;
    out.bounded_ms.sort_unstable();
    out.local_ms.sort_unstable();
    out
}

/// A client that asks one node strongly does not see a register go back. Weaker reads are counted instead
/// ([`staleness`]).
pub fn sessions_go_forward(history: &History) -> Check {
    let mut out = Check::named("monotonic sessions");
    for back in steps_back(history, &mut out.looked_at) {
        if back.read.class == Some(Class::Strong) {
            out.find(
                format!(
                    "register {}: client {} at {} saw it go back",
                    back.key, back.read.process, back.read.node
                ),
                &[back.newer, back.before, back.read],
            );
        }
    }
    out
}

/// A register that a client saw go back at one node.
struct Back<'a> {
    key: u64,
    /// The write that was seen first.
    newer: &'a Operation,
    before: &'a Operation,
    read: &'a Operation,
}

/// Client, node, class.
type Session<'a> = (u64, &'a str, Option<Class>);

/// Pairs of reads of one client at one node in one class, of which the later saw less.
fn steps_back<'a>(history: &'a History, looked_at: &mut u64) -> Vec<Back<'a>> {
    let mut out = Vec::new();
    for (key, register) in registers(history) {
        let mut last: BTreeMap<Session<'_>, (&Operation, Option<u64>)> = BTreeMap::new();
        for (read, value) in &register.reads {
            let session = (read.process, read.node.as_str(), read.class);
            if let Some((before, Some(seen))) = last.insert(session, (read, *value))
                && let Some(newer) = register.writes.get(&seen)
            {
                *looked_at += 1;
                if register.is_older(*value, newer) {
                    out.push(Back { key, newer, before, read });
                }
            }
        }
    }
    out
}
