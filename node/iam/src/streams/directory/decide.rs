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

/// Routes the tenant from here on; pins its root key. `None` if it is routed already.
///
/// # Errors
/// [`TenantRefusal::ReservationExpired`].
pub fn decide_activate(
    entry: &DirectoryTenant,
    root_public_key: [u8; 32],
    signed: SignedEntry,
    now: Timestamp,
) -> Result<Option<DirectoryTenantEvent>, TenantRefusal> {
    match entry.phase {
        EntryPhase::Reserved { expires_at } if now < expires_at => {
            let activated = DirectoryTenantActivated { root_public_key, signed };
            Ok(Some(DirectoryTenantEvent::Activated(activated)))
        }
        EntryPhase::Reserved { .. } | EntryPhase::Released => Err(TenantRefusal::ReservationExpired),
        EntryPhase::Active { .. } => Ok(None),
    }
}

/// A newer entry; `None` if the tenant is not routed or has this one.
pub fn decide_entry_change(entry: &DirectoryTenant, signed: SignedEntry) -> Option<DirectoryTenantEvent> {
    match &entry.phase {
        EntryPhase::Active { signed: before, .. } => Change::between(before.clone(), signed)
            .map(|signed| DirectoryTenantEvent::EntryChanged(DirectoryTenantEntryChanged { signed })),
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

    #[test]
    fn a_reservation_is_either_activated_or_runs_out_never_both() {
        for now in [0, 99] {
            assert!(matches!(decide_activate(&reserved(), [1; 32], signed(), Timestamp(now)), Ok(Some(_))));
            assert_eq!(decide_expire(&reserved(), Timestamp(now)), None);
        }
        for now in [100, 101] {
            let late = decide_activate(&reserved(), [1; 32], signed(), Timestamp(now));
            assert_eq!(late, Err(TenantRefusal::ReservationExpired));
            assert!(decide_expire(&reserved(), Timestamp(now)).is_some());
        }
    }

    #[test]
    fn an_active_tenant_never_runs_out_and_is_activated_once() {
        let active = entry(EntryPhase::Active { root_public_key: [1; 32], signed: signed() });
        assert_eq!(decide_expire(&active, Timestamp(u64::MAX)), None);
        assert_eq!(decide_activate(&active, [1; 32], signed(), Timestamp(0)), Ok(None));
        assert_eq!(decide_entry_change(&active, signed()), None);
    }
}
