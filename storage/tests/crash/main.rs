//! What survives: a killed process, a lost power supply, and the order of system calls behind it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod child;
mod cut_writes;
mod power_loss;
mod system_calls;
mod workload;

use std::process::{Command, Stdio};

use child::{Answers, OFTEN, Position, check, spawn};

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

/// Whether a program is on this machine.
fn is_there(program: &str) -> bool {
    let mut asked = Command::new(program);
    asked.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// What cannot be tried for want of `what` is said and passed over; with `DOMICILE_TOOLS=required`, as in CI, it
/// fails.
fn skipped(what: &str) {
    let required = std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required");
    assert!(!required, "this test needs {what}");
    eprintln!("SKIPPED: this test needs {what}, which this machine lacks");
}

#[test]
fn a_killed_process_leaves_a_prefix_with_all_that_was_answered() {
    let seed = seed();
    let directory = tempfile::tempdir().unwrap();
    let mut position = Position::default();
    for round in 0..number("DOMICILE_KILL_ROUNDS", 20) {
        let mut child = spawn(directory.path(), seed, position, OFTEN);
        let mut answers = Answers::of(&mut child, position);
        answers.read_some(workload::choice(seed, round, 120) + 5);
        child.kill().unwrap();
        answers.read_rest();
        child.wait().unwrap();
        position = check(directory.path(), seed, answers.position);
    }
    assert!(position.log > 0 && position.state > 0);
}
