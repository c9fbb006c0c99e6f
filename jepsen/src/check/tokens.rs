//! Codes, refresh tokens and revocations.

use std::collections::BTreeMap;

use super::finding::Check;
use super::skew::{self, Skew};
use crate::history::{Call, Class, History, Operation, Outcome, Refusal, Reply};

/// At most one redemption of a code goes well, ever (RFC 6749 §4.1.2).
pub fn redeemed_once(history: &History) -> Check {
    let mut out = Check::named("one redemption a code");
    let code = |operation: &Operation| {
        if let Call::Redeem { code } = operation.call { Some(code) } else { None }
    };
    for (code, tries) in history.by_key(code) {
        out.looked_at += tries.len() as u64;
        let won: Vec<&Operation> = tries.iter().copied().filter(|one| one.is_ok()).collect();
        if won.len() > 1 {
            out.find(format!("code {code} was redeemed {} times", won.len()), &won);
        }
    }
    out
}

/// A refresh token has one successor, and a family that saw a reuse gives nothing any more, for good
/// (RFC 9700 §4.14.2).
pub fn one_successor(history: &History) -> Check {
    let mut out = Check::named("one successor a token");
    for (family, steps) in history.by_key(family_of) {
        out.looked_at += steps.len() as u64;
        successors(&mut out, family, &steps);
        dead_stays_dead(&mut out, family, &steps);
    }
    out
}

/// The family of an exchange.
pub(super) fn family_of(operation: &Operation) -> Option<u64> {
    if let Call::Refresh { family, .. } = operation.call { Some(family) } else { None }
}

fn exchange(operation: &Operation) -> Option<(u64, u64)> {
    let Call::Refresh { token, .. } = operation.call else { return None };
    let Outcome::Ok(Reply::Successor(next)) = operation.outcome else { return None };
    Some((token, next))
}

fn successors(out: &mut Check, family: u64, steps: &[&Operation]) {
    let mut first: BTreeMap<u64, (u64, &Operation)> = BTreeMap::new();
    for step in steps {
        let Some((token, next)) = exchange(step) else { continue };
        let (known, by) = *first.entry(token).or_insert((next, step));
        if known != next {
            let what = format!("token {token} of family {family} has two successors, {known} and {next}");
            out.find(what, &[by, step]);
        }
    }
}

/// A token that gave a successor long ago gives it no more. Long: the first exchange had ended more than
/// `grace_ms`, and what the log's time may have stood still, before the later one began. `looked_at` counts those that
/// were presented so late and answered.
pub fn late_reuse(history: &History, grace_ms: u64, skews: &[Skew]) -> Check {
    let mut out = Check::named("late reuse");
    for (family, steps) in history.by_key(family_of) {
        let mut first: BTreeMap<u64, &Operation> = BTreeMap::new();
        for step in steps {
            let Call::Refresh { token, .. } = step.call else { continue };
            let is_answer = step.is_ok() || step.outcome == Outcome::Fail(Refusal::InvalidGrant);
            let by = first.get(&token).copied();
            let Some(by) = by.filter(|by| is_answer && is_late(by, step, grace_ms, skews)) else {
                if exchange(step).is_some() {
                    first.entry(token).or_insert(step);
                }
                continue;
            };
            out.looked_at += 1;
            if exchange(step).is_some() {
                let what =
                    format!("token {token} of family {family} was taken again {grace_ms} ms after its use");
                out.find(what, &[by, step]);
            }
        }
    }
    out
}

fn is_late(first: &Operation, later: &Operation, grace_ms: u64, skews: &[Skew]) -> bool {
    let still_ns = skew::stood_still_ns(
        skews,
        (first.invoked_ns, first.ended_ns()),
        (later.invoked_ns, later.ended_ns()),
    );
    let end_ns = first.ended_ns().saturating_add(grace_ms.saturating_mul(1_000_000)).saturating_add(still_ns);
    end_ns < later.invoked_ns
}

/// A refused token means that the family ended: by a reuse, a revocation, or its age.
fn dead_stays_dead(out: &mut Check, family: u64, steps: &[&Operation]) {
    let refused = |step: &&&Operation| step.outcome == Outcome::Fail(Refusal::InvalidGrant);
    let Some(dead) = steps.iter().filter(refused).min_by_key(|step| step.ended_ns()) else { return };
    for step in steps.iter().filter(|step| exchange(step).is_some() && dead.precedes(step)) {
        out.find(format!("family {family} gave a token after one of its tokens was refused"), &[dead, step]);
    }
}

/// What was revoked is not active: never at a strong read that began after the answer, and nowhere once
/// `bound_ms` have passed since.
pub fn revoked_stays_revoked(history: &History, bound_ms: u64) -> Check {
    let mut out = Check::named("revocation");
    let token = |operation: &Operation| {
        if let Call::Revoke { token } | Call::Introspect { token } = operation.call {
            Some(token)
        } else {
            None
        }
    };
    for (token, operations) in history.by_key(token) {
        let revoked = |one: &&&Operation| matches!(one.call, Call::Revoke { .. }) && one.is_ok();
        let Some(end) = operations.iter().filter(revoked).min_by_key(|one| one.ended_ns()) else { continue };
        for read in &operations {
            let Outcome::Ok(Reply::Active(active)) = read.outcome else { continue };
            let allowed_ns = match read.class {
                Some(Class::Bounded | Class::Local) => bound_ms * 1_000_000,
                Some(Class::Strong | Class::AtToken) | None => 0,
            };
            if end.ended_ns().saturating_add(allowed_ns) >= read.invoked_ns {
                continue;
            }
            out.looked_at += 1;
            if active {
                let late = (read.invoked_ns - end.ended_ns()) / 1_000_000;
                out.find(
                    format!("token {token} was active {late} ms after its revocation was answered"),
                    &[end, read],
                );
            }
        }
    }
    out
}
