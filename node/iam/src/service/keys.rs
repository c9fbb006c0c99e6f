//! Signing keys: cached, parsed, driven through their lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::{PartitionId, Timestamp};

use super::Iam;
use super::cache::States;
use super::housekeeping::page;
use super::steps::leads;
use crate::commands::{
    AddSigningKey, KeyProgress, KeyRefusal, MoveKeys, NewKey, NewKeyUse, RevokeSigningKey,
};
use crate::execute::{ExecuteError, Executor, RequestContext, Written};
use crate::ids::{SigningKeyId, TenantId};
use crate::keys::{Jwk, Jwks, SigningKey, VerificationKey, generate};
use crate::model::SigningAlgorithm;
use crate::projections::{Projection, tenant_prefix};
use crate::proposal::{RangeKey, RangeKind};
use crate::query::{QueryError, View, fault};
use crate::streams::directory::EntryPhase;
use crate::streams::signing_key::{KeyMaterial, KeyPhase, SigningKeyState, next_phase, of_algorithm};
use crate::tables::Table;

const RANGE: RangeKey = RangeKey { kind: RangeKind::SigningKeys, id: [0; 16] };
/// More keys than any tenant has at once.
const KEYS_MAX: usize = 256;
/// Steps of one round for one algorithm: make, publish, activate and retire, remove, and one to see
/// that nothing is left.
const STEPS_MAX: usize = 16;
/// How long a rotation on demand waits for the directory to show the key set.
const PUBLISH_WAIT: Duration = Duration::from_secs(1);

/// A tenant's keys, parsed.
pub(super) struct KeySet {
    jwks: Arc<Jwks>,
    public: BTreeMap<String, Arc<VerificationKey>>,
    active: BTreeMap<SigningAlgorithm, (SigningKeyId, KeyMaterial)>,
}

/// A signing key as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyView {
    /// Its public half.
    pub jwk: Jwk,
    /// Where in its life it is; never [`KeyPhase::Removed`].
    pub phase: KeyPhase,
    /// Since when.
    pub phase_since: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it will be next, and not before when.
    pub next: Option<(KeyPhase, Timestamp)>,
}

impl Iam {
    /// All keys but removed ones, in order of creation, as this node knows them.
    ///
    /// # Errors
    /// [`QueryError`].
    #[allow(clippy::unused_async, reason = "a replica elsewhere will be asked when this node has none")]
    pub async fn signing_keys(&self, tenant: TenantId) -> Result<Vec<SigningKeyView>, QueryError> {
        let view = self.local_view(tenant)?;
        let (_, state) = view.tenant_state()?.ok_or(QueryError::UnknownTenant)?;
        let stored = stored_keys(&view)?;
        let mut keys = Vec::new();
        for (id, key) in &stored {
            let Some(material) = &key.material else { continue };
            let algorithm = material.algorithm;
            let wanted = state.settings.signing_algorithms.contains(&algorithm);
            keys.push(SigningKeyView {
                jwk: Jwk::new(*id, algorithm, &material.public_key),
                phase: key.phase,
                phase_since: key.phase_since,
                created_at: key.created_at,
                next: next_phase(&of_algorithm(&stored, algorithm), key, &state.settings, wanted),
            });
        }
        Ok(keys)
    }

    /// The key that signs now, parsed once and cached. `None` while none is active (RSA keys are
    /// made in the background).
    ///
    /// # Errors
    /// [`QueryError`].
    #[allow(clippy::unused_async, reason = "a replica elsewhere will be asked when this node has none")]
    pub async fn signing_key(
        &self,
        tenant: TenantId,
        algorithm: SigningAlgorithm,
    ) -> Result<Option<Arc<SigningKey>>, QueryError> {
        let view = self.local_view(tenant)?;
        let set = self.key_set(&view)?;
        let Some((id, material)) = set.active.get(&algorithm) else { return Ok(None) };
        let cache_key = (tenant, *id);
        if let Some(key) = self.inner.signing_keys.get(&cache_key) {
            return Ok(Some(key));
        }
        let Some(private) = view.keys.key(material.private_key).map_err(fault)? else { return Ok(None) };
        let key = Arc::new(SigningKey::from_pkcs8(*id, algorithm, private.bytes()).map_err(fault)?);
        self.inner.signing_keys.put(cache_key, Arc::clone(&key));
        if self.home(tenant).is_err() {
            // Its home left this node meanwhile: so does the key.
            self.inner.signing_keys.clear();
        }
        Ok(Some(key))
    }

    /// The key set: published, active and retired keys. Cached until a key changes.
    ///
    /// # Errors
    /// [`QueryError`].
    #[allow(clippy::unused_async, reason = "a replica elsewhere will be asked when this node has none")]
    pub async fn jwks(&self, tenant: TenantId) -> Result<Arc<Jwks>, QueryError> {
        Ok(Arc::clone(&self.key_set(&self.local_view(tenant)?)?.jwks))
    }

    /// The public key with this `kid` from the key set.
    ///
    /// # Errors
    /// [`QueryError`].
    #[allow(clippy::unused_async, reason = "a replica elsewhere will be asked when this node has none")]
    pub async fn verification_key(
        &self,
        tenant: TenantId,
        kid: &str,
    ) -> Result<Option<Arc<VerificationKey>>, QueryError> {
        Ok(self.key_set(&self.local_view(tenant)?)?.public.get(kid).cloned())
    }

    /// A key that ended as planned, while a session may be as old as what it signed. For hints (`id_token_hint`), which
    /// say who and prove nothing, and for nothing else: what else it signed is over.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn ended_key(&self, tenant: TenantId, kid: &str) -> Result<Option<Arc<VerificationKey>>, QueryError> {
        let view = self.local_view(tenant)?;
        let (_, state) = view.tenant_state()?.ok_or(QueryError::UnknownTenant)?;
        let Ok(id) = kid.parse::<SigningKeyId>() else { return Ok(None) };
        let key = view.stream::<SigningKeyState>(id)?.map(|(_, key)| key);
        let key = key.filter(|key| key.reads_hints(state.settings.session_absolute_ms, view.now));
        let Some(material) = key.as_ref().and_then(|key| key.material.as_ref()) else { return Ok(None) };
        let public = VerificationKey::new(id, material.algorithm, &material.public_key).map_err(fault)?;
        Ok(Some(Arc::new(public)))
    }

    fn key_set(&self, view: &View) -> Result<Arc<KeySet>, QueryError> {
        let states = States::of_home(&*view.engine);
        if let Some(set) = self.inner.key_sets.unchanged(&view.tenant, states) {
            return Ok(set);
        }
        // The counter is read before the rows, so a set is never taken for newer than it is.
        let versions = [view.range(RANGE)?, 0];
        if let Some(set) = self.inner.key_sets.current(&view.tenant, versions, states) {
            return Ok(set);
        }
        let set = Arc::new(read_key_set(view)?);
        self.inner.key_sets.keep(view.tenant, versions, states, &set);
        Ok(set)
    }

    /// Makes and publishes a new key and lets it sign at once. The one before retires, or, with `revoke`,
    /// all others of the algorithm are destroyed: nothing they signed verifies any more.
    ///
    /// # Errors
    /// [`KeyRefusal::NotKept`]; [`KeyRefusal::TooMany`], but not with `revoke`.
    pub async fn rotate_signing_keys(
        &self,
        ctx: &RequestContext,
        algorithm: SigningAlgorithm,
        revoke: bool,
    ) -> Result<Written<SigningKeyId>, ExecuteError<KeyRefusal>> {
        let key = make(algorithm).await.map_err(|error| ExecuteError::Fault(error.to_string()))?;
        let usage = if revoke { NewKeyUse::Revoke } else { NewKeyUse::Rotate };
        let written = self.run(ctx, &AddSigningKey { key, usage }).await?;
        let id = written.reply.ok_or(ExecuteError::Refused(KeyRefusal::WrongPhase))?;
        self.show_keys(ctx.tenant).await;
        Ok(super::route::with_reply(&written, id))
    }

    /// Ends one key at once, because it leaked: it leaves the key set, and nothing it signed verifies any
    /// more. Where it signs, a new one does from now on, whose id is the reply.
    ///
    /// # Errors
    /// [`KeyRefusal::NotFound`]; [`KeyRefusal::WrongPhase`] if it came to sign meanwhile: try again.
    pub async fn revoke_signing_key(
        &self,
        ctx: &RequestContext,
        id: SigningKeyId,
    ) -> Result<Written<Option<SigningKeyId>>, ExecuteError<KeyRefusal>> {
        let key = self.local_view(ctx.tenant).and_then(|view| view.stream::<SigningKeyState>(id));
        let key = key.map_err(|error| super::route::home_failed(&error))?.map(|(_, key)| key);
        let signs = key.filter(|key| key.phase == KeyPhase::Active).and_then(|key| key.material.clone());
        let successor = match signs {
            Some(material) => {
                let made = make(material.algorithm).await;
                Some(made.map_err(|error| ExecuteError::Fault(error.to_string()))?)
            }
            None => None,
        };
        let written = self.run(ctx, &RevokeSigningKey { id, successor }).await?;
        self.show_keys(ctx.tenant).await;
        Ok(written)
    }

    /// Tells the directory of changed keys: other nodes verify by it. Worth a moment, not the request.
    async fn show_keys(&self, tenant: TenantId) {
        if tokio::time::timeout(PUBLISH_WAIT, self.publish_soon(tenant)).await.is_err() {
            tracing::info!(%tenant, "a change of keys is not known everywhere yet");
        }
    }

    /// One round of the background task: makes missing keys (RSA on a blocking thread) and moves
    /// each key to the phase its age asks for. Keys of an algorithm that the settings name no more end.
    /// Returns the steps taken; 0 means nothing was due.
    ///
    /// # Errors
    /// The first failure; the next round resumes.
    pub async fn drive_keys(&self, tenant: TenantId) -> Result<usize, QueryError> {
        let home = self.home(tenant)?;
        if self.view_of(&home, tenant)?.tenant_state()?.is_none() {
            return Ok(0);
        }
        let mut steps = 0;
        // Others serve the key set from the directory's entry: a key signs once it is in there, so that
        // one made now signs in the second turn.
        for _ in 0..2 {
            for algorithm in SigningAlgorithm::ALL {
                let taken = self.drive_algorithm(&home, tenant, algorithm).await;
                steps +=
                    taken.map_err(|error: ExecuteError<KeyRefusal>| QueryError::Fault(error.to_string()))?;
            }
            if !self.publish_entry(tenant).await? {
                break;
            }
            steps += 1;
        }
        Ok(steps)
    }

    /// [`Iam::drive_keys`] for one algorithm, at this home.
    pub(super) async fn drive_algorithm<R>(
        &self,
        home: &Executor,
        tenant: TenantId,
        algorithm: SigningAlgorithm,
    ) -> Result<usize, ExecuteError<R>> {
        for steps in 0..STEPS_MAX {
            let ctx = self.system_context(tenant);
            let listed = self.listed_keys(tenant).map_err(|error| ExecuteError::Fault(error.to_string()))?;
            match home.execute(&ctx, &MoveKeys { algorithm, listed }).await.map_err(not_driven)?.reply {
                KeyProgress::Idle => return Ok(steps),
                KeyProgress::Moved => {}
                KeyProgress::MakeFirst => {
                    let key = make(algorithm).await.map_err(|e| ExecuteError::Fault(e.to_string()))?;
                    let ctx = self.system_context(tenant);
                    let add = AddSigningKey { key, usage: NewKeyUse::Planned };
                    home.execute(&ctx, &add).await.map_err(not_driven)?;
                }
            }
        }
        Ok(STEPS_MAX)
    }

    /// [`Iam::drive_keys`] for every tenant whose home this node leads. The key set that others serve
    /// from the directory follows.
    ///
    /// # Errors
    /// The first failure, after all tenants were tried.
    pub async fn drive_all_keys(&self) -> Result<usize, QueryError> {
        let (mut steps, mut failure) = (0, None);
        for home in self.homes().iter().filter(|home| leads(home)) {
            let (engine, mut after) = (home.engine(), None);
            while let Some(tenants) = page(&*engine, &[Table::Tenants.number()], after)? {
                for tenant in &tenants {
                    match self.drive_routed(*tenant).await {
                        Ok(taken) => steps += taken,
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
                after = tenants.last().copied();
            }
        }
        failure.map_or(Ok(steps), Err)
    }

    /// The homes that this node leads: those whose keys it drives.
    pub fn led_homes(&self) -> BTreeSet<PartitionId> {
        self.homes().iter().filter(|home| leads(home)).map(|home| home.partition().id()).collect()
    }

    /// Tenants that are half made, or gone, are the housekeeper's.
    async fn drive_routed(&self, tenant: TenantId) -> Result<usize, QueryError> {
        let entry = self.directory_tenant(tenant)?.map(|(_, entry)| entry.phase);
        match (entry, self.tenant_at_home(tenant)?) {
            (Some(EntryPhase::Active { .. }), Some(state)) if !state.deleted => self.drive_keys(tenant).await,
            _ => Ok(0),
        }
    }

    /// The key set of a view, cached as [`Iam::jwks`].
    pub(super) fn published_keys(&self, view: &View) -> Result<Arc<Jwks>, QueryError> {
        Ok(Arc::clone(&self.key_set(view)?.jwks))
    }
}

/// A refusal of a step that the node takes by itself is a fault.
fn not_driven<R>(error: ExecuteError<KeyRefusal>) -> ExecuteError<R> {
    match error {
        ExecuteError::NotLeader { partition, leader } => ExecuteError::NotLeader { partition, leader },
        ExecuteError::Unknown => ExecuteError::Unknown,
        ExecuteError::Unavailable { retry_after_s, reason } => {
            ExecuteError::Unavailable { retry_after_s, reason }
        }
        ExecuteError::Overloaded(what) => ExecuteError::Overloaded(what),
        ExecuteError::TenantErased => ExecuteError::TenantErased,
        other @ (ExecuteError::Refused(_)
        | ExecuteError::IdempotencyMismatch
        | ExecuteError::Fault(_)
        | ExecuteError::KeyGone) => ExecuteError::Fault(other.to_string()),
    }
}

async fn make(algorithm: SigningAlgorithm) -> Result<NewKey, QueryError> {
    let made = tokio::task::spawn_blocking(move || generate(algorithm)).await.map_err(fault)?;
    Ok(made.map_err(fault)?.into())
}

/// Keys that are not removed, oldest first.
fn stored_keys(view: &View) -> Result<Vec<(SigningKeyId, Arc<SigningKeyState>)>, QueryError> {
    let mut keys = Vec::new();
    for id in view.ids::<SigningKeyId>(&tenant_prefix(Projection::SigningKeys, view.tenant), KEYS_MAX)? {
        keys.extend(view.stream::<SigningKeyState>(id)?.map(|(_, key)| (id, key)));
    }
    Ok(keys)
}

fn read_key_set(view: &View) -> Result<KeySet, QueryError> {
    let mut set = KeySet { jwks: Arc::default(), public: BTreeMap::new(), active: BTreeMap::new() };
    let mut jwks = Jwks::default();
    for (id, key) in stored_keys(view)? {
        let Some(material) = key.material.as_ref().filter(|_| key.phase.is_public()) else { continue };
        let public = VerificationKey::new(id, material.algorithm, &material.public_key).map_err(fault)?;
        set.public.insert(id.to_string(), Arc::new(public));
        jwks.keys.push(Jwk::new(id, material.algorithm, &material.public_key));
        if key.phase == KeyPhase::Active {
            set.active.insert(material.algorithm, (id, material.clone()));
        }
    }
    set.jwks = Arc::new(jwks);
    Ok(set)
}
