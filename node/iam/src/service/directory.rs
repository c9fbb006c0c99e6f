//! Routes: from a name or host to a tenant's verified entry, on any node, with or without its home.

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_raft::PartitionId;
use domicile_storage::{Engine, KeyRange, Order};

use super::Iam;
use super::cache::States;
use super::steps::leads;
use crate::blind;
use crate::commands::{EntryPlace, PublishEntry, SignEntry, TenantRefusal, verify_entry};
use crate::execute::{ExecuteError, Executor};
use crate::ids::{Id, SigningKeyId, TenantId};
use crate::model::{Edge, TenantContext, TenantSettings};
use crate::projections::{Projection, host_key, id_of_row, own_host, owner_prefix};
use crate::proposal::ClaimKind;
use crate::query::{QueryError, cluster, fault, stream_version};
use crate::streams::directory::{DirectoryEntry, DirectoryTenant, EntryPhase};
use crate::streams::{StreamKind, StreamRef, decode_state};
use crate::tables::{self, directory_tenant};

/// Tenants of one host that are looked at.
const SAME_HOST_MAX: usize = 16;

/// Where a tenant's requests go. From the directory as it is on this node, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The tenant.
    pub tenant: TenantId,
    /// Its home partition: a hint, the partition's own state decides.
    pub home: PartitionId,
    /// Raised when it moves.
    pub epoch: u64,
    /// What nodes outside the placement may do.
    pub edge: Edge,
    /// All that its root key signed.
    pub entry: DirectoryEntry,
}

/// What any node serves of a tenant.
#[derive(Clone, Debug)]
pub struct PublicDocuments {
    /// Enough of the tenant for the discovery document. Its display name and the other settings are
    /// not its own.
    pub context: Arc<TenantContext>,
    /// The key set as JSON; `None` until the home has signed an entry that holds it.
    pub jwks: Option<String>,
}

impl Iam {
    /// The route of a tenant by its name in paths; cached until the directory's stream of it changes.
    /// Local consistency.
    ///
    /// # Errors
    /// [`QueryError`]; a fault if the entry is not signed by the tenant's key.
    pub fn route(&self, slug: &str) -> Result<Option<Arc<Route>>, QueryError> {
        if let Some(id) = self.inner.slugs.get(slug) {
            // A slug can become another tenant's; the entry says whose it is.
            if let Some(route) = self.route_of(id)?.filter(|route| route.entry.slug == slug) {
                return Ok(Some(route));
            }
        }
        let Some(id) = self.slug_owner(slug)? else { return Ok(None) };
        self.inner.slugs.put(slug.to_owned(), id);
        self.route_of(id)
    }

    /// The route of a tenant whose issuer has this host, with its port if it has one, for itself.
    ///
    /// # Errors
    /// As [`Iam::route`].
    pub fn route_by_host(&self, host: &str) -> Result<Option<Arc<Route>>, QueryError> {
        let host = host.to_ascii_lowercase();
        let rows = owner_prefix(Projection::TenantsByHost, directory_tenant(), host_key(&host));
        let engine = self.inner.directory.engine();
        let rows = engine.scan(&KeyRange::prefix(&rows), Order::Ascending, SAME_HOST_MAX).map_err(fault)?;
        for id in rows.iter().filter_map(|(key, _)| id_of_row::<TenantId>(key)) {
            let route = self.route_of(id)?;
            if let Some(route) = route.filter(|route| own_host(&route.entry.issuer).as_ref() == Some(&host)) {
                return Ok(Some(route));
            }
        }
        Ok(None)
    }

    /// The route of a tenant; `None` if it is not routed (any more).
    ///
    /// # Errors
    /// As [`Iam::route`].
    pub fn route_of(&self, id: TenantId) -> Result<Option<Arc<Route>>, QueryError> {
        let engine = self.inner.directory.engine();
        let home = self.home(id).ok().map(|home| home.engine());
        let states = States::of_directory(&*engine).and_home(home.as_deref());
        if let Some(route) = self.inner.routes.unchanged(&id, states) {
            return Ok(Some(route));
        }
        let version = stream_version::<DirectoryTenant>(&*engine, directory_tenant(), id)?;
        if version == 0 {
            return Ok(None);
        }
        // A home that comes to this node brings the key that the tenant really has.
        let root = root_key_at(home.as_deref(), id)?;
        let versions = [version, u64::from(root.is_some())];
        if let Some(route) = self.inner.routes.current(&id, versions, states) {
            return Ok(Some(route));
        }
        let Some((version, stored)) = self.directory_tenant(id)? else { return Ok(None) };
        let Some(entry) = verified(id, &stored, root.as_ref())? else { return Ok(None) };
        let route =
            Arc::new(Route { tenant: id, home: stored.home, epoch: entry.epoch, edge: entry.edge, entry });
        let route = self.newest(route)?;
        self.inner.routes.keep(id, [version, u64::from(root.is_some())], states, &route);
        Ok(Some(route))
    }

    /// `found`, unless a newer entry was verified here before: whoever can write to the directory can put an
    /// old one back, with keys that were withdrawn since, and its signature still fits. Known since this
    /// node started, for the tenants that it served last.
    fn newest(&self, found: Arc<Route>) -> Result<Arc<Route>, QueryError> {
        let (id, place) = (found.tenant, (found.entry.epoch, found.entry.revision));
        let Some(mark) = self.inner.entry_marks.get(&id).filter(|mark| *mark > place) else {
            self.inner.entry_marks.put(id, place);
            return Ok(found);
        };
        tracing::warn!(tenant = %id, ?mark, ?place, "the directory has an older entry than before");
        let before = self.inner.routes.last(&id);
        before
            .filter(|before| (before.entry.epoch, before.entry.revision) >= mark)
            .ok_or_else(|| QueryError::Fault(format!("the directory has an older entry of {id} than it had")))
    }

    /// What discovery and the key set need, from the verified entry alone. Local consistency: as old as
    /// this node's directory and the last push of the home.
    ///
    /// # Errors
    /// As [`Iam::route`].
    pub fn public_documents(&self, id: TenantId) -> Result<Option<PublicDocuments>, QueryError> {
        let Some(route) = self.route_of(id)? else { return Ok(None) };
        let entry = &route.entry;
        let settings = TenantSettings {
            signing_algorithms: entry.signing_algorithms.clone(),
            scopes: entry.scopes.clone(),
            acr_values: entry.acr_values.clone(),
            edge: entry.edge,
            require_pushed_authorization_requests: entry.require_pushed_authorization_requests,
            self_registration: entry.self_registration,
            registration: entry.registration,
            ..TenantSettings::default()
        };
        let context = TenantContext {
            id,
            slug: entry.slug.clone(),
            issuer: entry.issuer.clone(),
            display_name: entry.slug.clone(),
            disabled: entry.disabled,
            settings,
            revision: entry.revision,
        };
        Ok(Some(PublicDocuments { context: Arc::new(context), jwks: entry.jwks.clone() }))
    }

    /// The directory's stream of a tenant, as it is here.
    pub(super) fn directory_tenant(
        &self,
        tenant: TenantId,
    ) -> Result<Option<(u64, DirectoryTenant)>, QueryError> {
        let engine = self.inner.directory.engine();
        let stream = StreamRef::of::<DirectoryTenant>(tenant);
        let row = tables::stream_row(&*engine, directory_tenant(), stream).map_err(fault)?;
        row.map(|row| Ok((row.version, decode_state(&row.state).map_err(fault)?))).transpose()
    }

    /// Who has a slug, as the directory is here.
    pub(super) fn slug_owner(&self, slug: &str) -> Result<Option<TenantId>, QueryError> {
        let Ok(key) = blind::public_claim_key(ClaimKind::Slug, slug) else { return Ok(None) };
        let owner =
            tables::claim_owner(&*self.inner.directory.engine(), directory_tenant(), key).map_err(fault)?;
        Ok(owner
            .filter(|owner| owner.kind == StreamKind::DirectoryTenant)
            .map(|owner| TenantId::from_bytes(owner.id)))
    }

    /// Signs and publishes the tenant's entry if what the directory has is out of date. For the node
    /// that leads the home; elsewhere it does nothing. Returns whether it published.
    ///
    /// # Errors
    /// [`QueryError`]; the next round tries again.
    pub async fn publish_entry(&self, tenant: TenantId) -> Result<bool, QueryError> {
        let executor = self.home(tenant)?;
        if !leads(&executor) {
            return Ok(false);
        }
        let Some((_, stored)) = self.directory_tenant(tenant)? else { return Ok(false) };
        let EntryPhase::Active { root_public_key, signed, .. } = &stored.phase else { return Ok(false) };
        let Some(due) = self.entry_due(&executor, tenant)? else { return Ok(false) };
        if *root_public_key != due.root_public_key {
            tracing::warn!(%tenant, "the directory pins a key that the tenant does not have");
            return Ok(false);
        }
        let known = DirectoryEntry::decode(&signed.entry).map_err(fault)?;
        if known.says_the_same(&due) && known.jwks.is_some() {
            return Ok(false);
        }
        let failed = |error: ExecuteError<TenantRefusal>| QueryError::Fault(error.to_string());
        let sign = self.signature(&executor);
        let signed = executor.execute(&self.system_context(tenant), &sign).await.map_err(failed)?.reply;
        let context = self.system_context(directory_tenant());
        let published = self.directory(&context, &PublishEntry { tenant, signed }).await.map_err(failed)?;
        self.see(&published.consistency, context.deadline).await;
        Ok(true)
    }

    /// The kids that the directory shows to all nodes, as it is here; `None` where keys need not wait for
    /// it: on a node alone, and before the tenant is routed.
    pub(super) fn listed_keys(&self, tenant: TenantId) -> Result<Option<BTreeSet<SigningKeyId>>, QueryError> {
        #[derive(serde::Deserialize)]
        struct Key {
            kid: String,
        }
        #[derive(serde::Deserialize)]
        struct Keys {
            keys: Vec<Key>,
        }
        if cluster::cluster(&*self.inner.directory.engine())?.is_none() {
            return Ok(None);
        }
        let Some(route) = self.route_of(tenant)? else { return Ok(None) };
        let Some(jwks) = &route.entry.jwks else { return Ok(Some(BTreeSet::new())) };
        let listed: Keys = serde_json::from_str(jwks).map_err(fault)?;
        Ok(Some(listed.keys.iter().filter_map(|key| key.kid.parse().ok()).collect()))
    }

    /// The command that signs an entry at this home.
    pub(super) fn signature(&self, home: &Executor) -> SignEntry {
        SignEntry { home: home.partition().id(), home_origin: self.inner.locality.origin.clone() }
    }

    /// The entry that should be in the directory, unsigned; `None` for a tenant that is gone.
    fn entry_due(
        &self,
        home: &Arc<Executor>,
        tenant: TenantId,
    ) -> Result<Option<DirectoryEntry>, QueryError> {
        let view = self.view_of(home, tenant)?;
        let Some((_, state)) = view.tenant_state()? else { return Ok(None) };
        let row = tables::tenant_row(&*home.engine(), tenant).map_err(fault)?;
        let Some(row) = row else { return Ok(None) };
        let place = EntryPlace {
            tenant,
            home: home.partition().id(),
            epoch: row.epoch,
            revision: row.sequence,
            root_public_key: row.keys.root_public,
            home_origin: self.inner.locality.origin.clone(),
        };
        place.entry(&state, self.published_keys(&view)?.as_ref()).map(Some).map_err(fault)
    }
}

/// The root key that the tenant has at home, if its home is here. The key that the directory
/// pinned proves less: whoever writes there can pin another.
fn root_key_at(home: Option<&dyn Engine>, tenant: TenantId) -> Result<Option<[u8; 32]>, QueryError> {
    let Some(home) = home else { return Ok(None) };
    let row = tables::tenant_row(home, tenant).map_err(fault)?;
    Ok(row.map(|row| row.keys.root_public))
}

/// The entry of a routed tenant, signed by its root key: the one it has at home where that is known,
/// else the one that was pinned when it was activated.
fn verified(
    tenant: TenantId,
    stored: &DirectoryTenant,
    at_home: Option<&[u8; 32]>,
) -> Result<Option<DirectoryEntry>, QueryError> {
    let EntryPhase::Active { signed, root_public_key, .. } = &stored.phase else { return Ok(None) };
    verify_entry(signed, at_home.unwrap_or(root_public_key))
        .filter(|entry| entry.tenant == tenant && entry.slug == stored.slug && entry.home == stored.home)
        .map(Some)
        .ok_or_else(|| {
            QueryError::Fault(format!("directory entry of {tenant} is not signed by its root key"))
        })
}
