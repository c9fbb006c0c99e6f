//! Codes, refresh tokens and revocations.

use std::collections::BTreeMap;

use super::finding::Check;
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
/// (RFC 9700 §4.14.2). `grace_ms` is how long the token before the current one gives the current one again.
pub fn one_successor(history: &History, grace_ms: u64) -> Check {
    let mut out = Check::named("one successor a token");
    let family = |operation: &Operation| {
        if let Call::Refresh { family, .. } = operation.call { Some(family) } else { None }
    };
    for (family, steps) in history.by_key(family) {
        out.looked_at += steps.len() as u64;
        successors(&mut out, family, &steps);
        late_reuse(&mut out, family, &steps, grace_ms);
        dead_stays_dead(&mut out, family, &steps);
    }
    out
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
/// the grace before the later one began.
fn late_reuse(out: &mut Check, family: u64, steps: &[&Operation], grace_ms: u64) {
    let mut first: BTreeMap<u64, &Operation> = BTreeMap::new();
    for step in steps {
        let Some((token, _)) = exchange(step) else { continue };
        match first.get(&token) {
            Some(by) if by.ended_ns().saturating_add(grace_ms * 1_000_000) < step.invoked_ns => {
                let what =
                    format!("token {token} of family {family} was taken again {grace_ms} ms after its use");
                out.find(what, &[by, step]);
            }
            Some(_) => {}
            None => {
                first.insert(token, step);
            }
        }
    }
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
