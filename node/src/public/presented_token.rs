//! An access token that somebody presents, judged by keys that are no staler than what else is asked about it.
//!
//! A replica may lag. A key that was just made is looked for once more after a read index, so that a token is
//! not refused for its key being young; a key that was revoked counts no longer than a revoked token does.

use std::sync::Arc;

use domicile_iam::ids::{Id as _, SigningKeyId};
use domicile_iam::model::{AccessTokenClaims, TenantContext};
use domicile_iam::query::Consistency;
use domicile_iam::service::TokenStatus;
use domicile_oidc::jws::{self, TokenFault};
use domicile_raft::Timestamp;

use super::error::Fault;
use super::state::{PublicKeys, Shared};

/// How young a key is that a replica may not have yet; also how far a clock may be ahead.
const YOUNG_MS: u64 = 60_000;

/// A token of ours by signature, issuer and expiry.
pub struct Opened {
    /// What it says.
    pub claims: Arc<AccessTokenClaims>,
    keys: Arc<PublicKeys>,
}

impl Shared {
    /// Reads a token; `None` if it is none of ours, or over.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn open_token(
        &self,
        tenant: &Arc<TenantContext>,
        token: &str,
    ) -> Result<Option<Opened>, Fault> {
        let keys = self.keys(tenant).await?;
        match self.open_access_token(tenant, &keys, token)? {
            Ok(claims) => Ok(Some(Opened { claims, keys })),
            Err(TokenFault::UnknownKey) if is_young(token, self.clock.now()) => {
                self.iam.get_tenant(tenant.id, &Consistency::Linearizable).await?;
                let keys = self.keys(tenant).await?;
                Ok(self.open_access_token(tenant, &keys, token)?.ok().map(|claims| Opened { claims, keys }))
            }
            Err(_) => Ok(None),
        }
    }

    /// Whether a token counts, at this consistency.
    ///
    /// # Errors
    /// [`Fault`]; 503 where nobody can tell within the bound.
    pub async fn counts(
        &self,
        tenant: &Arc<TenantContext>,
        token: &str,
        opened: &Opened,
        reads: &Consistency,
    ) -> Result<bool, Fault> {
        match self.iam.check_access_token(tenant.id, &opened.claims, reads).await? {
            TokenStatus::Active => {}
            TokenStatus::Inactive => return Ok(false),
        }
        // Read after the wait: a key that was revoked before the bound is gone from these.
        let keys = self.keys(tenant).await?;
        Ok(Arc::ptr_eq(&keys, &opened.keys) || self.open_access_token(tenant, &keys, token)?.is_ok())
    }
}

/// Whether a token names a key that was made just now, by the time in its id.
fn is_young(token: &str, now: Timestamp) -> bool {
    let id = jws::kid(token).and_then(|kid| kid.parse::<SigningKeyId>().ok());
    id.is_some_and(|id| id.made_at().0.abs_diff(now.0) <= YOUNG_MS)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn only_a_key_that_was_just_made_is_worth_asking_for() {
        let now = Timestamp(1_800_000_000_000);
        let token = |kid: &str| {
            let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#);
            format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header))
        };
        let made = |ms: u64| token(&SigningKeyId::new(Timestamp(ms), [7; 10]).to_string());
        assert!(is_young(&made(now.0), now) && is_young(&made(now.0 - YOUNG_MS), now));
        assert!(!is_young(&made(now.0 - YOUNG_MS - 1), now) && !is_young(&made(now.0 + YOUNG_MS + 1), now));
        assert!(!is_young(&token("sig_unknown"), now) && !is_young("garbage", now));
    }
}
