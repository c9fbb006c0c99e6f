//! Access tokens that were read before. Who introspects a token or asks for its user's claims does so again and
//! again; its signature, or its seal, is looked at once.
//!
//! What is remembered is what the token says, not that it counts: its end, and what it stands on, are looked at
//! each time.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use domicile_iam::cache::Cache;
use domicile_iam::ids::{Id as _, TenantId};
use domicile_iam::model::AccessTokenClaims;

use super::state::PublicKeys;

/// How many are remembered.
const TOKENS_MAX: usize = 4_096;
/// The longest that is, in bytes.
const TOKEN_BYTES_MAX: usize = 4 * 1_024;

/// What tokens say, by their SHA-256: the tokens themselves are not kept.
///
/// INVARIANT: an entry is given for the very key set that its token was read with, so that a token is verified again
/// after each change of the tenant's keys. The set is kept alive here, so its address cannot come to mean another one.
pub struct KnownTokens {
    tokens: Cache<[u8; 32], Known>,
}

struct Known {
    keys: Arc<PublicKeys>,
    claims: Arc<AccessTokenClaims>,
}

impl Default for KnownTokens {
    fn default() -> Self {
        Self { tokens: Cache::new(TOKENS_MAX) }
    }
}

impl KnownTokens {
    /// What `token` says, if it is known, else what `read` finds, by these keys of its tenant's.
    ///
    /// # Errors
    /// That of `read`; a token that it refuses is not remembered.
    pub fn claims<E>(
        &self,
        tenant: TenantId,
        token: &str,
        keys: &Arc<PublicKeys>,
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
mod tests {
    use domicile_iam::ids::{ClientId, TokenId};
    use domicile_oidc::jws::KeySet;
    use serde_json::json;

    use super::*;
    use crate::public::document::Document;

    fn keys() -> Arc<PublicKeys> {
        let document = Document::new(domicile_oidc::Response::json(200, &json!({ "keys": [] })));
        Arc::new(PublicKeys { set: KeySet::default(), document: Arc::new(document) })
    }

    fn says(sub: &str) -> AccessTokenClaims {
        let claims = json!({
            "iss": "https://id.example", "sub": sub, "aud": ["https://id.example"], "exp": 2, "iat": 1,
            "jti": TokenId::from_bytes([1; 16]), "client_id": "app",
            "dom_cli": ClientId::from_bytes([1; 16]), "dom_iat_ms": 1_000,
        });
        serde_json::from_value(claims).unwrap()
    }

    fn read(known: &KnownTokens, tenant: u8, token: &str, keys: &Arc<PublicKeys>, sub: &str) -> String {
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
    }
}
