//! Checkers: each looks at a history for one promise of `docs/consistency.md`.

mod append;
mod applied;
mod cells;
mod finding;
mod graph;
mod linear;
mod model;
mod reads;
mod refusals;
mod second;
mod sets;
mod skew;
mod tokens;
mod verdict;
mod window;

#[cfg(test)]
mod generated;
#[cfg(test)]
mod hand_made;
#[cfg(test)]
mod hand_made_tokens;

pub use applied::transactions;
pub use finding::{Check, Finding};
pub use linear::{Judgement, Model, judge};
pub use model::Cell;
pub use reads::{Staleness, staleness};
pub use sets::APPLIED;
pub use skew::Skew;
pub use verdict::{Coverage, Verdict, worse};

use crate::history::History;

/// What the system promised in figures, as the tenants of a run have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// `refresh_grace_ms`.
    pub grace_ms: u64,
    /// `token_staleness_ms`.
    pub bound_ms: u64,
}

impl Default for Promises {
    /// As tenants have it when nobody set anything.
    fn default() -> Self {
        Self { grace_ms: 10_000, bound_ms: 5_000 }
    }
}

/// Runs all checkers on a history in which no clock was wrong.
pub fn all(history: &History, promises: Promises) -> Vec<Check> {
    all_under(history, promises, &[])
}

/// Runs all checkers. What counts in the time of logs is judged where `skews` leave something of it.
pub fn all_under(history: &History, promises: Promises, skews: &[Skew]) -> Vec<Check> {
    vec![
        cells::check(history),
        append::check(history),
        applied::as_lists(history),
        second::opinion(history),
        tokens::redeemed_once(history),
        refusals::codes_refused_with_reason(history, skews),
        tokens::one_successor(history),
        tokens::late_reuse(history, promises.grace_ms, skews),
        refusals::tokens_refused_with_reason(history, promises.grace_ms, skews),
        tokens::revoked_stays_revoked(history, promises.bound_ms),
        sets::nothing_lost(history),
        sets::logs_agree(history),
        reads::as_promised(history, promises.bound_ms),
        reads::sessions_go_forward(history),
    ]
}
