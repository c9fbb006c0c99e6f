//! The kernel of the domain, on streams of its own: what holds whatever the domain puts on top.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test says what it expects; anything else is a failure"
)]

mod actor_details;
mod answers;
mod apply;
mod audit;
mod clock;
mod executor;
mod golden;
mod latches;
mod link;
mod poison;
mod sealing;
mod stale_leader;
mod streams;
mod world;
