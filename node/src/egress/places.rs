//! Who may have how many requests under way: each purpose has places of its own, and each tenant a share of them, so
//! that addresses that hang take no more than that from those who named them, and from nobody else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use domicile_iam::ids::TenantId;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Keys of clients and of issuers. Token requests wait for them.
    KeySet,
    /// The list of a sector's redirect URIs. Registrations wait for it.
    Sector,
    /// A picture for a page.
    Logo,
    /// A client is told of a logout.
    Logout,
}

impl Purpose {
    /// Requests at a time, and those of one tenant among them.
    fn share(self) -> (usize, usize) {
        match self {
            Self::KeySet | Self::Logout => (64, 16),
            Self::Logo => (32, 8),
            Self::Sector => (16, 4),
        }
    }
}

/// On whose behalf a request is made, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errand {
    /// The tenant whose people or clients named the address.
    pub tenant: TenantId,
    /// What for.
    pub purpose: Purpose,
}

impl Errand {
    /// For `tenant`.
    #[must_use]
    pub fn new(tenant: TenantId, purpose: Purpose) -> Self {
        Self { tenant, purpose }
    }
}

/// The places of a node.
#[derive(Default)]
pub(super) struct Places {
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    in_all: HashMap<Purpose, usize>,
    /// Only of tenants that have one.
    of_tenant: HashMap<Errand, usize>,
}

impl Places {
    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place until it is dropped; `None` if there is none.
    pub(super) fn take(&self, errand: Errand) -> Option<Place<'_>> {
        let (most, share) = errand.purpose.share();
        let mut taken = self.taken();
        let in_all = taken.in_all.get(&errand.purpose).copied().unwrap_or_default();
        let of_tenant = taken.of_tenant.get(&errand).copied().unwrap_or_default();
        if in_all >= most || of_tenant >= share {
            return None;
        }
        taken.in_all.insert(errand.purpose, in_all + 1);
        taken.of_tenant.insert(errand, of_tenant + 1);
        drop(taken);
        Some(Place { places: self, errand })
    }
}

/// One that was taken.
pub(super) struct Place<'a> {
    places: &'a Places,
    errand: Errand,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(in_all) = taken.in_all.get_mut(&self.errand.purpose) {
            *in_all = in_all.saturating_sub(1);
        }
        let left = taken.of_tenant.get(&self.errand).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            taken.of_tenant.remove(&self.errand);
        } else {
            taken.of_tenant.insert(self.errand, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use domicile_iam::ids::Id as _;

    use super::*;

    fn errand(tenant: u8, purpose: Purpose) -> Errand {
        Errand::new(TenantId::from_bytes([tenant; 16]), purpose)
    }

    #[test]
    fn a_tenant_whose_addresses_hang_takes_its_share_and_no_other_purpose_waits_for_it() {
        for purpose in [Purpose::KeySet, Purpose::Sector, Purpose::Logo, Purpose::Logout] {
            let places = Places::default();
            let (most, share) = purpose.share();
            let held: Vec<Place<'_>> = std::iter::from_fn(|| places.take(errand(1, purpose))).collect();
            assert_eq!(held.len(), share, "{purpose:?}");
            for other in [Purpose::KeySet, Purpose::Sector, Purpose::Logo, Purpose::Logout] {
                let free = places.take(errand(1, other)).is_some();
                assert_eq!(free, other != purpose, "{other:?} beside {purpose:?}");
            }
            assert!(places.take(errand(2, purpose)).is_some(), "{purpose:?}: another tenant goes on");
            let others: Vec<Place<'_>> =
                (2..u8::MAX).map_while(|tenant| places.take(errand(tenant, purpose))).collect();
            assert_eq!(held.len() + others.len(), most, "{purpose:?}");
        }
    }

    #[test]
    fn places_are_given_back_and_nothing_is_kept_of_who_had_them() {
        let places = Places::default();
        let errand = errand(1, Purpose::Logo);
        let (_, share) = errand.purpose.share();
        for _ in 0..2 {
            let held: Vec<Place<'_>> = std::iter::from_fn(|| places.take(errand)).collect();
            assert_eq!(held.len(), share);
        }
        assert!(places.taken().of_tenant.is_empty());
        assert_eq!(places.taken().in_all[&Purpose::Logo], 0);
    }
}
