//! Black-box chaos tests: real nodes, real traffic, faults, and checkers of what was promised
//! (`docs/consistency.md`).
//!
//! ```text
//! history   what clients did and were told: types, Jepsen's EDN form, exports
//! check     one promise a file; a broken one is shown by its smallest failing window
//! schedule  what will be done and when, from a seed
//! net       the links between nodes, and between nodes and clients
//! disk      disks that can fail
//! enclosure namespaces that take everything away with them
//! program   the program under test: built if need be, and told by its hash
//! cluster   real nodes: settings, processes, a tenant
//! nemesis   does what the schedule says, and takes it back
//! workload  clients, one kind a file
//! run       all of it, one phase after another, and the verdict
//! power     the power cut under one store, again and again
//! report    one page for people
//! load      clients without faults, by an open loop
//! client    HTTP, a browser, the protocol
//! smoke     the short run of all; bugs: the same on builds with bugs on purpose
//! again     the command that does something again
//! ```
//!
//! INVARIANT: this crate depends on none of ours, so that it cannot share a mistake with what it judges.
//! Nodes are driven over HTTP, their command line and the operating system.

mod again;
pub mod bugs;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
mod disk;
pub mod enclosure;
pub mod history;
pub mod load;
pub mod nemesis;
pub mod net;
pub mod power;
mod program;
pub mod random;
pub mod report;
pub mod run;
pub mod schedule;
pub mod smoke;
pub mod topology;
pub mod workload;
