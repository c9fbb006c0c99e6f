//! Ordered bytes and logs on disk. Knows nothing of Raft.
//!
//! Two traits and their engines: [`Engine`] is the state of one partition, an ordered map with atomic
//! batches that is durable when told ([`SledEngine`], [`MemoryEngine`]); [`LogEngine`] is the logs of
//! all groups of a node, each write durable when it is answered ([`RaftEngineLog`], [`MemoryLog`]).
//! [`ViewedEngine`] adds views to an engine: what it was at one batch, while writes go on.
//! [`codec`] turns values into bytes, [`KeyWriter`] parts into keys. A write goes `propose -> log append
//! -> sync -> answer -> apply -> state batch`; the state is synced before the log is purged.
//!
//! Invariants:
//! - **A batch is seen whole or not at all**, by readers and after any crash.
//! - **The same stamp twice**: nothing was committed in between ([`Stamp`], docs/adr/0032).
//! - **No answer before the sync** that makes it true on a disk that lost power.
//! - **What was synced is there or opening fails**; only a torn tail is cut.
//! - **A full disk loses nothing**: the log waits for room, the state has some set aside.
//! - **No panic and no default for damaged bytes**: an error names the file and the key or offset.
//!
//! Deliberately absent: transactions across engines, time, randomness, encryption (bytes arrive
//! sealed), and anything of Raft, tenants or users.

pub mod codec;
mod directory;
mod engine;
mod error;
mod key;
mod log_engine;
mod memory_engine;
mod memory_log;
mod raft_engine_log;
mod room;
mod seeded;
mod sled_engine;
mod stamp;
mod synced_record;
mod transaction;
mod views;

pub use engine::{Batch, Engine, KEY_BYTES_MAX, KeyRange, Order, Pair, Write};
pub use error::{EngineError, LogError};
pub use key::{KeyError, KeyReader, KeyWriter};
pub use log_engine::{GroupId, LogBounds, LogEngine, LogEntry, OnDurable};
pub use memory_engine::MemoryEngine;
pub use memory_log::MemoryLog;
pub use raft_engine_log::{LogOptions, RaftEngineLog};
pub use seeded::{Bug, is_seeded};
pub use sled_engine::{SledEngine, SledOptions};
pub use stamp::Stamp;
pub use transaction::Transaction;
pub use views::{Monotonic, View, ViewBounds, ViewEnd, ViewError, ViewScan, ViewedEngine};
