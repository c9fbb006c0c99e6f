//! Ordered bytes and logs on disk. Knows nothing of Raft.

pub mod codec;
mod engine;
mod error;
mod log_engine;
mod memory_engine;
mod memory_log;
mod transaction;

pub use engine::{Batch, Engine, KeyRange, Order, Pair, Write};
pub use error::{EngineError, LogError};
pub use log_engine::{GroupId, LogBounds, LogEngine, LogEntry, OnDurable};
pub use memory_engine::MemoryEngine;
pub use memory_log::MemoryLog;
pub use transaction::Transaction;
