//! Secrets of join tokens. The directory keeps hashes only.
//!
//! One that is asked for with an `Idempotency-Key` follows from the request and from the key of the region's
//! authority. So every node of the region can tell a repeat its token, after a restart too; no secret is kept
//! anywhere, and who has read the directory knows none. Who holds that key can make nodes of the region anyway: so a
//! token of another region never follows from it. Nor does one whose `Idempotency-Key` is short enough to be guessed.

use std::path::Path;

use aws_lc_rs::hmac;
use domicile_iam::execute::RequestContext;
use domicile_raft::Clock;
use domicile_raft::peer::tls::{RegionAuthority, TlsError};
use zeroize::Zeroizing;

use super::files::REGION_CA;

/// What is derived from the authority's key.
const USE: &str = "domicile join token secrets v1";
/// Bytes of an `Idempotency-Key`, such as a UUID's or more. Shorter ones can be tried out.
const KEY_BYTES_MIN: usize = 16;

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

    /// The secret for a request: the same for the same request of the same caller under the same key. A random
    /// one without a key, under a short one, and for a token that is not of this node's own region.
    pub(crate) fn of(
        &self,
        ctx: &RequestContext,
        of_own_region: bool,
        clock: &dyn Clock,
    ) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        let long = ctx.idempotency.as_ref().filter(|asked| asked.key.len() >= KEY_BYTES_MIN);
        let Some(idempotency) = long.filter(|_| of_own_region) else {
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

    const KEY: &str = "0123456789abcdef";

    fn asked(secrets: &JoinSecrets, key: Option<&str>, hash: u8, who: &str) -> [u8; 32] {
        asked_of(secrets, true, key, hash, who)
    }

    fn asked_of(secrets: &JoinSecrets, own: bool, key: Option<&str>, hash: u8, who: &str) -> [u8; 32] {
        let clock = SystemClock::new();
        let mut ctx = system_context(&clock, TenantId::from_bytes([0; 16]), Duration::from_secs(1));
        who.clone_into(&mut ctx.actor.who.id);
        ctx.idempotency = key.map(|key| IdempotencyKey { key: key.to_owned(), request_hash: [hash; 32] });
        *secrets.of(&ctx, own, &clock)
    }

    fn region() -> RegionAuthority {
        RegionAuthority::generate("c1", "eu", SystemClock::new().now()).unwrap()
    }

    #[test]
    fn the_same_request_gets_the_same_secret_and_no_other_does() {
        let secrets = JoinSecrets::of_region(&region()).unwrap();
        let first = asked(&secrets, Some(KEY), 1, "usr_1");
        assert_eq!(asked(&secrets, Some(KEY), 1, "usr_1"), first);
        let others =
            [(Some(KEY), 2, "usr_1"), (Some(KEY), 1, "usr_2"), (Some("1123456789abcdef"), 1, "usr_1")];
        for (key, hash, who) in others {
            assert_ne!(asked(&secrets, key, hash, who), first, "{key:?} {hash} {who}");
        }
        assert_ne!(asked(&secrets, Some("0123456789abcdefu"), 1, "sr_1"), first);
        assert_ne!(asked(&secrets, None, 1, "usr_1"), asked(&secrets, None, 1, "usr_1"));
    }

    #[test]
    fn a_secret_of_another_region_and_one_under_a_short_key_follow_from_nothing() {
        let secrets = JoinSecrets::of_region(&region()).unwrap();
        for (own, key) in [(false, KEY), (true, &KEY[1..])] {
            let again = || asked_of(&secrets, own, Some(key), 1, "usr_1");
            assert_ne!(again(), again(), "{own} {key}");
        }
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
        let told = |secrets: &JoinSecrets| asked(secrets, Some(KEY), 1, "usr_1");
        assert_eq!(told(&here), told(&restarted));
        assert_ne!(told(&here), told(&elsewhere));
    }
}
