//! A state machine of registers with a chain over all that was applied.

use std::sync::Arc;

use domicile_raft::{ApplyFault, Committed, StateMachine, Verdict};
use domicile_storage::{Engine, Transaction};

use crate::checker::Checker;
use crate::rng::{digest, mix};

/// Registers that clients write.
pub const KEYS: u8 = 4;
const TABLE: u8 = 1;
const CHAIN: &[u8] = &[2];
/// Every how many ids a command conflicts after it has written.
const CONFLICTS: u64 = 13;

/// `key | id`: puts a globally unique id into a register.
pub fn command(key: u8, id: u64) -> Vec<u8> {
    let mut body = vec![key];
    body.extend(id.to_le_bytes());
    body.resize(9 + usize::try_from(id % 40).unwrap(), 0x2e);
    body
}

/// What a register holds: an id, and the log index that put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub id: u64,
    pub index: u64,
}

pub fn held(state: &dyn Engine, key: u8) -> Option<Held> {
    let row = state.get(&[TABLE, key]).ok()??;
    let (id, index) = row.split_first_chunk::<8>()?;
    Some(Held { id: u64::from_le_bytes(*id), index: u64::from_le_bytes(index.try_into().ok()?) })
}

pub struct Registers {
    pub node: u64,
    pub checker: Arc<Checker>,
}

impl StateMachine for Registers {
    fn apply(&self, state: &mut Transaction<'_>, command: Committed<'_>) -> Result<Verdict, ApplyFault> {
        let malformed = || ApplyFault::Invalid("malformed".to_owned());
        let (key, rest) = command.body.split_first().ok_or_else(malformed)?;
        let id = rest.first_chunk::<8>().ok_or_else(malformed)?;
        state.put(vec![TABLE, *key], [&id[..], &command.index.to_le_bytes()].concat());
        if u64::from_le_bytes(*id).is_multiple_of(CONFLICTS) {
            self.checker.ordered(self.node, command.index, 0);
            return Ok(Verdict::Conflict(Vec::new()));
        }
        let before = state.get(CHAIN)?.unwrap_or_default();
        let chain = mix(digest(&[&before, &command.index.to_le_bytes(), command.body]));
        state.put(CHAIN.to_vec(), chain.to_le_bytes().to_vec());
        self.checker.ordered(self.node, command.index, chain);
        Ok(Verdict::Applied(id.to_vec()))
    }
}
