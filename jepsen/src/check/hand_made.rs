//! Each checker on histories made by hand: one that holds, one that does not, one with unknown ends.

use super::*;
use crate::history::{Call, Class, Operation, Outcome, Refusal, Reply, Step};

pub(super) const MS: u64 = 1_000_000;
const PROMISED: Promises = Promises { grace_ms: 100, bound_ms: 50 };

/// Lines of a history: client, class, from, to (ms), what, how it ended; and when clocks were wrong.
#[derive(Default)]
pub(super) struct Made(History, Vec<Skew>);

pub(super) fn ok() -> Outcome {
    Outcome::Ok(Reply::Done)
}

fn value(value: u64) -> Outcome {
    Outcome::Ok(Reply::Value(Some(value)))
}

pub(super) fn lost() -> Outcome {
    Outcome::Info("no answer".to_owned())
}

fn read(key: u64) -> Call {
    Call::Read { key, after: None }
}

fn write(value: u64) -> Call {
    Call::Write { key: 1, value }
}

impl Made {
    /// The same, while clocks were wrong.
    pub(super) fn under(mut self, skew: Skew) -> Self {
        self.1.push(skew);
        self
    }

    pub(super) fn op(self, from: u64, to: u64, call: Call, outcome: Outcome) -> Self {
        let class = call.is_read().then_some(Class::Strong);
        self.of(from, (from, to), class, call, outcome)
    }

    pub(super) fn of(
        mut self,
        process: u64,
        (from, to): (u64, u64),
        class: Option<Class>,
        call: Call,
        outcome: Outcome,
    ) -> Self {
        self.0.operations.push(Operation {
            index: self.0.operations.len() as u64,
            process,
            node: "n1".to_owned(),
            from: 0,
            class,
            call,
            invoked_ns: from * MS,
            completed_ns: (!matches!(outcome, Outcome::Info(_))).then_some(to * MS),
            outcome,
        });
        self
    }

    /// What all checkers say, and the windows they show.
    fn told(&self) -> Vec<String> {
        let findings = self.judged().into_iter().flat_map(|check| check.findings);
        findings.map(|finding| format!("{}: {}", finding.checker, finding.what)).collect()
    }

    fn judged(&self) -> Vec<Check> {
        all_under(&self.0, PROMISED, &self.1)
    }

    /// How much one checker could judge.
    pub(super) fn looked_at(&self, checker: &str) -> u64 {
        self.judged().iter().find(|check| check.name == checker).unwrap().looked_at
    }

    pub(super) fn windows(&self) -> Vec<Vec<u64>> {
        let findings = self.judged().into_iter().flat_map(|check| check.findings);
        findings.map(|finding| finding.window.iter().map(|one| one.index).collect()).collect()
    }

    pub(super) fn holds(&self) {
        assert_eq!(self.told(), Vec::<String>::new());
    }

    pub(super) fn breaks(&self, what: &str) {
        let told = self.told();
        assert!(told.iter().any(|line| line.contains(what)), "{what}: {told:?}");
    }
}

#[test]
fn a_register_whose_reads_follow_its_writes_holds() {
    Made::default()
        .op(0, 10, write(1), ok())
        .op(5, 20, read(1), value(1))
        .op(11, 12, read(1), value(1))
        .op(13, 30, write(2), ok())
        .op(14, 20, read(1), value(2))
        .op(21, 22, read(1), value(2))
        .holds();
}

#[test]
fn a_stale_strong_read_is_found_with_the_two_operations_that_show_it() {
    let made = Made::default()
        .op(0, 1, write(1), ok())
        .op(2, 3, read(1), value(1))
        .op(4, 5, write(2), ok())
        .op(6, 7, write(3), ok())
        .op(8, 9, read(1), value(2))
        .op(10, 11, read(1), value(3));
    made.breaks("register 1 is not linearizable");
    // The second write gives the value, the third replaced it; the rest says nothing.
    assert_eq!(made.windows(), [[2, 3, 4]]);
}

#[test]
fn a_write_without_an_end_may_take_effect_late_or_never() {
    let made = || Made::default().op(0, 1, write(1), ok()).op(2, 3, write(2), lost());
    made().op(4, 5, read(1), value(1)).op(100, 101, read(1), value(2)).holds();
    made().op(4, 5, read(1), value(1)).op(100, 101, read(1), value(1)).holds();
    made().op(4, 5, read(1), value(2)).op(100, 101, read(1), value(1)).breaks("not linearizable");
}

#[test]
fn a_refused_write_never_takes_effect() {
    let refused = Outcome::Fail(Refusal::Unavailable);
    Made::default()
        .op(0, 1, write(1), ok())
        .op(2, 3, write(2), refused)
        .op(4, 5, read(1), value(2))
        .breaks("not linearizable");
}

#[test]
fn a_name_has_one_owner() {
    let claim = |by| Call::Claim { name: 7, by };
    let taken = || Outcome::Fail(Refusal::Taken);
    Made::default().op(0, 9, claim(1), ok()).op(0, 9, claim(2), taken()).holds();
    Made::default().op(0, 9, claim(1), lost()).op(20, 29, claim(2), taken()).holds();
    Made::default().op(0, 9, claim(1), ok()).op(0, 9, claim(2), ok()).breaks("name 7 is not linearizable");
    Made::default().op(0, 9, claim(1), taken()).breaks("name 7");
    let owner = || Call::Owner { name: 7 };
    Made::default().op(0, 9, claim(1), ok()).op(10, 11, owner(), value(2)).breaks("name 7");
    // A list that has it twice is two answers.
    let one =
        || Made::default().op(0, 9, claim(1), ok()).op(0, 9, claim(2), lost()).op(10, 11, owner(), value(1));
    one().op(10, 12, owner(), value(1)).holds();
    one().op(10, 12, owner(), value(2)).breaks("name 7");
}

#[test]
fn rfc6749_s4_1_2_a_code_is_redeemed_once() {
    let redeem = || Call::Redeem { code: 3 };
    let refused = || Outcome::Fail(Refusal::InvalidGrant);
    Made::default().op(0, 9, redeem(), ok()).op(1, 9, redeem(), refused()).op(2, 9, redeem(), lost()).holds();
    let made =
        Made::default().op(0, 9, redeem(), ok()).op(1, 9, redeem(), refused()).op(2, 9, redeem(), ok());
    made.breaks("redeemed 2 times");
    assert_eq!(made.windows(), [[0, 2]]);
}

#[test]
fn rfc9700_s4_14_2_a_token_has_one_successor_and_a_dead_family_stays_dead() {
    let refresh = |token| Call::Refresh { family: 4, token };
    let next = |token| Outcome::Ok(Reply::Successor(token));
    let refused = || Outcome::Fail(Refusal::InvalidGrant);
    Made::default()
        .op(0, 9, refresh(1), next(2))
        .op(20, 29, refresh(1), next(2))
        .op(30, 39, refresh(2), lost())
        .op(40, 49, refresh(2), next(3))
        .op(500, 509, refresh(1), refused())
        .op(510, 519, refresh(3), refused())
        .holds();
    Made::default().op(0, 9, refresh(1), next(2)).op(5, 9, refresh(1), next(3)).breaks("two successors");
    Made::default().op(0, 9, refresh(1), next(2)).op(200, 209, refresh(1), next(2)).breaks("was taken again");
    Made::default()
        .op(0, 9, refresh(1), next(2))
        .op(500, 509, refresh(1), refused())
        .op(510, 519, refresh(2), next(3))
        .breaks("gave a token after");
}

#[test]
fn rfc7009_s2_2_what_was_revoked_is_inactive_at_once_or_within_the_bound() {
    let ask = || Call::Introspect { token: 5 };
    let active = |active| Outcome::Ok(Reply::Active(active));
    let revoked = || Made::default().op(0, 10, Call::Revoke { token: 5 }, ok());
    revoked().op(5, 20, ask(), active(true)).op(11, 12, ask(), active(false)).holds();
    revoked().op(11, 12, ask(), active(true)).breaks("was active");
    revoked().of(9, (40, 41), Some(Class::Bounded), ask(), active(true)).holds();
    revoked().of(9, (61, 62), Some(Class::Bounded), ask(), active(true)).breaks("was active 51 ms after");
    let unknown = Made::default().op(0, 10, Call::Revoke { token: 5 }, lost());
    unknown.op(11, 12, ask(), active(true)).op(20, 21, ask(), active(false)).holds();
}

#[test]
fn a_set_loses_nothing_and_has_nothing_twice() {
    let add = |element| Call::Add { set: 6, element };
    let all = || Call::Members { set: 6 };
    let members = |list: &[u64]| Outcome::Ok(Reply::Members(list.to_vec()));
    let two = || Made::default().op(0, 1, add(1), ok()).op(2, 3, add(2), lost());
    two().op(5, 6, all(), members(&[1])).op(7, 8, all(), members(&[2, 1])).holds();
    two().op(5, 6, all(), members(&[2])).breaks("lost element 1");
    two().op(5, 6, all(), members(&[1, 2, 2])).breaks("element 2 is twice");
    two().op(5, 6, all(), members(&[1, 3])).breaks("nobody added");
    let refused = two().op(4, 5, add(9), Outcome::Fail(Refusal::Unavailable));
    refused.op(6, 7, all(), members(&[1, 9])).breaks("refused");
}

#[test]
fn a_write_that_was_sent_twice_is_applied_once() {
    let applied = |list: &[u64]| Outcome::Ok(Reply::Members(list.to_vec()));
    let one = || Made::default().op(0, 1, write(1), ok()).op(2, 3, write(2), lost());
    one().op(4, 5, Call::Members { set: APPLIED }, applied(&[1])).holds();
    one().op(4, 5, Call::Members { set: APPLIED }, applied(&[1, 2, 1])).breaks("element 1 is twice");
    one().op(4, 5, Call::Members { set: APPLIED }, applied(&[2])).breaks("lost element 1");
}

#[test]
fn logs_are_dense_and_agree() {
    let log = || Call::Log { log: 8 };
    let entries = |list: &[(u64, u64)]| Outcome::Ok(Reply::Entries(list.to_vec()));
    let one = || Made::default().op(0, 1, log(), entries(&[(1, 10), (2, 11)]));
    one().op(2, 3, log(), entries(&[(1, 10), (2, 11), (3, 12)])).holds();
    one().op(2, 3, log(), entries(&[(1, 10), (3, 12)])).breaks("gap");
    one().op(2, 3, log(), entries(&[(1, 10), (2, 99)])).breaks("differs");
    one().op(2, 3, log(), entries(&[(1, 10)])).breaks("shorter");
}

#[test]
fn a_read_with_a_token_sees_the_write_that_gave_it() {
    let at = |after| Call::Read { key: 1, after: Some(after) };
    let class = Some(Class::AtToken);
    let two = || Made::default().op(0, 1, write(1), ok()).op(2, 3, write(2), ok());
    two().of(9, (4, 5), class, at(0), value(1)).of(8, (4, 5), class, at(1), value(2)).holds();
    two().of(9, (4, 5), class, at(1), value(1)).breaks("not honoured");
    two().of(9, (4, 5), class, at(1), Outcome::Ok(Reply::Value(None))).breaks("not honoured");
}

#[test]
fn a_bounded_read_is_as_fresh_as_its_bound_and_a_strong_session_never_goes_back() {
    let class = Some(Class::Bounded);
    let two = || Made::default().op(0, 1, write(1), ok()).op(2, 3, write(2), ok());
    let made = two().of(9, (40, 41), class, read(1), value(1));
    made.holds();
    assert_eq!(staleness(&made.0).bounded_ms, [37]);
    two().of(9, (60, 61), class, read(1), value(1)).breaks("staler than 50 ms");
    let back =
        |class| two().of(9, (10, 11), class, read(1), value(2)).of(9, (20, 21), class, read(1), value(1));
    back(Some(Class::Strong)).breaks("go back");
    back(class).holds();
    assert_eq!((staleness(&back(class).0).sessions, staleness(&back(class).0).went_back), (1, 1));
    two().of(9, (10, 11), class, read(1), value(2)).of(8, (20, 21), class, read(1), value(1)).holds();
    two().of(9, (10, 11), Some(Class::Local), read(1), value(77)).breaks("nobody wrote");
}

fn txn(asked: Vec<Step>) -> Call {
    Call::Txn(asked)
}

fn append(key: u64, value: u64) -> Step {
    Step::Append(key, value)
}

fn saw(key: u64, values: &[u64]) -> Step {
    Step::Read(key, Some(values.to_vec()))
}

impl Made {
    fn txn(self, from: u64, to: u64, steps: &[Step]) -> Self {
        self.op(from, to, txn(steps.to_vec()), Outcome::Ok(Reply::Txn(steps.to_vec())))
    }
}

impl Made {
    fn breaks_for_both(&self, what: &str) {
        self.breaks(what);
        self.breaks("(adya): G");
    }
}

#[test]
fn lists_in_one_order_hold() {
    Made::default()
        .txn(0, 9, &[append(1, 1), append(2, 1)])
        .txn(0, 20, &[saw(1, &[]), append(1, 2), saw(1, &[2])])
        .txn(30, 40, &[saw(1, &[1, 2])])
        .breaks("prefixes");
    Made::default()
        .txn(0, 9, &[append(1, 1), append(2, 5)])
        .txn(0, 20, &[saw(1, &[1]), append(1, 2), saw(1, &[1, 2]), saw(2, &[5])])
        .txn(21, 30, &[saw(1, &[1, 2])])
        .holds();
}

#[test]
fn cycles_of_transactions_are_named_as_adya_does_and_the_crate_adya_finds_them_too() {
    // Each overwrites the other.
    Made::default()
        .txn(0, 20, &[append(1, 1), append(2, 1)])
        .txn(0, 20, &[append(1, 2), append(2, 2)])
        .txn(30, 40, &[saw(1, &[1, 2]), saw(2, &[2, 1])])
        .breaks_for_both("G0:");
    // Each reads what the other wrote.
    Made::default()
        .txn(0, 20, &[append(1, 1), saw(2, &[1])])
        .txn(0, 20, &[append(2, 1), saw(1, &[1])])
        .breaks_for_both("G1c:");
    // Reads one list before and the other after.
    Made::default()
        .txn(0, 20, &[append(1, 1), append(2, 1)])
        .txn(0, 20, &[saw(1, &[]), saw(2, &[1])])
        .txn(30, 40, &[saw(1, &[1])])
        .breaks_for_both("G-single");
    // Write skew.
    Made::default()
        .txn(0, 20, &[saw(1, &[]), append(2, 1)])
        .txn(0, 20, &[saw(2, &[]), append(1, 1)])
        .txn(30, 40, &[saw(1, &[1]), saw(2, &[1])])
        .breaks_for_both("G2:");
    // A read that began after an append was acknowledged does not see it.
    Made::default().txn(0, 1, &[append(1, 1)]).txn(2, 3, &[saw(1, &[])]).breaks_for_both("G-single-realtime");
}

#[test]
fn reads_of_what_failed_or_was_half_done_are_found() {
    Made::default()
        .op(0, 1, txn(vec![append(1, 1)]), Outcome::Fail(Refusal::Unavailable))
        .txn(2, 3, &[saw(1, &[1])])
        .breaks("G1a");
    Made::default().txn(0, 9, &[append(1, 1), append(1, 2)]).txn(0, 9, &[saw(1, &[1])]).breaks("G1b");
    Made::default().txn(0, 9, &[saw(1, &[4])]).breaks("nobody appended");
    Made::default().op(0, 1, txn(vec![append(1, 1)]), lost()).txn(2, 3, &[saw(1, &[1])]).holds();
}

#[test]
fn nothing_to_judge_is_no_pass() {
    let nothing = all(&History::default(), Promises::default());
    assert_eq!(Verdict::of(&nothing, &Coverage::default()), Verdict::Unknown);
    let one = all(&Made::default().op(0, 1, write(1), ok()).0, Promises::default());
    assert_eq!(Verdict::of(&one, &Coverage::default()), Verdict::Valid);
    let missing = Coverage { missing: vec!["no leader changed".to_owned()] };
    assert_eq!(Verdict::of(&one, &missing), Verdict::Unknown);
    let broken = all(&Made::default().op(0, 1, read(1), value(1)).0, Promises::default());
    assert_eq!(Verdict::of(&broken, &missing), Verdict::Violation);
}

#[test]
fn a_code_is_refused_only_when_somebody_may_have_redeemed_it() {
    let redeem = |made: Made, from, to, outcome| made.op(from, to, Call::Redeem { code: 1 }, outcome);
    let refused = || Outcome::Fail(Refusal::InvalidGrant);
    let first = redeem(Made::default(), 0, 10, refused());
    first.breaks("was refused before anybody redeemed it");
    redeem(first, 20, 30, ok()).breaks("was refused before anybody redeemed it");
    redeem(redeem(Made::default(), 0, 10, refused()), 5, 30, ok()).holds();
    redeem(redeem(Made::default(), 0, 10, lost()), 20, 30, refused()).holds();
}

#[test]
fn readings_of_the_log_that_no_order_explains_are_a_cycle() {
    let write = |made: Made, at, key, value| made.op(at, at + 1, Call::Write { key, value }, ok());
    let log = |made: Made, at, seen: &[u64]| {
        let reply = Outcome::Ok(Reply::Members(seen.to_vec()));
        made.op(at, at + 1, Call::Members { set: APPLIED }, reply)
    };
    let both = || write(write(Made::default(), 0, 1, 11), 10, 2, 21);
    log(log(both(), 20, &[11, 21]), 30, &[11, 21]).holds();
    // The later write is there and the earlier is not.
    log(both(), 20, &[21]).breaks("log as lists: G");
}
