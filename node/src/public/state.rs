//! What handlers share.

use std::sync::Arc;

use domicile_iam::ids::{Id as _, TokenId};
use domicile_iam::keys::Jwks;
use domicile_iam::model::TenantContext;
use domicile_iam::query::Consistency;
use domicile_iam::service::Iam;
use domicile_oidc::jws::KeySet;
use domicile_oidc::{discovery, jws};
use domicile_raft::Clock;

use super::cached::TenantCache;
use super::document::Document;
use super::error::Fault;
use super::interaction::Seals;
use super::sign::SigningPool;
use crate::limit::RateLimits;

/// How fresh a token's validity is read. A revocation that was answered counts at once, everywhere.
pub const TOKEN_READS: Consistency = Consistency::Linearizable;

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
    discovery: TenantCache<TenantContext, Document>,
    seals: TenantCache<TenantContext, Seals>,
    keys: TenantCache<Jwks, PublicKeys>,
}

/// A tenant's key set in the two forms that are needed.
pub struct PublicKeys {
    /// To verify our own tokens.
    pub set: KeySet,
    /// To publish.
    pub document: Document,
}

impl std::ops::Deref for PublicState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl PublicState {
    /// Ready to serve.
    pub fn new(iam: Iam, limits: Arc<RateLimits>, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            iam,
            limits,
            clock,
            signing: SigningPool::new(),
            discovery: TenantCache::default(),
            seals: TenantCache::default(),
            keys: TenantCache::default(),
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
        let document = Document::new(jws::jwks_response(&jwks));
        Ok(self.keys.put(tenant.id, &jwks, PublicKeys { set: parsed.into_iter().collect(), document }))
    }

    /// The tenant's discovery document.
    pub fn discovery(&self, tenant: &Arc<TenantContext>) -> Arc<Document> {
        let known = self.discovery.get(tenant.id, tenant);
        let make = || self.discovery.put(tenant.id, tenant, Document::new(discovery::response(tenant)));
        known.unwrap_or_else(make)
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

    /// A fresh `jti`.
    pub fn token_id(&self) -> TokenId {
        let mut random = [0_u8; 10];
        self.clock.fill_random(&mut random);
        TokenId::new(self.clock.now(), random)
    }
}
