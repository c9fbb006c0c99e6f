//! What survives: a killed process, a lost power supply, and the order of system calls behind it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod child;
mod power_loss;
mod system_calls;
mod workload;

use child::{Answers, Position, check, spawn};

/// The number in `name`, or `default`.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A seed of this run, or the one in `DOMICILE_CRASH_TEST_SEED`; printed either way.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    let seed = number("DOMICILE_CRASH_TEST_SEED", RandomState::new().hash_one(0));
    println!("DOMICILE_CRASH_TEST_SEED={seed}");
    seed
}

#[test]
fn a_killed_process_leaves_a_prefix_with_all_that_was_answered() {
    let seed = seed();
    let directory = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    for round in 0..number("DOMICILE_KILL_ROUNDS", 12) {
        let mut child = spawn(directory.path(), seed, position);
        let mut answers = Answers::of(&mut child, position);
        answers.read_some(workload::choice(seed, round, 120) + 5);
        child.kill().unwrap();
        answers.read_rest();
        child.wait().unwrap();
        position = check(directory.path(), seed, answers.position);
    }
    assert!(position.log > 0 && position.state > 0);
}
