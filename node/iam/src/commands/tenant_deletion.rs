//! Which tenant is meant, settled before anything of it is destroyed.

use domicile_raft::PartitionId;
use serde::{Deserialize, Serialize};

use super::{SYSTEM_SLUG, TenantRefusal};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, Reads};
use crate::ids::{Id, TenantId};
use crate::proposal::ClaimKind;
use crate::streams::StreamKind;
use crate::streams::directory::{DirectoryTenant, EntryPhase};
use crate::streams::tenant::check_slug;

/// The tenant that is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionChoice {
    /// Which.
    pub tenant: TenantId,
    /// Where it lives.
    pub home: PartitionId,
}

/// The first step of a deletion, on the directory: who has the name. Nothing is written but the outcome, which
/// is kept under the caller's idempotency key, so that a repeat means the same tenant, also once the name was
/// given to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChooseDeletion {
    /// Its name in paths.
    pub slug: String,
}

impl Command for ChooseDeletion {
    type Reply = DeletionChoice;
    type Refusal = TenantRefusal;
    const NAME: &'static str = "directory.tenant.choose_deletion";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        _fresh: &mut Fresh,
    ) -> Result<Decision<DeletionChoice>, DecideError<TenantRefusal>> {
        let not_found = || DecideError::Refused(TenantRefusal::NotFound);
        check_slug(&self.slug).map_err(|_| not_found())?;
        let owner = reads.claim(ClaimKind::Slug, &self.slug)?;
        let owner = owner.filter(|owner| owner.kind == StreamKind::DirectoryTenant).ok_or_else(not_found)?;
        let tenant = TenantId::from_bytes(owner.id);
        let entry = reads.stream::<DirectoryTenant>(tenant)?.ok_or_else(not_found)?.state;
        if !matches!(entry.phase, EntryPhase::Active { .. }) {
            return Err(not_found());
        }
        if entry.slug == SYSTEM_SLUG {
            return Err(DecideError::Refused(TenantRefusal::Protected));
        }
        Ok(Decision::Propose(Draft::new(), DeletionChoice { tenant, home: entry.home }))
    }
}
