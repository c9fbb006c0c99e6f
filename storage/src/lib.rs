//! Ordered bytes and logs on disk. Knows nothing of Raft.

pub mod codec;
mod directory;
mod engine;
mod error;
mod key;
mod log_engine;
mod memory_engine;
mod memory_log;
mod raft_engine_log;
mod sled_engine;
mod synced_record;
mod transaction;

pub use engine::{Batch, Engine, KEY_BYTES_MAX, KeyRange, Order, Pair, Write};
pub use error::{EngineError, LogError};
pub use key::{KeyError, KeyReader, KeyWriter};
pub use log_engine::{GroupId, LogBounds, LogEngine, LogEntry, OnDurable};
pub use memory_engine::MemoryEngine;
pub use memory_log::MemoryLog;
pub use raft_engine_log::{LogOptions, RaftEngineLog};
pub use sled_engine::{SledEngine, SledOptions};
pub use transaction::Transaction;
