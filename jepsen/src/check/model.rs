//! The sequential objects that users see: a register and a name with one owner.

use std::collections::BTreeSet;

use super::linear::Model;
use crate::history::{Call, Operation, Outcome, Refusal, Reply, Value};

/// A register, or a name: both hold a value or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell;

impl Model for Cell {
    type State = Option<Value>;

    fn initial(&self) -> Self::State {
        None
    }

    fn step(&self, state: &Self::State, operation: &Operation) -> Option<Self::State> {
        match &operation.call {
            Call::Write { value, .. } => Some(Some(*value)),
            Call::Read { .. } | Call::Owner { .. } => match &operation.outcome {
                Outcome::Ok(Reply::Value(seen)) => (seen == state).then_some(*state),
                Outcome::Ok(_) | Outcome::Fail(_) | Outcome::Info(_) => Some(*state),
            },
            Call::Claim { by, .. } => match &operation.outcome {
                Outcome::Ok(_) => state.is_none().then_some(Some(*by)),
                // Taken: by somebody, or by this very request, which was sent twice.
                Outcome::Fail(Refusal::Taken) => state.is_some().then_some(*state),
                Outcome::Fail(_) => Some(*state),
                Outcome::Info(_) => Some(state.or(Some(*by))),
            },
            Call::Redeem { .. }
            | Call::Refresh { .. }
            | Call::Revoke { .. }
            | Call::Introspect { .. }
            | Call::Add { .. }
            | Call::Members { .. }
            | Call::Log { .. }
            | Call::Txn(_) => Some(*state),
        }
    }
}

/// Those that can decide. A write whose end is unknown and whose value nobody saw might as well never have
/// happened: with it left out, every order that is allowed stays allowed, and the search stays small.
pub fn deciding<'a>(operations: &[&'a Operation]) -> Vec<&'a Operation> {
    let seen: BTreeSet<Value> = operations
        .iter()
        .filter_map(|one| if let Outcome::Ok(Reply::Value(value)) = one.outcome { value } else { None })
        .collect();
    let decides = |one: &&&Operation| {
        let Call::Write { value, .. } = one.call else { return true };
        !one.is_unknown() || seen.contains(&value)
    };
    operations.iter().filter(decides).copied().collect()
}

/// The cell that an operation is about, and whether it tells anything of it.
pub fn cell_of(operation: &Operation) -> Option<(bool, u64)> {
    let (is_name, key) = if let Call::Read { key, .. } | Call::Write { key, .. } = operation.call {
        (false, key)
    } else if let Call::Claim { name, .. } | Call::Owner { name } = operation.call {
        (true, name)
    } else {
        return None;
    };
    let tells = match &operation.outcome {
        Outcome::Ok(_) => true,
        Outcome::Fail(refusal) => *refusal == Refusal::Taken,
        Outcome::Info(_) => !operation.call.is_read(),
    };
    tells.then_some((is_name, key))
}
