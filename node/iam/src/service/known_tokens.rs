//! Access tokens that were read before. Who introspects a token or asks for its user's claims does so again and
//! again; its signature, or its seal, is looked at once.
//!
//! What is remembered is what the token says, not that it counts: its end, and what it stands on, are looked at
//! each time.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::Iam;
use crate::cache::Cache;
use crate::ids::{Id as _, TenantId};
use crate::keys::Jwks;
use crate::model::AccessTokenClaims;

/// How many are remembered.
const TOKENS_MAX: usize = 4_096;
/// The longest that is, in bytes.
const TOKEN_BYTES_MAX: usize = 4 * 1_024;

/// What tokens say, by their SHA-256: the tokens themselves are not kept.
///
/// INVARIANT: an entry is given for the very key set that its token was read with, so that a token is verified again
/// after each change of the tenant's keys. The set is kept alive here, so its address cannot come to mean another one.
pub(super) struct KnownTokens {
    tokens: Cache<[u8; 32], Known>,
}

struct Known {
    keys: Arc<Jwks>,
    claims: Arc<AccessTokenClaims>,
}

impl Default for KnownTokens {
    fn default() -> Self {
        Self { tokens: Cache::new(TOKENS_MAX) }
    }
}

impl KnownTokens {
    /// As [`Iam::token_claims`].
    fn claims<E>(
        &self,
        tenant: TenantId,
        token: &str,
        keys: &Arc<Jwks>,
        read: impl FnOnce() -> Result<AccessTokenClaims, E>,
    ) -> Result<Arc<AccessTokenClaims>, E> {
        if token.len() > TOKEN_BYTES_MAX {
            return read().map(Arc::new);
        }
        let name = name(tenant, token);
        let known = |known: &Known| Arc::ptr_eq(&known.keys, keys).then(|| known.claims.clone());
        if let Some(claims) = self.tokens.look(&name, known) {
            return Ok(claims);
        }
        let claims = Arc::new(read()?);
        self.tokens.put(name, Known { keys: keys.clone(), claims: claims.clone() });
        Ok(claims)
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.tokens.clear();
    }
}

impl Iam {
    /// What an access token says: as it was read before with these public keys of its tenant ([`Iam::jwks`]), else
    /// as `read` finds, which verifies it. Neither its end nor whether it counts is looked at.
    ///
    /// # Errors
    /// That of `read`; a token that it refuses is not remembered.
    pub fn token_claims<E>(
        &self,
        tenant: TenantId,
        token: &str,
        keys: &Arc<Jwks>,
        read: impl FnOnce() -> Result<AccessTokenClaims, E>,
    ) -> Result<Arc<AccessTokenClaims>, E> {
        self.inner.known_tokens.claims(tenant, token, keys, read)
    }
}

fn name(tenant: TenantId, token: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    // Of one length, so that no tenant's token can pass for another's.
    context.update(&tenant.bytes());
    context.update(token.as_bytes());
    let mut name = [0; 32];
    name.copy_from_slice(context.finish().as_ref());
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::{ClientId, TokenId};

    fn keys() -> Arc<Jwks> {
        Arc::default()
    }

    fn says(sub: &str) -> AccessTokenClaims {
        let claims = json!({
            "iss": "https://id.example", "sub": sub, "aud": ["https://id.example"], "exp": 2, "iat": 1,
            "jti": TokenId::from_bytes([1; 16]), "client_id": "app",
            "dom_cli": ClientId::from_bytes([1; 16]), "dom_iat_ms": 1_000,
        });
        serde_json::from_value(claims).unwrap()
    }

    fn read(known: &KnownTokens, tenant: u8, token: &str, keys: &Arc<Jwks>, sub: &str) -> String {
        let tenant = TenantId::from_bytes([tenant; 16]);
        let claims = known.claims::<()>(tenant, token, keys, || Ok(says(sub))).unwrap();
        claims.sub.clone()
    }

    #[test]
    fn a_token_is_read_once_for_each_tenant_and_each_key_set() {
        let (known, first, second) = (KnownTokens::default(), keys(), keys());
        assert_eq!(read(&known, 1, "t", &first, "a"), "a");
        assert_eq!(read(&known, 1, "t", &first, "b"), "a", "remembered");
        assert_eq!(read(&known, 1, "u", &first, "b"), "b", "another token");
        assert_eq!(read(&known, 2, "t", &first, "c"), "c", "another tenant's");
        assert_eq!(read(&known, 1, "t", &second, "d"), "d", "other keys");
        assert_eq!(read(&known, 1, "t", &first, "e"), "e", "the keys of before are others, too");
    }

    #[test]
    fn what_is_refused_is_read_again_and_a_long_token_each_time() {
        let (known, keys) = (KnownTokens::default(), keys());
        let tenant = TenantId::from_bytes([1; 16]);
        assert_eq!(known.claims(tenant, "t", &keys, || Err(7)).err(), Some(7));
        assert_eq!(read(&known, 1, "t", &keys, "a"), "a");
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(read(&known, 1, &long, &keys, "a"), "a");
        assert_eq!(read(&known, 1, &long, &keys, "b"), "b");
        known.clear();
        assert_eq!(read(&known, 1, "t", &keys, "c"), "c");
    }
}
