//! The identity domain: commands are decided, events evolve state, queries read it.
//!
//! Data flow: a [`execute::Command`] is decided on applied state, sealed and proposed by the
//! [`execute::Executor`]; [`apply::Machine`] checks and applies the [`proposal::Proposal`].
//!
//! **`apply`, `streams` and `projections` import nothing of sealing, clocks or execution.**
//! Deliberately absent: axum, openraft, sled, and any personal value in clear at rest.

pub mod apply;
pub mod audit;
pub mod blind;
mod cache;
pub mod commands;
pub mod event;
pub mod execute;
pub mod ids;
pub mod keys;
pub mod model;
pub mod password;
pub mod personal;
pub mod projections;
pub mod proposal;
pub mod query;
pub mod seal;
mod seen;
pub mod service;
pub mod streams;
pub mod tables;
