//! Runs commands: latches, decide, seal, propose, retry.
//!
//! A result without a proposal is given only after a read-index barrier taken after the command
//! arrived, and only if what was read still stands then (design §3).

mod bounds;
mod clock_guard;
mod command;
mod context;
mod draft;
mod executor;
mod failure;
mod finish;
mod fresh;
mod idempotency;
mod latch;
mod maintain;
mod notices;
mod reads;
mod rehearsal;
mod token;

pub use bounds::ExecutorConfig;
pub use clock_guard::{ClockGuard, ClockJumped};
pub use command::{Command, DecideError, Decision};
pub use context::{Actor, ExecuteError, IdempotencyKey, RequestContext, Written};
pub use draft::{Draft, user_key};
pub use executor::Executor;
pub use fresh::Fresh;
pub use latch::{LatchBounds, LatchError, LatchKey, LatchMode, LatchSet, Latches};
pub use reads::{ReadFault, Reads, RecordRow, Scope, Versioned, owner_id};
pub use token::{ConsistencyToken, ParseTokenError};
