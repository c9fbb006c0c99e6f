//! What clients do during a run, at the level that users see. One kind of client a file.

mod claims;
mod codes;
mod digests;
mod ends;
mod everywhere;
mod gone;
mod ground;
mod log;
mod people;
mod refresh;
mod registers;
mod replicas;
mod revoke;
mod suspect;
mod worker;

use std::sync::Arc;

use tokio::task::JoinSet;

pub use digests::{Digests, compare_digests};
pub use ends::{final_reads, users};
pub use ground::Ground;
pub use replicas::{Compared, compare};
pub use suspect::compare_suspect;

use worker::Worker;

/// Clients of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crew {
    /// Write and read registers.
    pub registers: u32,
    /// Claim login names.
    pub claims: u32,
    /// Get a code and redeem it many times at once.
    pub codes: u32,
    /// Exchange refresh tokens.
    pub refresh: u32,
    /// Revoke tokens and ask about them.
    pub revoke: u32,
    /// Change passwords, end sessions, disable people.
    pub people: u32,
    /// Read the log.
    pub log: u32,
}

impl Default for Crew {
    fn default() -> Self {
        Self { registers: 6, claims: 3, codes: 3, refresh: 3, revoke: 2, people: 2, log: 1 }
    }
}

/// Starts the clients; they work until the ground is closed. The regions take turns.
pub fn start(ground: &Arc<Ground>, crew: Crew) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    let at = |turn: u32| ground.cluster.net.clients.runtime(usize::try_from(turn).unwrap_or(0));
    for turn in 0..crew.registers {
        clients.spawn_on(registers::work(Worker::new(ground, "registers", turn)), &at(turn));
    }
    for turn in 0..crew.claims {
        clients.spawn_on(claims::work(Worker::new(ground, "claims", turn)), &at(turn));
    }
    for turn in 0..crew.codes {
        clients.spawn_on(codes::work(Worker::new(ground, "codes", turn)), &at(turn));
    }
    for turn in 0..crew.refresh {
        clients.spawn_on(refresh::work(Worker::new(ground, "refresh", turn)), &at(turn));
    }
    for turn in 0..crew.revoke {
        clients.spawn_on(revoke::work(Worker::new(ground, "revoke", turn)), &at(turn));
    }
    for turn in 0..crew.people {
        clients.spawn_on(people::work(Worker::new(ground, "people", turn)), &at(turn));
    }
    for turn in 0..crew.log {
        clients.spawn_on(log::work(Worker::new(ground, "log", turn)), &at(turn));
    }
    clients
}
