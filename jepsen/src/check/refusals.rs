//! Refusals are answers too: one that nothing explains was given by somebody who did not know.

use super::finding::Check;
use super::skew::{self, Skew};
use super::tokens::family_of;
use crate::history::{Call, History, Operation, Outcome, Refusal, Reply};

/// A code is presented for the first time so soon after it was issued, at most: 10 s.
const PRESENTED_NS: u64 = 10_000_000_000;

fn is_refused(operation: &Operation) -> bool {
    operation.outcome == Outcome::Fail(Refusal::InvalidGrant)
}

/// Whether it was done, or may have been.
fn may_be_done(operation: &Operation) -> bool {
    operation.is_ok() || operation.is_unknown()
}

/// A code that is presented soon is refused only if some other redemption of it may have gone before: one
/// that went well or whose end nobody knows, and that began before the refusal was answered. Codes end by the time
/// of the log: where that may have jumped since a code was issued, its refusals say nothing.
pub fn codes_refused_with_reason(history: &History, skews: &[Skew]) -> Check {
    let mut out = Check::named("refused codes");
    let code = |operation: &Operation| {
        if let Call::Redeem { code } = operation.call { Some(code) } else { None }
    };
    for (code, tries) in history.by_key(code) {
        let issued_ns = tries.first().map_or(0, |one| one.invoked_ns.saturating_sub(PRESENTED_NS));
        for refusal in tries.iter().filter(|one| is_refused(one)) {
            if skew::may_have_jumped(skews, issued_ns, refusal.ended_ns()) {
                continue;
            }
            out.looked_at += 1;
            let explains = |one: &&Operation| may_be_done(one) && one.invoked_ns <= refusal.ended_ns();
            if !tries.iter().any(explains) {
                let later = tries.iter().copied().filter(|one| one.is_ok());
                let shown: Vec<&Operation> = later.chain([*refusal]).collect();
                out.find(format!("code {code} was refused before anybody redeemed it"), &shown);
            }
        }
    }
    out
}

/// The first refusal in a family of refresh tokens has a reason: some token of it may have come back after its grace,
/// or after its successor was used (RFC 9700 §4.14.2). Nothing else ends the families that clients exchange here: what
/// is revoked is asked about otherwise.
pub fn tokens_refused_with_reason(history: &History, grace_ms: u64, skews: &[Skew]) -> Check {
    let mut out = Check::named("refused tokens");
    for (family, steps) in history.by_key(family_of) {
        let refusals = steps.iter().copied().filter(|one| is_refused(one));
        let Some(refusal) = refusals.min_by_key(|one| one.ended_ns()) else { continue };
        out.looked_at += 1;
        let one = Family { steps: &steps, refusal, grace_ns: grace_ms.saturating_mul(1_000_000), skews };
        if !one.may_have_seen_reuse() {
            let before =
                steps.iter().copied().filter(|one| one.precedes(refusal)).max_by_key(|one| one.index);
            let later = steps.iter().copied().find(|one| one.is_ok() && refusal.precedes(one));
            let shown: Vec<&Operation> = before.into_iter().chain([refusal]).chain(later).collect();
            out.find(
                format!("family {family} was refused, and nobody can have used a token of it twice"),
                &shown,
            );
        }
    }
    out
}

/// A family of tokens, and the first refusal in it.
struct Family<'a> {
    steps: &'a [&'a Operation],
    refusal: &'a Operation,
    grace_ns: u64,
    skews: &'a [Skew],
}

impl Family<'_> {
    /// By a request that was refused, or whose end nobody knows: it may have been decided just before the refusal.
    fn may_have_seen_reuse(&self) -> bool {
        let begun = self.steps.iter().filter(|one| one.invoked_ns <= self.refusal.ended_ns());
        begun.clone().filter(|one| is_refused(one) || one.is_unknown()).any(|reuse| {
            let uses = begun.clone().filter(|one| one.index != reuse.index && may_be_done(one));
            uses.clone().filter(|one| token(one) == token(reuse)).any(|first| {
                let successor = successor(first);
                self.grace_may_be_over(first)
                    || uses.clone().any(|next| successor.is_some() && token(next) == successor)
            })
        })
    }

    fn grace_may_be_over(&self, first: &Operation) -> bool {
        let now_ns = self.refusal.ended_ns();
        first.invoked_ns.saturating_add(self.grace_ns) < now_ns
            || skew::may_have_jumped(self.skews, first.invoked_ns, now_ns)
    }
}

fn token(operation: &Operation) -> Option<u64> {
    if let Call::Refresh { token, .. } = operation.call { Some(token) } else { None }
}

fn successor(operation: &Operation) -> Option<u64> {
    if let Outcome::Ok(Reply::Successor(next)) = operation.outcome { Some(next) } else { None }
}
