//! The kernel of the domain, on streams of its own: what holds whatever the domain puts on top.

mod apply;
mod audit;
mod executor;
mod golden;
mod latches;
mod sealing;
mod streams;
mod world;
