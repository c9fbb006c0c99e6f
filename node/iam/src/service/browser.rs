//! Secrets of the tenant for what the protocol layer makes: the state of pages in browsers, nonces.

use zeroize::Zeroizing;

use super::Iam;
use crate::ids::TenantId;
use crate::query::{QueryError, fault};

impl Iam {
    /// The tenant's secret for browser state: a subkey of its token key, so it is the same after a
    /// restart and on every replica, and is gone with the tenant.
    ///
    /// # Errors
    /// [`QueryError`].
    #[allow(clippy::unused_async, reason = "a replica elsewhere will be asked when this node has none")]
    pub async fn browser_secret(&self, tenant: TenantId) -> Result<Zeroizing<[u8; 32]>, QueryError> {
        self.local_view(tenant)?.keys.token_subkey("browser state").map_err(fault)
    }

    /// The tenant's secret for DPoP nonces (RFC 9449 §8), the same on every replica.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn dpop_nonce_secret(&self, tenant: TenantId) -> Result<Zeroizing<[u8; 32]>, QueryError> {
        self.local_view(tenant)?.keys.token_subkey("DPoP nonce").map_err(fault)
    }

    /// The tenant's secret for opaque access tokens, the same on every replica.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn opaque_token_secret(&self, tenant: TenantId) -> Result<Zeroizing<[u8; 32]>, QueryError> {
        self.local_view(tenant)?.keys.token_subkey("opaque access token").map_err(fault)
    }

    /// The tenant's salt for pairwise subjects (OpenID Connect Core §8.1). It lasts as long as the tenant.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn pairwise_salt(&self, tenant: TenantId) -> Result<Zeroizing<[u8; 32]>, QueryError> {
        self.local_view(tenant)?.keys.token_subkey("pairwise subjects").map_err(fault)
    }
}
