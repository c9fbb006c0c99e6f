//! Black-box chaos tests: partitions, clock jumps, power loss, and a checker of what was promised.
//!
//! Nothing is here yet, and nothing is claimed. The crate has its place so that it can never depend on
//! the crates it will judge: it will talk to nodes over HTTP, the command line and the operating system.
