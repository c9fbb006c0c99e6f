//! The log as lists: each write of a register appends its value to the register's list, and a reading of the
//! whole log reads all lists at one moment, since the log only grows. That gives transactions over many keys
//! for the search for cycles, though the product has no operation on several keys.

use std::collections::BTreeMap;

use super::append;
use super::finding::Check;
use super::sets::APPLIED;
use crate::history::{Call, History, Operation, Outcome, Reply, Step};

/// Judges writes and readings of the log as transactions on lists.
pub fn as_lists(history: &History) -> Check {
    let mut out = append::check(&transactions(history));
    out.name = "log as lists";
    for finding in &mut out.findings {
        finding.checker = out.name;
    }
    out
}

/// The same operations, as transactions.
pub fn transactions(history: &History) -> History {
    let owner: BTreeMap<u64, u64> = history
        .operations
        .iter()
        .filter_map(|one| if let Call::Write { key, value } = one.call { Some((value, key)) } else { None })
        .collect();
    let mut keys: Vec<u64> = owner.values().copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let of = |one: &Operation| -> Option<Operation> {
        let (call, reply) = match (&one.call, &one.outcome) {
            (Call::Write { key, value }, _) => {
                let steps = vec![Step::Append(*key, *value)];
                (Call::Txn(steps.clone()), Reply::Txn(steps))
            }
            (Call::Members { set: APPLIED }, Outcome::Ok(Reply::Members(values))) => {
                let mut lists: BTreeMap<u64, Vec<u64>> = keys.iter().map(|key| (*key, Vec::new())).collect();
                for value in values {
                    // What nobody wrote is another checker's finding.
                    if let Some(key) = owner.get(value) {
                        lists.entry(*key).or_default().push(*value);
                    }
                }
                let steps = lists.into_iter().map(|(key, list)| Step::Read(key, Some(list))).collect();
                (Call::Txn(keys.iter().map(|key| Step::Read(*key, None)).collect()), Reply::Txn(steps))
            }
            _ => return None,
        };
        let outcome = if one.is_ok() { Outcome::Ok(reply) } else { one.outcome.clone() };
        Some(Operation { call, outcome, ..one.clone() })
    };
    History { operations: history.operations.iter().filter_map(of).collect(), faults: Vec::new() }
}
