//! Codes and refresh tokens, whose promises count in the time of logs: histories made by hand, with clocks that were
//! wrong meanwhile and without.

use super::hand_made::{MS, Made, lost, ok};
use super::*;
use crate::history::{Call, Outcome, Refusal, Reply};

const S: u64 = 1_000 * MS;
/// From 10 s to 15 s; the true time comes to where the clock was at 105 s.
const AHEAD: Skew = Skew { from_ns: 10 * S, until_ns: 15 * S, ahead_ms: 90_000 };
const BEHIND: Skew = Skew { from_ns: 10 * S, until_ns: 15 * S, ahead_ms: 0 };

fn refresh(token: u64) -> Call {
    Call::Refresh { family: 4, token }
}

fn next(token: u64) -> Outcome {
    Outcome::Ok(Reply::Successor(token))
}

fn refused() -> Outcome {
    Outcome::Fail(Refusal::InvalidGrant)
}

/// A token used at one moment, and taken again 4 s later; the grace is 0.1 s.
fn taken_again(at_s: u64) -> Made {
    let at = at_s * 1_000;
    Made::default().op(at, at + 9, refresh(1), next(2)).op(at + 4_000, at + 4_009, refresh(1), next(2))
}

#[test]
fn a_late_reuse_is_found_but_for_the_time_in_which_the_log_may_have_stood_still() {
    for skew in [AHEAD, BEHIND] {
        let made = taken_again(1).under(skew);
        made.breaks("was taken again");
        assert_eq!(made.looked_at("late reuse"), 1);
    }
    for (at_s, skew) in [(10, AHEAD), (60, AHEAD), (10, BEHIND)] {
        let made = taken_again(at_s).under(skew);
        made.holds();
        assert_eq!(made.looked_at("late reuse"), 0, "what could not be judged is not counted");
    }
    taken_again(106).under(AHEAD).breaks("was taken again");
    taken_again(16).under(BEHIND).breaks("was taken again");
}

#[test]
fn only_tokens_that_came_back_late_and_were_answered_count_as_late() {
    let made = Made::default()
        .op(0, 9, refresh(1), next(2))
        .op(20, 29, refresh(1), next(2))
        .op(200, 209, refresh(1), lost())
        .op(300, 309, refresh(1), Outcome::Fail(Refusal::Unavailable))
        .op(500, 509, refresh(1), refused());
    made.holds();
    assert_eq!(made.looked_at("late reuse"), 1);
}

#[test]
fn rfc9700_s4_14_2_a_family_is_refused_only_after_a_reuse() {
    let first = || Made::default().op(0, 9, refresh(1), next(2));
    // Nobody knows why.
    first().op(20, 29, refresh(2), refused()).breaks("nobody can have used a token of it twice");
    first().op(20, 29, refresh(1), refused()).breaks("nobody can have used");
    Made::default().op(0, 9, refresh(1), refused()).breaks("nobody can have used");
    let taken = first().op(20, 29, refresh(2), refused()).op(40, 49, refresh(2), next(3));
    assert!(
        taken.windows().contains(&vec![0, 1, 2]),
        "what was before, the refusal, and what came of the token"
    );
    // It came back after its grace, by this very request or by another.
    first().op(200, 209, refresh(1), refused()).op(210, 219, refresh(2), refused()).holds();
    first().op(200, 209, refresh(1), lost()).op(210, 219, refresh(2), refused()).holds();
    // It may have been done long ago: the answer was lost.
    Made::default().op(0, 9, refresh(1), lost()).op(200, 209, refresh(1), refused()).holds();
    Made::default()
        .op(0, 9, refresh(1), lost())
        .op(50, 59, refresh(1), refused())
        .breaks("nobody can have used");
    // What certainly did nothing explains nothing.
    let unavailable = Outcome::Fail(Refusal::Unavailable);
    first().op(200, 209, refresh(1), unavailable).op(210, 219, refresh(2), refused()).breaks("nobody can");
}

#[test]
fn a_token_that_comes_back_after_its_successor_was_used_ends_the_family_within_the_grace_too() {
    // The first request was on its way for long, and arrived when its token was two generations old.
    let late = || Made::default().op(0, 9, refresh(1), lost()).op(10, 19, refresh(1), next(2));
    late().op(30, 39, refresh(2), next(3)).op(50, 59, refresh(3), refused()).holds();
    // Without the use of the successor it was a retry.
    late().op(50, 59, refresh(2), refused()).breaks("nobody can have used");
}

#[test]
fn a_refusal_is_not_judged_by_a_grace_that_may_be_over_early() {
    let made = |at: u64| {
        let first = Made::default().op(at, at + 9, refresh(1), lost());
        first.op(at + 20, at + 29, refresh(1), refused())
    };
    made(9_990).under(AHEAD).holds();
    made(9_900).under(AHEAD).breaks("nobody can have used");
    assert_eq!(made(9_990).under(AHEAD).looked_at("refused tokens"), 1);
}

#[test]
fn a_code_that_was_issued_before_a_clock_jumped_may_have_ended_when_it_is_presented() {
    let first = |at: u64| Made::default().op(at, at + 9, Call::Redeem { code: 3 }, refused());
    for at in [10_001, 14_000, 24_000] {
        let made = first(at).under(BEHIND);
        made.holds();
        assert_eq!(made.looked_at("refused codes"), 0);
    }
    for at in [9_000, 60_000] {
        first(at).under(AHEAD).breaks("was refused before anybody redeemed it");
    }
    first(26_000).under(BEHIND).breaks("was refused before anybody redeemed it");
    // One redemption is one, whatever the clock is.
    let twice = Made::default().op(11_000, 11_009, Call::Redeem { code: 3 }, ok());
    twice.op(11_010, 11_019, Call::Redeem { code: 3 }, ok()).under(AHEAD).breaks("redeemed 2 times");
}
