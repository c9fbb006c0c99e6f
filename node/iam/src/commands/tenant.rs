//! Tenants: each step of a creation is one command on one partition.

use domicile_raft::PartitionId;
use domicile_raft::placement::Placement;
use domicile_storage::codec::CodecError;
use serde::{Deserialize, Serialize};

use super::algorithm_use::check_given_up;
use super::cluster::tenants_of;
use super::{ClusterRefusal, TenantPatch, TenantRefusal};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads};
use crate::ids::TenantId;
use crate::keys::Jwks;
use crate::model::{PartitionState, TenantSettings};
use crate::proposal::ClaimKind;
use crate::seal::RootKey;
use crate::streams::StreamRef;
use crate::streams::cluster::{
    Cluster, ClusterPartition, broken_promise, cluster_stream, normal_placement, partition_stream,
};
use crate::streams::directory::{
    DirectoryEntry, DirectoryTenant, DirectoryTenantActivated, EntryPhase, SignedEntry, decide_activate,
    decide_entry_change, decide_expire, decide_release, decide_reserve,
};
use crate::streams::tenant::{
    Tenant, TenantCreated, TenantEvent, check_display_name, check_issuer, check_slug, decide_delete,
    decide_repoint, decide_update,
};
use crate::tables;

type Decided<R> = Result<Decision<R>, DecideError<TenantRefusal>>;

/// What the root key's signature is for.
const ENTRY_LABEL: &str = "directory entry v1";

/// How long a creation may take before its name is free again.
pub const RESERVATION_MS: u64 = 120_000;

/// The tenant that operators live in. No other may have the name.
pub const SYSTEM_SLUG: &str = "system";

/// What was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The tenant.
    pub tenant: TenantId,
    /// Where it will live.
    pub home: PartitionId,
}

/// Step 1, on the directory: takes slug, id and home.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReserveTenant {
    /// Its id, made up by the caller, so that a step whose answer was lost can be asked for again.
    pub tenant: TenantId,
    /// Its name in paths.
    pub slug: String,
    /// Where it will live.
    pub home: PartitionId,
    /// What it is promised: the home must still keep that when the name is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
}

impl Command for ReserveTenant {
    type Reply = Reservation;
    type Refusal = TenantRefusal;
    const NAME: &'static str = "directory.tenant.reserve";
    const CREATES_TENANT: bool = true;

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Reservation> {
        check_slug(&self.slug).map_err(DecideError::Refused)?;
        let (tenant, stream) = (self.tenant, StreamRef::of::<DirectoryTenant>(self.tenant));
        match reads.claim(ClaimKind::Slug, &self.slug)? {
            Some(owner) if owner == stream => {
                let entry = reads.stream::<DirectoryTenant>(tenant)?;
                let home = entry.map_or(self.home, |entry| entry.state.home);
                return Ok(Decision::Answer(Reservation { tenant, home }));
            }
            Some(_) => return Err(DecideError::Refused(TenantRefusal::SlugTaken)),
            None => {}
        }
        if reads.stream::<DirectoryTenant>(tenant)?.is_some() {
            return Err(DecideError::Refused(TenantRefusal::ReservationExpired));
        }
        check_home(reads, self.home, self.placement.as_ref())?;
        let event = decide_reserve(&self.slug, self.home, fresh.at().plus_ms(RESERVATION_MS))
            .map_err(DecideError::Refused)?;
        let mut draft = Draft::new();
        draft.append::<DirectoryTenant>(tenant, 0, event);
        draft.take_claim(ClaimKind::Slug, &self.slug, stream);
        draft.touch_range_shared(tenants_of(self.home));
        Ok(Decision::Propose(draft, Reservation { tenant, home: self.home }))
    }
}

/// Tenants live in a partition that was made for them, and that keeps what they are `promised`. A node alone
/// lists none.
fn check_home(
    reads: &mut Reads<'_>,
    home: PartitionId,
    promised: Option<&Placement>,
) -> Result<(), DecideError<TenantRefusal>> {
    let refuse = |reason: &str| {
        let reason = format!("partition {} {reason}", home.0);
        Err(DecideError::Refused(TenantRefusal::Placement(reason)))
    };
    if home == PartitionId::DIRECTORY {
        return refuse("is the directory");
    }
    if reads.stream::<Cluster>(cluster_stream())?.is_none() {
        return Ok(());
    }
    match reads.stream::<ClusterPartition>(partition_stream(home))? {
        Some(found) if found.state.state == PartitionState::Ready => {
            let broken = promised.and_then(|promised| broken_promise(&found.state.placement, promised));
            if broken.is_some() { refuse("was given another placement meanwhile: ask again") } else { Ok(()) }
        }
        Some(_) => refuse("is not made yet"),
        None => refuse("does not exist"),
    }
}

/// Gives an unfinished reservation back, on the directory. Answers whether the name is free.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExpireReservation {
    /// Which.
    pub tenant: TenantId,
}

impl Command for ExpireReservation {
    type Reply = bool;
    type Refusal = TenantRefusal;
    const NAME: &'static str = "directory.tenant.expire";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<bool> {
        let Some(entry) = reads.stream::<DirectoryTenant>(self.tenant)? else {
            return Ok(Decision::Answer(true));
        };
        let Some(event) = decide_expire(&entry.state, fresh.at()) else {
            return Ok(Decision::Answer(entry.state.phase == EntryPhase::Released));
        };
        let mut draft = Draft::new();
        draft.append::<DirectoryTenant>(self.tenant, entry.version, event);
        draft.release_claim(
            ClaimKind::Slug,
            &entry.state.slug,
            StreamRef::of::<DirectoryTenant>(self.tenant),
        );
        Ok(Decision::Propose(draft, true))
    }
}

/// Step 2, on the home partition: the tenant and its keys. Runs again without effect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateHome {
    /// Its name in paths.
    pub slug: String,
    /// Shown to people.
    pub display_name: String,
    /// `iss`.
    pub issuer: String,
    /// Settings.
    pub settings: TenantSettings,
    /// Where it may live; `None` where it asked for nothing.
    #[serde(default)]
    pub placement: Option<Placement>,
}

impl Command for CreateHome {
    type Reply = ();
    type Refusal = TenantRefusal;
    const NAME: &'static str = "tenant.create";
    const CREATES_TENANT: bool = true;

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        check_display_name(&self.display_name).map_err(DecideError::Refused)?;
        check_issuer(&self.issuer).map_err(DecideError::Refused)?;
        self.settings.check().map_err(|broken| DecideError::Refused(broken.into()))?;
        let placement = self.placement.as_ref().map(normal_placement).transpose().map_err(misplaced)?;
        let tenant = reads.tenant();
        if reads.stream::<Tenant>(tenant)?.is_some() {
            return Ok(Decision::Answer(()));
        }
        let mut draft = Draft::new();
        draft.append::<Tenant>(
            tenant,
            0,
            TenantEvent::Created(TenantCreated {
                slug: self.slug.clone(),
                display_name: self.display_name.clone(),
                issuer: self.issuer.clone(),
                settings: self.settings.clone(),
                root_public_key: reads.tenant_keys().root_public,
                placement,
            }),
        );
        Ok(Decision::Propose(draft, ()))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn misplaced(refusal: ClusterRefusal) -> DecideError<TenantRefusal> {
    DecideError::Refused(TenantRefusal::Placement(refusal.to_string()))
}

/// A signed entry with the key to verify it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSigned {
    /// Entry and signature.
    pub signed: SignedEntry,
    /// Root public key.
    #[serde(with = "serde_bytes")]
    pub root_public_key: [u8; 32],
}

/// The tenant's current directory entry under its root key's signature. Writes nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignEntry {
    /// Where it lives. Filled in there; what another node says of it is not looked at.
    pub home: PartitionId,
    /// Origin of a node near its home: a hint. Filled in as well.
    pub home_origin: Option<String>,
}

impl Command for SignEntry {
    type Reply = RootSigned;
    type Refusal = TenantRefusal;
    const NAME: &'static str = "tenant.sign_entry";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<RootSigned> {
        let keys = reads.tenant_keys();
        let tenant = reads.tenant();
        let found = reads.stream::<Tenant>(tenant)?.ok_or(DecideError::Refused(TenantRefusal::NotFound))?;
        let jwks = super::signing_key::public_keys(reads)?;
        // Read last: what was read stands until after the barrier, so a higher place tells of no less.
        let row = tables::tenant_row(reads.engine(), tenant).map_err(ReadFault::from)?;
        let row = row.ok_or(DecideError::Refused(TenantRefusal::NotFound))?;
        let place = EntryPlace {
            tenant,
            home: self.home,
            epoch: row.epoch,
            revision: row.sequence,
            root_public_key: keys.root_public,
            home_origin: self.home_origin.clone(),
        };
        let entry = place.entry(&found.state, &jwks).map_err(ReadFault::from)?;
        let bytes = entry.encode().map_err(ReadFault::from)?;
        let seed = reads.key(keys.root)?.ok_or(ReadFault::KeyGone(keys.root))?;
        let root = RootKey::from_seed(seed.bytes()).map_err(ReadFault::from)?;
        let signature = root.sign(ENTRY_LABEL, &bytes).to_vec();
        let signed = SignedEntry { entry: bytes, signature };
        Ok(Decision::Answer(RootSigned { signed, root_public_key: keys.root_public }))
    }
}

/// What an entry says beside the tenant's own state and keys.
pub(crate) struct EntryPlace {
    pub(crate) tenant: TenantId,
    pub(crate) home: PartitionId,
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    pub(crate) root_public_key: [u8; 32],
    pub(crate) home_origin: Option<String>,
}

impl EntryPlace {
    /// The entry of a tenant in this state.
    pub(crate) fn entry(self, tenant: &Tenant, jwks: &Jwks) -> Result<DirectoryEntry, CodecError> {
        let keys =
            serde_json::to_string(jwks).map_err(|cause| CodecError::NotEncodable(cause.to_string()))?;
        Ok(DirectoryEntry {
            tenant: self.tenant,
            slug: tenant.slug.clone(),
            issuer: tenant.issuer.clone(),
            home: self.home,
            epoch: self.epoch,
            revision: self.revision,
            root_public_key: self.root_public_key,
            jwks: Some(keys),
            signing_algorithms: tenant.settings.signing_algorithms.clone(),
            scopes: tenant.settings.scopes.clone(),
            acr_values: tenant.settings.acr_values.clone(),
            disabled: tenant.disabled,
            edge: tenant.settings.edge,
            placement: tenant.placement.clone(),
            home_origin: self.home_origin,
            require_pushed_authorization_requests: tenant.settings.require_pushed_authorization_requests,
            self_registration: tenant.settings.self_registration,
            registration: tenant.settings.registration,
        })
    }
}

/// The entry, if the pinned key signed it.
pub fn verify_entry(signed: &SignedEntry, root_public_key: &[u8; 32]) -> Option<DirectoryEntry> {
    if !RootKey::verify(root_public_key, ENTRY_LABEL, &signed.entry, &signed.signature) {
        return None;
    }
    DirectoryEntry::decode(&signed.entry).ok().filter(|entry| entry.root_public_key == *root_public_key)
}

/// Step 3, on the directory: routed from here on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActivateTenant {
    /// Which.
    pub tenant: TenantId,
    /// From [`SignEntry`].
    pub signed: RootSigned,
}

impl Command for ActivateTenant {
    type Reply = ();
    type Refusal = TenantRefusal;
    const NAME: &'static str = "directory.tenant.activate";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<()> {
        let not_found = || DecideError::Refused(TenantRefusal::NotFound);
        let entry = reads.stream::<DirectoryTenant>(self.tenant)?.ok_or_else(not_found)?;
        let signed = verify_entry(&self.signed.signed, &self.signed.root_public_key).ok_or_else(not_found)?;
        if signed.tenant != self.tenant || signed.slug != entry.state.slug || signed.home != entry.state.home
        {
            return Err(not_found());
        }
        let activated = DirectoryTenantActivated {
            root_public_key: self.signed.root_public_key,
            signed: self.signed.signed.clone(),
            issuer: Some(signed.issuer),
        };
        let event = decide_activate(&entry.state, activated, fresh.at()).map_err(DecideError::Refused)?;
        Ok(append_or_answer::<DirectoryTenant>(self.tenant, entry.version, event))
    }
}

/// A newer signed entry, on the directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishEntry {
    /// Which.
    pub tenant: TenantId,
    /// From [`SignEntry`].
    pub signed: RootSigned,
}

impl Command for PublishEntry {
    type Reply = ();
    type Refusal = TenantRefusal;
    const NAME: &'static str = "directory.tenant.publish";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let not_found = || DecideError::Refused(TenantRefusal::NotFound);
        let entry = reads.stream::<DirectoryTenant>(self.tenant)?.ok_or_else(not_found)?;
        let EntryPhase::Active { root_public_key, signed: current, .. } = &entry.state.phase else {
            return Err(not_found());
        };
        let new = verify_entry(&self.signed.signed, root_public_key).ok_or_else(not_found)?;
        let old = verify_entry(current, root_public_key).ok_or_else(not_found)?;
        if new.tenant != self.tenant || new.slug != entry.state.slug || new.home != entry.state.home {
            return Err(not_found());
        }
        let place = |entry: &DirectoryEntry| (entry.epoch, entry.revision);
        let older = place(&new) < place(&old);
        // One that is of the same place and says less was written by an older version.
        let poorer = place(&new) == place(&old) && old.jwks.is_some() && new.jwks.is_none();
        if older || poorer || (new.says_the_same(&old) && old.jwks.is_some()) {
            return Ok(Decision::Answer(()));
        }
        let event = decide_entry_change(&entry.state, self.signed.signed.clone(), &new.issuer);
        Ok(append_or_answer::<DirectoryTenant>(self.tenant, entry.version, event))
    }
}

/// Frees a deleted tenant's name, on the directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleaseTenant {
    /// Which.
    pub tenant: TenantId,
}

impl Command for ReleaseTenant {
    type Reply = ();
    type Refusal = TenantRefusal;
    const NAME: &'static str = "directory.tenant.release";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let Some(entry) = reads.stream::<DirectoryTenant>(self.tenant)? else {
            return Ok(Decision::Answer(()));
        };
        if entry.state.slug == SYSTEM_SLUG && matches!(entry.state.phase, EntryPhase::Active { .. }) {
            return Err(DecideError::Refused(TenantRefusal::Protected));
        }
        let Some(event) = decide_release(&entry.state) else { return Ok(Decision::Answer(())) };
        let mut draft = Draft::new();
        draft.append::<DirectoryTenant>(self.tenant, entry.version, event);
        draft.release_claim(
            ClaimKind::Slug,
            &entry.state.slug,
            StreamRef::of::<DirectoryTenant>(self.tenant),
        );
        Ok(Decision::Propose(draft, ()))
    }
}

/// Changes a tenant, on its home.
#[derive(Clone, Debug)]
pub struct UpdateTenant {
    /// What.
    pub patch: TenantPatch,
}

impl Command for UpdateTenant {
    type Reply = ();
    type Refusal = TenantRefusal;
    const NAME: &'static str = "tenant.update";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = reads.tenant();
        let tenant = reads.stream::<Tenant>(id)?.ok_or(DecideError::Refused(TenantRefusal::NotFound))?;
        let event =
            decide_update(&tenant.state, tenant.version, &self.patch).map_err(DecideError::Refused)?;
        if let Some(after) = self.patch.settings.as_ref().filter(|_| !self.patch.force) {
            check_given_up(reads, &tenant.state.settings, after)?;
        }
        Ok(append_or_answer::<Tenant>(id, tenant.version, event))
    }
}

/// Another issuer, on the tenant's home. Development only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RepointIssuer {
    /// `iss`.
    pub issuer: String,
}

impl Command for RepointIssuer {
    type Reply = ();
    type Refusal = TenantRefusal;
    const NAME: &'static str = "tenant.issuer.repoint";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = reads.tenant();
        let tenant = reads.stream::<Tenant>(id)?.ok_or(DecideError::Refused(TenantRefusal::NotFound))?;
        let event = decide_repoint(&tenant.state, &self.issuer).map_err(DecideError::Refused)?;
        Ok(append_or_answer::<Tenant>(id, tenant.version, event))
    }
}

/// The end of a tenant, on its home: the key that wraps all its others is destroyed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteHome {
    /// Only if the stream is at this revision. One that is deleted already is answered as done.
    pub if_revision: Option<u64>,
}

impl Command for DeleteHome {
    type Reply = ();
    type Refusal = TenantRefusal;
    const NAME: &'static str = "tenant.delete";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = reads.tenant();
        let tenant = reads.stream::<Tenant>(id)?.ok_or(DecideError::Refused(TenantRefusal::NotFound))?;
        let Some(event) = decide_delete(&tenant.state) else { return Ok(Decision::Answer(())) };
        if self.if_revision.is_some_and(|wanted| wanted != tenant.version) {
            return Err(DecideError::Refused(TenantRefusal::Stale { current: tenant.version }));
        }
        let mut draft = Draft::new();
        draft.append::<Tenant>(id, tenant.version, event);
        draft.destroy_key(reads.tenant_keys().tenant);
        Ok(Decision::Propose(draft, ()))
    }
}

fn append_or_answer<A: crate::streams::Aggregate>(
    id: A::Id,
    version: u64,
    event: Option<A::Event>,
) -> Decision<()> {
    match event {
        Some(event) => {
            let mut draft = Draft::new();
            draft.append::<A>(id, version, event);
            Decision::Propose(draft, ())
        }
        None => Decision::Answer(()),
    }
}
