//! A small state machine and the ways to open nodes, shared by the tests.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

pub mod cluster;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::placement::GroupSettings;
use domicile_raft::testing::ToyCipher;
use domicile_raft::{
    ApplyFault, Committed, DiskOptions, GroupConfig, Incarnation, NodeInfo, Outcome, Partition, PartitionId,
    RaftNode, Retention, Start, StateMachine, SystemClock, TimerProfile, Verdict,
};
use domicile_storage::Transaction;

pub const WAIT: Duration = Duration::from_secs(20);

/// Stores `key=value`; `key?value` conflicts where the key exists, after having written; `!` is a
/// fault; `panic` panics. Replies with the number of keys written so far.
pub struct Registers;

const TABLE: u8 = 1;
const COUNT: &[u8] = &[2];

pub fn register(key: &str) -> Vec<u8> {
    [&[TABLE], key.as_bytes()].concat()
}

impl StateMachine for Registers {
    fn apply(&self, state: &mut Transaction<'_>, command: Committed<'_>) -> Result<Verdict, ApplyFault> {
        let text = std::str::from_utf8(command.body).map_err(|e| ApplyFault::Invalid(e.to_string()))?;
        if text.starts_with('!') {
            state.put(register("half"), b"done".to_vec());
            return Err(ApplyFault::Invalid(format!("command {} breaks an invariant", command.index)));
        }
        assert!(text != "panic", "told to");
        let at = text.find(['=', '?']).ok_or_else(|| ApplyFault::Invalid("no separator".to_owned()))?;
        let (key, value) = (register(&text[..at]), text.as_bytes()[at + 1..].to_vec());
        let taken = state.get(&key)?.is_some();
        state.put(key, value);
        let count = state.get(COUNT)?.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap())) + 1;
        state.put(COUNT.to_vec(), count.to_le_bytes().to_vec());
        if taken && text.as_bytes()[at] == b'?' {
            return Ok(Verdict::Conflict(b"taken".to_vec()));
        }
        Ok(Verdict::Applied(count.to_le_bytes().to_vec()))
    }
}

pub fn group(partition: u64) -> GroupConfig {
    GroupConfig {
        partition: PartitionId(partition),
        incarnation: Incarnation(1),
        cipher: Arc::new(ToyCipher::new(9)),
        state_machine: Arc::new(Registers),
        settings: GroupSettings::anywhere(TimerProfile::Zone),
        retention: Retention::default(),
        start: Start::Bootstrap(NodeInfo::default()),
    }
}

pub fn disk_node(root: &Path) -> RaftNode {
    RaftNode::open_on_disk(root, DiskOptions::default(), Arc::new(SystemClock::new())).unwrap()
}

pub fn memory_node() -> RaftNode {
    RaftNode::open_in_memory(Arc::new(SystemClock::new())).unwrap()
}

pub async fn propose(partition: &dyn Partition, command: &str) -> Outcome {
    partition.propose(command.as_bytes().to_vec(), WAIT).await
}

/// Proposes and expects it to be applied; gives the index.
pub async fn applied(partition: &dyn Partition, command: &str) -> u64 {
    let outcome = propose(partition, command).await;
    let Outcome::Applied { index, .. } = outcome else {
        panic!("`{command}` was not applied: {outcome:?}");
    };
    index
}

pub fn value(partition: &dyn Partition, key: &str) -> Option<String> {
    partition.state().get(&register(key)).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

pub fn count(partition: &dyn Partition) -> u64 {
    partition.state().get(COUNT).unwrap().map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}
