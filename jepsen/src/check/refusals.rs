//! Refusals are answers too: one that nothing explains was given by somebody who did not know.

use super::finding::Check;
use crate::history::{Call, History, Operation, Outcome, Refusal};

/// A code that is presented soon is refused only if some other redemption of it may have gone before: one
/// that went well or whose end nobody knows, and that began before the refusal was answered.
pub fn codes_refused_with_reason(history: &History) -> Check {
    let mut out = Check::named("refused codes");
    let code = |operation: &Operation| {
        if let Call::Redeem { code } = operation.call { Some(code) } else { None }
    };
    for (code, tries) in history.by_key(code) {
        let refused = |one: &&&Operation| one.outcome == Outcome::Fail(Refusal::InvalidGrant);
        for refusal in tries.iter().filter(refused) {
            out.looked_at += 1;
            let explains =
                |one: &&Operation| (one.is_ok() || one.is_unknown()) && one.invoked_ns <= refusal.ended_ns();
            if !tries.iter().any(explains) {
                let later = tries.iter().copied().filter(|one| one.is_ok());
                let shown: Vec<&Operation> = later.chain([*refusal]).collect();
                out.find(format!("code {code} was refused before anybody redeemed it"), &shown);
            }
        }
    }
    out
}
