//! Times in which wall clocks were wrong, and what is left of promises that count in the time of logs.
//!
//! Codes and refresh tokens end by the time of the log: a leader's wall clock, which never goes back. After a clock
//! that was ahead it stands still until the true time has come there; while one is behind it may stand still too.
//! What was true before a clock went wrong, and after all came right, is judged as ever.

/// From when a clock went wrong until it was set right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// In ns since the run began.
    pub from_ns: u64,
    /// The same; `u64::MAX` if it was never set right.
    pub until_ns: u64,
    /// How far it was ahead at most, in ms; 0 for one that was behind, or slow.
    pub ahead_ms: u64,
}

impl Skew {
    /// Whether the clock may have been ahead, or the log's time have stood still after it, at any moment of these.
    fn delays(&self, from_ns: u64, until_ns: u64) -> bool {
        // It stands still until the true time has come to where the clock was.
        let over_ns = self.until_ns.saturating_add(self.ahead_ms.saturating_mul(1_000_000));
        self.ahead_ms > 0 && self.from_ns <= until_ns && from_ns <= over_ns
    }

    /// For how much of this time the clock was wrong, in ns.
    fn within_ns(&self, from_ns: u64, until_ns: u64) -> u64 {
        self.until_ns.min(until_ns).saturating_sub(self.from_ns.max(from_ns))
    }
}

/// Whether more time may have passed in the log than in truth, between the first of these moments and the last: when a
/// clock goes ahead, and when one that was behind is set right.
pub(super) fn may_have_jumped(skews: &[Skew], from_ns: u64, until_ns: u64) -> bool {
    skews.iter().any(|skew| skew.from_ns <= until_ns && from_ns <= skew.until_ns)
}

/// How much less time may have passed in the log than in truth, in ns: between a moment of `first` and one of
/// `later`, each given by when it began and ended.
pub(super) fn stood_still_ns(skews: &[Skew], first: (u64, u64), later: (u64, u64)) -> u64 {
    let ahead = skews.iter().filter(|skew| skew.delays(first.0, first.1));
    let ahead_ms = ahead.map(|skew| skew.ahead_ms).max().unwrap_or(0);
    let behind = skews.iter().filter(|skew| skew.ahead_ms == 0);
    let behind_ns = behind.fold(0, |sum: u64, skew| sum.saturating_add(skew.within_ns(first.0, later.1)));
    ahead_ms.saturating_mul(1_000_000).saturating_add(behind_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const AHEAD: Skew = Skew { from_ns: 10 * S, until_ns: 15 * S, ahead_ms: 90_000 };
    const BEHIND: Skew = Skew { from_ns: 10 * S, until_ns: 15 * S, ahead_ms: 0 };

    #[test]
    fn after_a_clock_that_was_ahead_the_log_stands_still_until_the_truth_is_there() {
        let still =
            |at: u64| stood_still_ns(&[AHEAD], (at * S, at * S + 1), ((at + 4) * S, (at + 4) * S + 1));
        assert_eq!((still(9), still(12), still(104), still(106)), (0, 90 * S, 90 * S, 0));
    }

    #[test]
    fn the_log_jumps_only_while_a_clock_is_wrong_and_when_it_is_set_right() {
        let jumped = |from: u64, to: u64| may_have_jumped(&[AHEAD], from * S, to * S);
        assert!(jumped(1, 11) && jumped(14, 20) && !jumped(1, 9) && !jumped(16, 100));
    }

    #[test]
    fn while_a_clock_is_behind_the_log_may_stand_still() {
        let still = |from: u64, to: u64| stood_still_ns(&[BEHIND], (from * S, from * S), (to * S, to * S));
        assert_eq!((still(1, 9), still(8, 12), still(9, 40), still(16, 20)), (0, 2 * S, 5 * S, 0));
        let never_right = Skew { until_ns: u64::MAX, ..BEHIND };
        assert_eq!(stood_still_ns(&[never_right], (12 * S, 12 * S), (20 * S, 20 * S)), 8 * S);
    }
}
