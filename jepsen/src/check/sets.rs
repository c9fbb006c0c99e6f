//! Sets and logs: nothing acknowledged is lost, nothing is there twice, logs are dense and agree.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Check;
use crate::history::{Call, History, Operation, Outcome, Reply};

/// The set of all values that were written to registers, as a log of what was applied shows them: each
/// write adds its value there, once, however often its request was sent.
pub const APPLIED: u64 = 0;

/// Every element that was acknowledged is in every strong read that began later, once; nothing is there
/// that nobody added.
pub fn nothing_lost(history: &History) -> Check {
    let mut out = Check::named("sets");
    let set = |operation: &Operation| match operation.call {
        Call::Add { set, .. } | Call::Members { set } => Some(set),
        Call::Write { .. } => Some(APPLIED),
        Call::Read { .. }
        | Call::Claim { .. }
        | Call::Owner { .. }
        | Call::Redeem { .. }
        | Call::Refresh { .. }
        | Call::Revoke { .. }
        | Call::Introspect { .. }
        | Call::Log { .. }
        | Call::Txn(_) => None,
    };
    for (set, operations) in history.by_key(set) {
        let adds: BTreeMap<u64, &Operation> = operations
            .iter()
            .filter_map(|one| {
                let (Call::Add { element, .. } | Call::Write { value: element, .. }) = one.call else {
                    return None;
                };
                Some((element, *one))
            })
            .collect();
        for read in &operations {
            let Outcome::Ok(Reply::Members(members)) = &read.outcome else { continue };
            out.looked_at += 1;
            one_read(&mut out, set, read, members, &adds);
        }
    }
    out
}

fn one_read(out: &mut Check, set: u64, read: &Operation, members: &[u64], adds: &BTreeMap<u64, &Operation>) {
    let mut seen = BTreeSet::new();
    for member in members {
        if !seen.insert(*member) {
            let by: Vec<&Operation> = adds.get(member).copied().into_iter().chain([read]).collect();
            out.find(format!("element {member} is twice in set {set}"), &by);
        }
        match adds.get(member) {
            None => out.find(format!("set {set} has element {member}, which nobody added"), &[read]),
            Some(add) if read.precedes(add) => {
                out.find(format!("set {set} had element {member} before it was added"), &[add, read]);
            }
            Some(add) if matches!(add.outcome, Outcome::Fail(_)) => {
                out.find(format!("set {set} has element {member}, whose addition was refused"), &[add, read]);
            }
            Some(_) => {}
        }
    }
    for (element, add) in adds {
        if add.is_ok() && add.precedes(read) && !seen.contains(element) {
            out.find(format!("set {set} lost element {element}, which was acknowledged"), &[add, read]);
        }
    }
}

/// Every reading of a log is dense from 1, all readings agree on what stands under a number, and no
/// reading is shorter than one that had ended before it began.
pub fn logs_agree(history: &History) -> Check {
    let mut out = Check::named("logs");
    let log = |operation: &Operation| if let Call::Log { log } = operation.call { Some(log) } else { None };
    for (log, reads) in history.by_key(log) {
        let mut known: BTreeMap<u64, (u64, &Operation)> = BTreeMap::new();
        let mut longest: Vec<(&Operation, usize)> = Vec::new();
        for read in reads {
            let Outcome::Ok(Reply::Entries(entries)) = &read.outcome else { continue };
            out.looked_at += 1;
            let dense = entries.iter().zip(1_u64..).all(|((number, _), place)| *number == place);
            if !dense {
                out.find(format!("log {log} has a gap or a number twice"), &[read]);
            }
            for (number, mark) in entries {
                let (first, by) = *known.entry(*number).or_insert((*mark, read));
                if first != *mark {
                    out.find(format!("entry {number} of log {log} differs between readings"), &[by, read]);
                    break;
                }
            }
            let before = longest.iter().filter(|(other, _)| other.precedes(read));
            if let Some((other, _)) =
                before.max_by_key(|(_, length)| *length).filter(|(_, length)| *length > entries.len())
            {
                out.find(format!("log {log} became shorter"), &[other, read]);
            }
            longest.push((read, entries.len()));
        }
    }
    out
}
