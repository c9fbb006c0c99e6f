//! Secrets of join tokens. The directory keeps hashes only.
//!
//! One that is asked for with an `Idempotency-Key` follows from the request and from the key of the region's
//! authority. So every node of the region can tell a repeat its token, after a restart too; no secret is kept
//! anywhere, and who has read the directory knows none. Who holds that key can make nodes of the region anyway.

use std::path::Path;

use aws_lc_rs::hmac;
use domicile_iam::execute::RequestContext;
use domicile_raft::Clock;
use domicile_raft::peer::tls::{RegionAuthority, TlsError};
use zeroize::Zeroizing;

use super::files::REGION_CA;

/// What is derived from the authority's key.
const USE: &str = "domicile join token secrets v1";

/// Of one region.
pub(crate) struct JoinSecrets(hmac::Key);

impl JoinSecrets {
    /// Those of the region of this node.
    pub(crate) fn load(root: &Path, clock: &dyn Clock) -> Result<Self, TlsError> {
        Self::of_region(&RegionAuthority::load(&root.join(REGION_CA), clock.now())?)
    }

    fn of_region(authority: &RegionAuthority) -> Result<Self, TlsError> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &authority.derive(USE)?)))
    }

    /// The secret for a request: the same for the same request of the same caller under the same key, a random
    /// one without a key.
    pub(crate) fn of(&self, ctx: &RequestContext, clock: &dyn Clock) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        let Some(idempotency) = &ctx.idempotency else {
            clock.fill_random(secret.as_mut_slice());
            return secret;
        };
        let who = &ctx.actor.who;
        let kind = [who.kind.number()];
        let mut asked = hmac::Context::with_key(&self.0);
        // Lengths first, so that no two requests are the same bytes.
        for part in
            [&kind[..], who.id.as_bytes(), idempotency.key.as_bytes(), idempotency.request_hash.as_slice()]
        {
            asked.update(&(part.len() as u64).to_be_bytes());
            asked.update(part);
        }
        secret.copy_from_slice(asked.sign().as_ref());
        secret
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domicile_iam::execute::IdempotencyKey;
    use domicile_iam::ids::{Id as _, TenantId};
    use domicile_raft::SystemClock;

    use super::*;
    use crate::cluster::directory::system_context;

    fn asked(secrets: &JoinSecrets, key: Option<&str>, hash: u8, who: &str) -> [u8; 32] {
        let clock = SystemClock::new();
        let mut ctx = system_context(&clock, TenantId::from_bytes([0; 16]), Duration::from_secs(1));
        who.clone_into(&mut ctx.actor.who.id);
        ctx.idempotency = key.map(|key| IdempotencyKey { key: key.to_owned(), request_hash: [hash; 32] });
        *secrets.of(&ctx, &clock)
    }

    fn region() -> RegionAuthority {
        RegionAuthority::generate("c1", "eu", SystemClock::new().now()).unwrap()
    }

    #[test]
    fn the_same_request_gets_the_same_secret_and_no_other_does() {
        let secrets = JoinSecrets::of_region(&region()).unwrap();
        let first = asked(&secrets, Some("k"), 1, "usr_1");
        assert_eq!(asked(&secrets, Some("k"), 1, "usr_1"), first);
        let others = [(Some("k"), 2, "usr_1"), (Some("k"), 1, "usr_2"), (Some("l"), 1, "usr_1")];
        for (key, hash, who) in others {
            assert_ne!(asked(&secrets, key, hash, who), first, "{key:?} {hash} {who}");
        }
        assert_ne!(asked(&secrets, Some("ku"), 1, "sr_1"), asked(&secrets, Some("k"), 1, "usr_1"));
        assert_ne!(asked(&secrets, None, 1, "usr_1"), asked(&secrets, None, 1, "usr_1"));
    }

    #[test]
    fn another_node_of_the_region_tells_the_same_secret_and_one_of_another_region_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let clock = SystemClock::new();
        let authority = region();
        authority.store(&directory.path().join(REGION_CA)).unwrap();
        let here = JoinSecrets::of_region(&authority).unwrap();
        let restarted = JoinSecrets::load(directory.path(), &clock).unwrap();
        let elsewhere = JoinSecrets::of_region(&region()).unwrap();
        let told = |secrets: &JoinSecrets| asked(secrets, Some("k"), 1, "usr_1");
        assert_eq!(told(&here), told(&restarted));
        assert_ne!(told(&here), told(&elsewhere));
    }
}
