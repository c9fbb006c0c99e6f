//! The peer transport over real sockets on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod calls;
mod delays;
mod join;
mod streams;
mod support;
mod trust;
mod wire;
