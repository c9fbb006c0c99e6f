//! The guard over the wall clock: a jump stops writes, and a clock that settled is trusted again.

use std::time::Duration;

use domicile_iam::execute::ClockGuard;
use domicile_raft::testing::ManualClock;
use domicile_raft::{Clock, Timestamp};

use crate::world::START;

const HOUR_MS: u64 = 3_600_000;

/// Whether the clock is trusted when asked each second of `seconds`; the last answer.
fn after(clock: &ManualClock, guard: &ClockGuard, log_time: Timestamp, seconds: u64) -> bool {
    let mut trusted = guard.now(clock, log_time).is_ok();
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        trusted = guard.now(clock, log_time).is_ok();
    }
    trusted
}

#[test]
fn a_clock_set_forward_is_trusted_once_it_went_on_steadily_for_a_minute() {
    let clock = ManualClock::new(START, 7);
    let guard = ClockGuard::new(&clock);
    clock.jump_to(START.plus_ms(HOUR_MS));
    assert!(!after(&clock, &guard, START, 59));
    assert!(after(&clock, &guard, START, 1));
    assert_eq!(guard.now(&clock, START), Ok(clock.now()));
    // From there on it guards as before.
    clock.jump_to(START);
    assert!(guard.now(&clock, START).is_err());
}

#[test]
fn a_clock_that_keeps_jumping_is_never_trusted() {
    let clock = ManualClock::new(START, 7);
    let guard = ClockGuard::new(&clock);
    for jumps in 1..5 {
        clock.jump_to(START.plus_ms(jumps * HOUR_MS));
        assert!(!after(&clock, &guard, START, 40));
    }
}

#[test]
fn a_clock_behind_log_time_is_not_trusted_however_steady() {
    let clock = ManualClock::new(START, 7);
    let guard = ClockGuard::new(&clock);
    clock.jump_to(Timestamp(START.0 - 300_000));
    assert!(!after(&clock, &guard, START, 299));
    assert!(after(&clock, &guard, START, 1));
}

#[test]
fn a_clock_that_comes_back_is_trusted_at_once() {
    let clock = ManualClock::new(START, 7);
    let guard = ClockGuard::new(&clock);
    clock.jump_to(START.plus_ms(HOUR_MS));
    assert!(!after(&clock, &guard, START, 0));
    clock.jump_to(START.plus_ms(400));
    assert!(after(&clock, &guard, START, 0));
}

#[test]
fn a_clock_that_others_confirm_is_trusted_as_it_was_then_and_guarded_from_there_on() {
    let clock = ManualClock::new(START, 7);
    let guard = ClockGuard::new(&clock);
    clock.jump_to(START.plus_ms(HOUR_MS));
    let (wall, monotonic) = (clock.now(), clock.monotonic());
    assert!(!after(&clock, &guard, START, 1));
    guard.confirm(wall, monotonic);
    assert!(after(&clock, &guard, START, 1));
    // It jumped after it was compared, and before that was told.
    clock.jump_to(START.plus_ms(3 * HOUR_MS));
    guard.confirm(wall, monotonic);
    assert!(!after(&clock, &guard, START, 1));
}
