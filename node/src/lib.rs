//! The node: command line, configuration, HTTP servers, pages and telemetry around `oidc` and `iam`.
//!
//! A request travels `serve` (bounds, host, client address, request id) -> `public` or `admin`
//! (handlers) -> `oidc` (parse) -> `iam` (decide, propose, project) -> back. This crate holds all
//! I/O towards people and programs and no rule of the domain.
//!
//! - **No handler reads a clock or makes randomness**: both come from [`domicile_raft::Clock`].
//! - **Logs and metrics hold no personal data**: routes as templates, never paths, queries, headers
//!   or bodies.
//! - **Nothing here writes to the store but through `iam`.**
//! - **Commands print through `cli/output.rs`**: output that nobody reads is no panic.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod admin;
mod backchannel;
pub mod boot;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod cookie;
pub mod demo;
pub mod dev;
pub mod egress;
#[cfg(test)]
mod hostile;
pub mod limit;
pub mod pages;
mod private_file;
pub mod problem;
pub mod public;
mod random_text;
pub mod serve;
pub mod telemetry;
