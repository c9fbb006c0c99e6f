//! The directory's part in creating, changing and deleting a tenant.

use domicile_raft::{PartitionId, Timestamp};

use super::event::{
    DirectoryTenantActivated, DirectoryTenantEntryChanged, DirectoryTenantEvent, DirectoryTenantReleased,
    DirectoryTenantReserved, ReleaseReason, SignedEntry,
};
use super::state::{DirectoryTenant, EntryPhase};
use crate::commands::TenantRefusal;
use crate::streams::event_set::Change;
use crate::streams::tenant::check_slug;

/// Takes a name for `tenant` until `expires_at`.
///
/// # Errors
/// [`TenantRefusal::InvalidSlug`]; whether it is free is the claim's to say.
pub fn decide_reserve(
    slug: &str,
    home: PartitionId,
    expires_at: Timestamp,
) -> Result<DirectoryTenantEvent, TenantRefusal> {
    check_slug(slug)?;
    Ok(DirectoryTenantEvent::Reserved(DirectoryTenantReserved { slug: slug.to_owned(), home, expires_at }))
}

/// Routes the tenant from here on; pins its root key. `None` if it is routed already, by this key.
///
/// # Errors
/// [`TenantRefusal::ReservationExpired`]; [`TenantRefusal::NotFound`] for another key than the pinned.
pub fn decide_activate(
    entry: &DirectoryTenant,
    activated: DirectoryTenantActivated,
    now: Timestamp,
) -> Result<Option<DirectoryTenantEvent>, TenantRefusal> {
    match &entry.phase {
        EntryPhase::Reserved { expires_at } if now < *expires_at => {
            Ok(Some(DirectoryTenantEvent::Activated(activated)))
        }
        EntryPhase::Reserved { .. } | EntryPhase::Released => Err(TenantRefusal::ReservationExpired),
        EntryPhase::Active { root_public_key, .. } if *root_public_key == activated.root_public_key => {
            Ok(None)
        }
        EntryPhase::Active { .. } => Err(TenantRefusal::NotFound),
    }
}

/// A newer entry; `None` if the tenant is not routed or has this one.
pub fn decide_entry_change(
    entry: &DirectoryTenant,
    signed: SignedEntry,
    issuer: &str,
) -> Option<DirectoryTenantEvent> {
    match &entry.phase {
        EntryPhase::Active { signed: before, .. } => Change::between(before.clone(), signed).map(|signed| {
            let issuer = Some(issuer.to_owned());
            DirectoryTenantEvent::EntryChanged(DirectoryTenantEntryChanged { signed, issuer })
        }),
        EntryPhase::Reserved { .. } | EntryPhase::Released => None,
    }
}

/// Gives an unfinished reservation back; `None` if it has not run out.
pub fn decide_expire(entry: &DirectoryTenant, now: Timestamp) -> Option<DirectoryTenantEvent> {
    match entry.phase {
        EntryPhase::Reserved { expires_at } if now >= expires_at => {
            Some(DirectoryTenantEvent::Released(DirectoryTenantReleased { reason: ReleaseReason::Expired }))
        }
        EntryPhase::Reserved { .. } | EntryPhase::Active { .. } | EntryPhase::Released => None,
    }
}

/// Gives the name of a deleted tenant back; `None` if that happened before.
pub fn decide_release(entry: &DirectoryTenant) -> Option<DirectoryTenantEvent> {
    match entry.phase {
        EntryPhase::Active { .. } | EntryPhase::Reserved { .. } => {
            Some(DirectoryTenantEvent::Released(DirectoryTenantReleased { reason: ReleaseReason::Deleted }))
        }
        EntryPhase::Released => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(phase: EntryPhase) -> DirectoryTenant {
        DirectoryTenant { slug: "acme".to_owned(), home: PartitionId(1), phase, created_at: Timestamp(0) }
    }

    fn reserved() -> DirectoryTenant {
        entry(EntryPhase::Reserved { expires_at: Timestamp(100) })
    }

    fn signed() -> SignedEntry {
        SignedEntry { entry: vec![1], signature: vec![2] }
    }

    fn activated(key: u8) -> DirectoryTenantActivated {
        DirectoryTenantActivated { root_public_key: [key; 32], signed: signed(), issuer: None }
    }

    #[test]
    fn a_reservation_is_either_activated_or_runs_out_never_both() {
        for now in [0, 99] {
            assert!(matches!(decide_activate(&reserved(), activated(1), Timestamp(now)), Ok(Some(_))));
            assert_eq!(decide_expire(&reserved(), Timestamp(now)), None);
        }
        for now in [100, 101] {
            let late = decide_activate(&reserved(), activated(1), Timestamp(now));
            assert_eq!(late, Err(TenantRefusal::ReservationExpired));
            assert!(decide_expire(&reserved(), Timestamp(now)).is_some());
        }
    }

    #[test]
    fn an_active_tenant_never_runs_out_and_is_activated_once() {
        let phase = EntryPhase::Active { root_public_key: [1; 32], signed: signed(), issuer: None };
        let active = entry(phase);
        assert_eq!(decide_expire(&active, Timestamp(u64::MAX)), None);
        assert_eq!(decide_activate(&active, activated(1), Timestamp(0)), Ok(None));
        assert_eq!(decide_activate(&active, activated(2), Timestamp(0)), Err(TenantRefusal::NotFound));
        assert_eq!(decide_entry_change(&active, signed(), "https://id.example"), None);
    }
}
