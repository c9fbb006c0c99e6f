//! Consensus: partitions, their logs and reads. Knows nothing of users.

mod api;
mod clock;
#[cfg(feature = "testing")]
pub mod testing;

pub use api::{
    ApplyFault, BoxFuture, CipherError, Committed, Consistency, EntryCipher, Health, Incarnation, Leadership, NodeId,
    Outcome, Partition, PartitionId, PartitionStatus, ReadError, StateMachine, UnknownReason, Verdict,
};
pub use clock::{Clock, SystemClock, Timestamp};
