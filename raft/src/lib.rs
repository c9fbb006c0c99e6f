//! Consensus: partitions, their logs and reads. Knows nothing of users.
//!
//! A [`Partition`] orders commands through a Raft group and applies them to its state; above it sits
//! whatever implements [`StateMachine`]. A [`RaftNode`] holds the groups of a process over one shared
//! log. openraft stays inside this crate.
//!
//! Invariants:
//! - A proposal is acknowledged only after its entry was synced and applied.
//! - Effects, applied id and membership reach the state in one batch.
//! - The log is cut only below what the state has synced.
//! - A committed command is never skipped: a fault stops the group instead.
//! - No lease serves a read.

mod api;
mod barrier;
mod clock;
mod config;
mod data_dir;
mod disk_space;
mod entry_cache;
mod envelope;
mod faults;
mod group;
mod group_start;
mod group_status;
mod hosted;
#[cfg(test)]
mod issue_2116_tests;
mod join_gate;
mod log_cut;
mod log_meta;
mod log_size;
mod log_store;
#[cfg(test)]
mod log_store_tests;
mod node;
mod open_error;
mod orders;
pub mod peer;
pub mod placement;
mod probes;
mod proposals;
mod pulse;
mod quarantined;
mod quorum;
mod read_rounds;
mod read_source;
mod replica_file;
mod replicas;
mod snapshot;
mod state_adapter;
mod state_meta;
#[cfg(test)]
mod storage_suite;
mod supervisor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timers;
mod turns;
mod type_config;
mod vigil;

pub use api::{
    ApplyFault, BoxFuture, CipherError, Committed, Consistency, EntryCipher, Health, Incarnation, Leadership,
    LogPosition, MemberStatus, NodeId, Outcome, Partition, PartitionId, PartitionStatus, ReadError,
    StateMachine, UnknownReason, Verdict,
};
pub use clock::{Clock, SystemClock, Timestamp};
pub use config::{DiskOptions, GroupConfig, JoinPoint, NodeConfig, OpenState, Peers, Start};
pub use data_dir::{DataDir, DataDirError, NodeIdentity};
pub use disk_space::DiskReserve;
pub use envelope::EnvelopeError;
pub use faults::{OnPanic, PanicReport, abort_on_panic};
pub use group::{APPLY_LAG_ENTRIES_MAX, IN_FLIGHT_BYTES_MAX, PROPOSAL_BYTES_MAX};
pub use log_cut::{LogCut, LogCutError};
pub use log_store::LogStoreError;
pub use node::RaftNode;
pub use open_error::{NodeError, OpenError};
pub use orders::{CAUGHT_UP_LAG_MAX, Change, Order, OrderError, OrderReply};
pub use replica_file::ReplicaOnDisk;
pub use snapshot::{
    DigestError, SnapshotError, SnapshotSettings, StateDigest, state_digest, state_digest_at,
};
pub use state_meta::StateMetaError;
pub use timers::{Retention, TimerProfile};
pub use type_config::NodeInfo;
