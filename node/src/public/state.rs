//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use domicile_iam::ids::{Id as _, TokenId};
use domicile_iam::keys::Jwks;
use domicile_iam::model::{ClientView, TenantContext, UserView};
use domicile_iam::query::Consistency;
use domicile_iam::service::{Iam, Route};
use domicile_oidc::dpop::Nonces;
use domicile_oidc::jws::KeySet;
use domicile_oidc::opaque::OpaqueTokens;
use domicile_oidc::pairwise::Pairwise;
use domicile_oidc::{discovery, jws};
use domicile_raft::Clock;

use super::about::Logos;
use super::cached::TenantCache;
use super::client_keys::ClientKeys;
use super::document::Document;
use super::error::Fault;
use super::interaction::Seals;
use super::sign::SigningPool;
use crate::egress::Fetch;
use crate::limit::{Polls, RateLimits, UsedOnce};

/// How fresh a token's validity is read: a revocation that was answered counts everywhere within the
/// tenant's bound, and at once on the node that wrote it.
pub fn token_reads(tenant: &TenantContext) -> Consistency {
    bounded(tenant.settings.token_staleness_ms)
}

/// How fresh a person's claims are read along with the token's validity.
pub fn profile_reads(tenant: &TenantContext) -> Consistency {
    bounded(tenant.settings.token_staleness_ms.min(tenant.settings.profile_staleness_ms))
}

/// A bound of 0 asks the leader each time.
pub fn bounded(ms: u64) -> Consistency {
    if ms == 0 { Consistency::Linearizable } else { Consistency::BoundedMs(ms) }
}

/// Shared by all handlers of the public listener.
#[derive(Clone)]
pub struct PublicState {
    shared: Arc<Shared>,
}

pub struct Shared {
    pub iam: Iam,
    pub limits: Arc<RateLimits>,
    pub clock: Arc<dyn Clock>,
    pub signing: SigningPool,
    /// Of clients that sign assertions.
    pub client_keys: ClientKeys,
    /// Assertions that were used.
    pub used: UsedOnce,
    /// How often devices ask.
    pub polls: Polls,
    /// What others named.
    pub fetch: Arc<dyn Fetch>,
    /// Of clients.
    pub logos: Logos,
    discovery: TenantCache<TenantContext, Document>,
    seals: TenantCache<TenantContext, Seals>,
    keys: TenantCache<Jwks, PublicKeys>,
    entries: TenantCache<Route, EntryDocuments>,
    nonces: TenantCache<TenantContext, Nonces>,
    pairwise: TenantCache<TenantContext, Pairwise>,
    opaque: TenantCache<TenantContext, OpaqueTokens>,
}

/// How fresh a replica must be for public documents to come from it and not from the directory's entry.
const DOCUMENTS_STALENESS_MS: u64 = 5_000;
/// How long the proof of that may take.
const DOCUMENTS_WAIT: Duration = Duration::from_millis(250);

/// What a tenant's directory entry gives.
pub struct EntryDocuments {
    discovery: Arc<Document>,
    /// `None` until the home has signed an entry that holds the key set.
    jwks: Option<Arc<Document>>,
}

/// A tenant's key set in the two forms that are needed.
pub struct PublicKeys {
    /// What it was made of.
    pub jwks: Arc<Jwks>,
    /// To verify our own tokens.
    pub set: KeySet,
    /// To publish.
    pub document: Arc<Document>,
}

impl std::ops::Deref for PublicState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl PublicState {
    /// Ready to serve.
    pub fn new(iam: Iam, limits: Arc<RateLimits>, clock: Arc<dyn Clock>, fetch: Arc<dyn Fetch>) -> Self {
        let shared = Shared {
            iam,
            limits,
            client_keys: ClientKeys::new(fetch.clone(), clock.clone()),
            logos: Logos::new(fetch.clone(), clock.clone()),
            fetch,
            used: UsedOnce::default(),
            polls: Polls::default(),
            clock,
            signing: SigningPool::new(),
            discovery: TenantCache::default(),
            seals: TenantCache::default(),
            keys: TenantCache::default(),
            entries: TenantCache::default(),
            nonces: TenantCache::default(),
            pairwise: TenantCache::default(),
            opaque: TenantCache::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    /// The tenant's public keys; parsed once for each change of them.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn keys(&self, tenant: &TenantContext) -> Result<Arc<PublicKeys>, Fault> {
        let jwks = self.iam.jwks(tenant.id).await?;
        if let Some(keys) = self.keys.get(tenant.id, &jwks) {
            return Ok(keys);
        }
        let mut parsed = Vec::with_capacity(jwks.keys.len());
        for jwk in &jwks.keys {
            parsed.extend(self.iam.verification_key(tenant.id, &jwk.kid).await?);
        }
        let document = Arc::new(Document::new(jws::jwks_response(&jwks)));
        let keys = PublicKeys { jwks: Arc::clone(&jwks), set: parsed.into_iter().collect(), document };
        Ok(self.keys.put(tenant.id, &jwks, keys))
    }

    /// The tenant's discovery document.
    pub fn discovery(&self, tenant: &Arc<TenantContext>) -> Arc<Document> {
        let known = self.discovery.get(tenant.id, tenant);
        let make = || self.discovery.put(tenant.id, tenant, Document::new(discovery::response(tenant)));
        known.unwrap_or_else(make)
    }

    /// The discovery document, on any node, whatever else is out of reach.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn discovery_of(&self, slug: &str) -> Result<Arc<Document>, Fault> {
        let route = self.iam.route(slug)?.ok_or(Fault::NoTenant)?;
        if self.is_fresh(&route).await {
            let tenant = self.iam.tenant_of(&route)?.ok_or(Fault::NoTenant)?;
            return Ok(self.discovery(&tenant));
        }
        Ok(self.entry(&route)?.discovery.clone())
    }

    /// The key set to publish, on any node, whatever else is out of reach.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn jwks_of(&self, slug: &str) -> Result<Arc<Document>, Fault> {
        let route = self.iam.route(slug)?.ok_or(Fault::NoTenant)?;
        if !self.is_fresh(&route).await
            && let Some(jwks) = &self.entry(&route)?.jwks
        {
            return Ok(jwks.clone());
        }
        let tenant = self.iam.tenant_of(&route)?.ok_or(Fault::NoTenant)?;
        Ok(self.keys(&tenant).await?.document.clone())
    }

    /// Whether the replica here is at least as good as what its leader tells the directory.
    async fn is_fresh(&self, route: &Route) -> bool {
        self.iam.is_fresh_here(route.tenant, DOCUMENTS_STALENESS_MS, DOCUMENTS_WAIT).await
    }

    fn entry(&self, route: &Arc<Route>) -> Result<Arc<EntryDocuments>, Fault> {
        if let Some(entry) = self.entries.get(route.tenant, route) {
            return Ok(entry);
        }
        let documents = self.iam.public_documents(route.tenant)?.ok_or(Fault::NoTenant)?;
        let jwks = documents.jwks.as_deref().and_then(jws::published_jwks_response);
        let entry = EntryDocuments {
            discovery: Arc::new(Document::new(discovery::response(&documents.context))),
            jwks: jwks.map(|jwks| Arc::new(Document::new(jwks))),
        };
        Ok(self.entries.put(route.tenant, route, entry))
    }

    /// What seals the tenant's browser state.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn seals(&self, tenant: &Arc<TenantContext>) -> Result<Arc<Seals>, Fault> {
        if let Some(seals) = self.seals.get(tenant.id, tenant) {
            return Ok(seals);
        }
        let secret = self.iam.browser_secret(tenant.id).await?;
        let seals = Seals::new(&secret).map_err(|_| Fault::Internal)?;
        Ok(self.seals.put(tenant.id, tenant, seals))
    }

    /// What makes and knows the tenant's DPoP nonces.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn nonces(&self, tenant: &Arc<TenantContext>) -> Result<Arc<Nonces>, Fault> {
        if let Some(nonces) = self.nonces.get(tenant.id, tenant) {
            return Ok(nonces);
        }
        let secret = self.iam.dpop_nonce_secret(tenant.id)?;
        Ok(self.nonces.put(tenant.id, tenant, Nonces::new(&secret)))
    }

    /// The `sub` by which `client` knows a user.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn subject(
        &self,
        tenant: &Arc<TenantContext>,
        client: &ClientView,
        user: &UserView,
    ) -> Result<String, Fault> {
        let pairwise = if let Some(pairwise) = self.pairwise.get(tenant.id, tenant) {
            pairwise
        } else {
            let salt = self.iam.pairwise_salt(tenant.id)?;
            self.pairwise.put(tenant.id, tenant, Pairwise::new(&salt))
        };
        Ok(pairwise.subject(&client.metadata, &user.subject))
    }

    /// What seals and opens the tenant's opaque access tokens.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn opaque_tokens(&self, tenant: &Arc<TenantContext>) -> Result<Arc<OpaqueTokens>, Fault> {
        if let Some(tokens) = self.opaque.get(tenant.id, tenant) {
            return Ok(tokens);
        }
        let secret = self.iam.opaque_token_secret(tenant.id)?;
        Ok(self.opaque.put(tenant.id, tenant, OpaqueTokens::new(&secret, tenant.id)))
    }

    /// A fresh `jti`.
    pub fn token_id(&self) -> TokenId {
        let mut random = [0_u8; 10];
        self.clock.fill_random(&mut random);
        TokenId::new(self.clock.now(), random)
    }
}
