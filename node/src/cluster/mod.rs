//! A node's part in its cluster: `init` and `join` make a data directory a node's, `start` runs it.
//!
//! ```text
//! start ── peers (TLS) ── service: what nodes ask each other (messages)
//!   │                     join_desk: hosts that join
//!   ├─ replicas: open groups and their executors ── domain: commands for partitions led elsewhere
//!   ├─ directory: what the directory says (catalog) and is told
//!   ├─ follow: addresses and trust      ├─ controller: members as placements want them
//!   └─ control + overview: what operators see and ask
//! ```
//!
//! - **A node comes up without the directory**: whom it trusts and what it holds is in its data directory.
//! - **A region's key material stays in it**: a partition key is given to certificates of allowed regions
//!   only, a region's authority to nodes of that region only, a key-encryption key to nobody.

mod catalog;
mod control;
mod controller;
mod directory;
mod disk_use;
mod domain;
mod files;
mod follow;
pub(crate) mod forward;
mod init;
mod join;
mod join_desk;
mod join_secrets;
mod join_wire;
mod links;
mod messages;
mod operator;
mod overview;
mod peers;
mod readiness;
mod replica_digest;
mod replicas;
mod router;
mod run;
mod service;
mod start;
mod survey;
#[cfg(test)]
mod testing;
mod times;
mod token;

pub use forward::{Class, ENDPOINTS, Endpoint, Repeat};
pub use run::{init, join, start};
pub use start::node_id;
