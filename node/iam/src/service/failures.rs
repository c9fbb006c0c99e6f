//! Wrong passwords, counted on this node only and never stored. They are counted by the name that was
//! typed, under a hash, whether it is anybody's or not: a lock tells neither who exists nor which
//! names are one person's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ids::TenantId;

/// Names counted at once for one tenant; over that those that are not locked begin anew.
const NAMES_MAX: usize = 8_192;
/// Lock-outs are replicated at most so often per account.
const REPLICATE_EVERY: Duration = Duration::from_mins(1);

/// A name that was typed, hashed.
pub(super) type Account = [u8; 32];

/// Counts by tenant and name, so that no tenant's logins touch another's.
#[derive(Default)]
pub(super) struct Failures {
    tenants: Mutex<HashMap<TenantId, HashMap<Account, Count>>>,
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
    pub(super) fn locked_for(&self, tenant: TenantId, account: &Account, now: Duration) -> Option<Duration> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let until = tenants.get(&tenant)?.get(account)?.locked_until?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Counts a wrong password.
    pub(super) fn wrong(
        &self,
        tenant: TenantId,
        account: Account,
        now: Duration,
        attempts_max: u32,
        lock_for: Duration,
    ) -> Consequence {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let accounts = tenants.entry(tenant).or_default();
        if accounts.len() >= NAMES_MAX && !accounts.contains_key(&account) {
            accounts.retain(|_, count| count.locked_until.is_some_and(|until| until > now));
            if accounts.len() >= NAMES_MAX {
                accounts.clear();
            }
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

    /// Forgets a name's failures after a right password or a new one.
    pub(super) fn forget(&self, tenant: TenantId, account: &Account) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = tenants.get_mut(&tenant).and_then(|accounts| accounts.get_mut(account)) {
            count.wrong = 0;
            count.locked_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;

    fn tenant(byte: u8) -> TenantId {
        TenantId::from_bytes([byte; 16])
    }

    #[test]
    fn a_lock_out_is_replicated_at_most_once_a_minute() {
        let failures = Failures::default();
        let wrong =
            |at| failures.wrong(tenant(1), [1; 32], Duration::from_secs(at), 2, Duration::from_secs(1));
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
        let wrong = || failures.wrong(tenant(1), [1; 32], Duration::ZERO, 2, Duration::from_secs(1));
        assert_eq!(wrong(), Consequence::Counted);
        failures.forget(tenant(1), &[1; 32]);
        assert_eq!(wrong(), Consequence::Counted);
    }

    #[test]
    fn a_flood_of_names_forgets_neither_another_tenant_nor_a_lock() {
        let failures = Failures::default();
        let (now, second) = (Duration::ZERO, Duration::from_secs(1));
        assert_eq!(failures.wrong(tenant(1), [1; 32], now, 2, second), Consequence::Counted);
        let locked = failures.wrong(tenant(2), [1; 32], now, 1, second);
        assert_eq!(locked, Consequence::Locked { replicate: true });
        for name in 0..=NAMES_MAX {
            let mut account = [0; 32];
            account.iter_mut().zip(name.to_be_bytes()).for_each(|(to, from)| *to = from);
            failures.wrong(tenant(2), account, now, 2, second);
        }
        assert!(failures.locked_for(tenant(2), &[1; 32], now).is_some());
        let second_try = failures.wrong(tenant(1), [1; 32], now, 2, second);
        assert_eq!(second_try, Consequence::Locked { replicate: true });
    }
}
