//! The audit log's export, and its check offline.
//!
//! Lines of JSON: a header with the tenant and its root public key, one line an event with the stored
//! bytes and the chain's hash after it, and a footer with a checkpoint signed by the root key. The
//! bytes are as stored: personal values stay sealed.

mod checkpoint;
mod export;
mod line;
mod verify;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use export::{Export, ExportError};
pub use verify::{BadEvent, Flaw, Report, VerifyError, verify};
