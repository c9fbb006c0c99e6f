//! The smallest failing window: of a history that fails, the few operations that a person must look at.
//!
//! Every step only weakens the history, so that what is left fails for the reason that the whole does:
//! the end is cut off (who was under way then has no end), a read is left out, or a write's end is
//! forgotten. A write whose end does not matter stays in the check and is not shown.

use crate::history::{Call, Operation, Outcome, Reply};

/// Looks for the window. `fails` judges a history; it is asked some hundred times at most for a window
/// of ordinary size. What comes back is in order of the requests; all of it if `fails` denies the whole.
pub fn smallest(operations: &[&Operation], fails: impl Fn(&[&Operation]) -> bool) -> Vec<Operation> {
    let mut kept: Vec<Operation> = operations.iter().map(|operation| (*operation).clone()).collect();
    let fails = |list: &[Operation]| fails(&list.iter().collect::<Vec<_>>());
    if !fails(&kept) {
        return kept;
    }
    kept = shortest_prefix(&kept, &fails);
    let mut turn = kept.len();
    while turn > 0 {
        turn -= 1;
        let mut weaker = kept.clone();
        if weaker[turn].call.is_read() {
            weaker.remove(turn);
        } else if weaker[turn].ended_ns() != u64::MAX {
            forget_end(&mut weaker[turn]);
        } else {
            continue;
        }
        if fails(&weaker) {
            kept = weaker;
        }
    }
    let seen: Vec<Operation> = kept.iter().filter(|operation| matters(operation, &kept)).cloned().collect();
    if seen.is_empty() { kept } else { seen }
}

/// By the end at which the history fails first: it fails for every later one too.
fn shortest_prefix(operations: &[Operation], fails: &impl Fn(&[Operation]) -> bool) -> Vec<Operation> {
    let mut ends: Vec<u64> =
        operations.iter().map(Operation::ended_ns).filter(|ended| *ended != u64::MAX).collect();
    ends.sort_unstable();
    let prefix = |until: u64| -> Vec<Operation> {
        let began = operations.iter().filter(|operation| operation.invoked_ns <= until);
        let cut = began.map(|operation| {
            let mut cut = operation.clone();
            if cut.ended_ns() > until {
                forget_end(&mut cut);
            }
            cut
        });
        cut.filter(|operation| !(operation.call.is_read() && operation.is_unknown())).collect()
    };
    let first = ends.partition_point(|until| !fails(&prefix(*until)));
    ends.get(first).map_or_else(|| operations.to_vec(), |until| prefix(*until))
}

fn forget_end(operation: &mut Operation) {
    operation.outcome = Outcome::Info("its end does not matter here".to_owned());
    operation.completed_ns = None;
}

/// A write without an end is shown if somebody read what it wrote.
fn matters(operation: &Operation, all: &[Operation]) -> bool {
    if !operation.is_unknown() {
        return true;
    }
    let (Call::Write { value: wrote, .. } | Call::Claim { by: wrote, .. }) = operation.call else {
        return true;
    };
    let saw = |other: &Operation| other.outcome == Outcome::Ok(Reply::Value(Some(wrote)));
    all.iter().any(saw)
}
