//! The domain as its users see it: the façade over partitions without Raft.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test"
)]

mod audit;
mod clients;
mod cluster;
mod cluster_changes;
mod cluster_world;
mod codes;
mod concurrency;
mod developers;
mod devices;
mod erasure;
mod golden;
mod isolation;
mod key_proofs;
mod keys;
mod logins;
mod logouts;
mod pushed;
mod refresh;
mod registration;
mod remote;
mod replay;
mod resources;
mod rights;
mod second_factor;
mod sessions;
mod static_families;
mod support;
mod system;
mod tenants;
mod unchanged;
mod users;
