//! Wrong passwords, counted on this node only and never stored. Names that matched nobody are counted
//! alike, under a hash, so that a lock does not tell who exists.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Accounts counted at once; over that the count begins anew.
const ACCOUNTS_MAX: usize = 65_536;
/// Lock-outs are replicated at most so often per account.
const REPLICATE_EVERY: Duration = Duration::from_mins(1);

/// Counts by account.
#[derive(Default)]
pub(super) struct Failures {
    accounts: Mutex<HashMap<[u8; 32], Count>>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    wrong: u32,
    locked_until: Option<Duration>,
    replicated_at: Option<Duration>,
}

/// What a wrong password leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing yet.
    Counted,
    /// The account is locked on this node from now on; `replicate` says whether to tell the others.
    Locked {
        /// Not if it was done within the last minute.
        replicate: bool,
    },
}

impl Failures {
    /// How long the account is still locked on this node. Times are of the monotonic clock.
    pub(super) fn locked_for(&self, account: &[u8; 32], now: Duration) -> Option<Duration> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let until = accounts.get(account)?.locked_until?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Counts a wrong password.
    pub(super) fn wrong(
        &self,
        account: [u8; 32],
        now: Duration,
        attempts_max: u32,
        lock_for: Duration,
    ) -> Consequence {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(&account) {
            accounts.clear();
        }
        let count = accounts.entry(account).or_default();
        count.wrong += 1;
        if count.wrong < attempts_max {
            return Consequence::Counted;
        }
        count.wrong = 0;
        count.locked_until = Some(now + lock_for);
        let replicate = count.replicated_at.is_none_or(|at| now.saturating_sub(at) >= REPLICATE_EVERY);
        if replicate {
            count.replicated_at = Some(now);
        }
        Consequence::Locked { replicate }
    }

    /// Forgets an account after a right password.
    pub(super) fn right(&self, account: &[u8; 32]) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = accounts.get_mut(account) {
            count.wrong = 0;
            count.locked_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_out_is_replicated_at_most_once_a_minute() {
        let failures = Failures::default();
        let wrong = |at| failures.wrong([1; 32], Duration::from_secs(at), 2, Duration::from_secs(1));
        assert_eq!(wrong(0), Consequence::Counted);
        assert_eq!(wrong(0), Consequence::Locked { replicate: true });
        assert_eq!(wrong(5), Consequence::Counted);
        assert_eq!(wrong(5), Consequence::Locked { replicate: false });
        assert_eq!(wrong(60), Consequence::Counted);
        assert_eq!(wrong(60), Consequence::Locked { replicate: true });
    }

    #[test]
    fn a_right_password_forgets_the_wrong_ones() {
        let failures = Failures::default();
        let wrong = || failures.wrong([1; 32], Duration::ZERO, 2, Duration::from_secs(1));
        assert_eq!(wrong(), Consequence::Counted);
        failures.right(&[1; 32]);
        assert_eq!(wrong(), Consequence::Counted);
    }
}
