//! What a client's access tokens are made with, and how tokens of ours are read, whatever they look like.

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_iam::keys::SigningKey;
use domicile_iam::model::{AccessTokenClaims, AccessTokenFormat, ClientView, TenantContext};
use domicile_oidc::access_token;
use domicile_oidc::jws::{SignFault, TokenFault};
use domicile_oidc::opaque::{self, Mint, OpaqueTokens, SALT_BYTES};

use super::error::Fault;
use super::state::{PublicKeys, Shared};

/// Makes one access token.
pub enum AccessMint {
    /// As an `at+jwt`.
    Signed(Arc<SigningKey>),
    /// As one that says nothing.
    Sealed {
        /// The tenant's.
        tokens: Arc<OpaqueTokens>,
        /// Of this token.
        salt: [u8; SALT_BYTES],
    },
}

impl AccessMint {
    /// The keys that it signs with, for [`super::sign::SigningPool::run`].
    pub fn keys(&self) -> Vec<&SigningKey> {
        match self {
            Self::Signed(key) => vec![key],
            Self::Sealed { .. } => Vec::new(),
        }
    }
}

impl Mint for AccessMint {
    fn mint(&self, claims: &AccessTokenClaims) -> Result<String, SignFault> {
        match self {
            Self::Signed(key) => key.mint(claims),
            Self::Sealed { tokens, salt } => tokens.seal(claims, *salt),
        }
    }
}

impl Shared {
    /// What makes an access token for `client` at `resources`: an opaque one where the client or one of the resource
    /// servers asks for that.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn access_mint(
        &self,
        tenant: &Arc<TenantContext>,
        client: &ClientView,
        resources: &BTreeSet<String>,
    ) -> Result<Arc<AccessMint>, Fault> {
        let mut format = client.metadata.access_token_format();
        for resource in resources {
            if self.iam.wants_opaque_tokens(tenant.id, resource)? {
                format = AccessTokenFormat::Opaque;
            }
        }
        Ok(Arc::new(match format {
            AccessTokenFormat::Jwt => {
                let algorithm = client.metadata.access_token_signed_response_alg;
                AccessMint::Signed(self.signing_key(tenant, algorithm).await?)
            }
            AccessTokenFormat::Opaque => {
                let mut salt = [0; SALT_BYTES];
                self.clock.fill_random(&mut salt);
                AccessMint::Sealed { tokens: self.opaque_tokens(tenant)?, salt }
            }
        }))
    }

    /// Reads a token of ours that has not expired. Whether it was revoked, `iam` knows.
    ///
    /// # Errors
    /// The inner [`TokenFault`]; [`Fault`].
    pub fn open_access_token(
        &self,
        tenant: &Arc<TenantContext>,
        keys: &PublicKeys,
        token: &str,
    ) -> Result<Result<AccessTokenClaims, TokenFault>, Fault> {
        let now = self.clock.now();
        if !opaque::is_opaque(token) {
            return Ok(access_token::open(token, &tenant.issuer, &keys.set, now));
        }
        let claims = self.opaque_tokens(tenant)?.open(token).ok_or(TokenFault::Malformed);
        Ok(claims.and_then(|claims| access_token::of_issuer(claims, &tenant.issuer, now)))
    }
}
