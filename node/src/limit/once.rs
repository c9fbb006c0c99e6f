//! What may be used once: assertions by their `jti` (RFC 7523 §3, OpenID Connect Core §9).
//!
//! Held in this node's memory until the assertion would be refused for its age, and bounded. A request that
//! writes is served by the leader of its tenant's partition, so that one node sees all of a tenant's code and
//! refresh requests; an assertion that was used at another node for introspection, or before this node started or
//! became leader, is not known here. Who has such a one can use it once more while it counts, which is minutes: codes and
//! refresh tokens are used once by the log's word besides, but a token by client credentials needs nothing else. That the
//! assertion went to us under TLS, and to nobody else by its audience, is what stands in the way (docs/adr/0014).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use domicile_iam::ids::{Id as _, RequestId, TenantId};

/// Uses held at most.
const USES_MAX: usize = 131_072;
/// Uses of one party held at most, so that none takes up all.
const USES_OF_ONE_MAX: usize = 32_768;

/// Why a use is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnceError {
    /// Used before.
    #[error("used before")]
    Used,
    /// No room to remember it: none is taken that could be replayed.
    #[error("too many assertions are in use")]
    Full,
}

/// Uses of this node.
#[derive(Default)]
pub struct UsedOnce {
    inner: Mutex<Uses>,
}

#[derive(Default)]
struct Uses {
    by_key: HashMap<[u8; 32], Seen>,
    by_end: BTreeSet<(u64, [u8; 32])>,
    of_party: HashMap<[u8; 32], usize>,
}

struct Seen {
    request: RequestId,
    party: [u8; 32],
}

impl UsedOnce {
    /// Marks `jti` of `party` in `tenant` as used by `request` until `until_s` (seconds since 1970). The same
    /// request may come twice: it was sent on and came back.
    ///
    /// # Errors
    /// [`OnceError`].
    pub fn take(
        &self,
        (tenant, party): (TenantId, &str),
        jti: &str,
        until_s: u64,
        request: RequestId,
        now_s: u64,
    ) -> Result<(), OnceError> {
        let party = digest(&[&tenant.bytes(), party.as_bytes()]);
        let key = digest(&[&party, jti.as_bytes()]);
        let mut uses = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        uses.forget(now_s);
        if let Some(seen) = uses.by_key.get(&key) {
            return if seen.request == request { Ok(()) } else { Err(OnceError::Used) };
        }
        let of_one = uses.of_party.get(&party).copied().unwrap_or_default();
        if uses.by_key.len() >= USES_MAX || of_one >= USES_OF_ONE_MAX {
            return Err(OnceError::Full);
        }
        uses.by_key.insert(key, Seen { request, party });
        uses.by_end.insert((until_s, key));
        uses.of_party.insert(party, of_one + 1);
        Ok(())
    }
}

impl Uses {
    fn forget(&mut self, now_s: u64) {
        while let Some((_, key)) = self.by_end.first().copied().filter(|(until_s, _)| *until_s <= now_s) {
            self.by_end.pop_first();
            let Some(seen) = self.by_key.remove(&key) else { continue };
            if let Some(count) = self.of_party.get_mut(&seen.party) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of_party.remove(&seen.party);
                }
            }
        }
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        // Its length first: no two lists of parts give the same bytes.
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(used: &UsedOnce, who: (u8, &str), jti: &str, request: u8, now_s: u64) -> Result<(), OnceError> {
        let who = (TenantId::from_bytes([who.0; 16]), who.1);
        used.take(who, jti, 100, RequestId::from_bytes([request; 16]), now_s)
    }

    #[test]
    fn rfc7523_s3_an_assertion_is_used_once_by_its_own_client_until_it_ends() {
        let used = UsedOnce::default();
        take(&used, (1, "app"), "j", 1, 0).unwrap();
        assert_eq!(take(&used, (1, "app"), "j", 2, 99), Err(OnceError::Used));
        take(&used, (1, "app"), "j", 1, 99).expect("the same request");
        take(&used, (1, "other"), "j", 3, 99).expect("another client's");
        take(&used, (2, "app"), "j", 4, 99).expect("another tenant's");
        take(&used, (1, "ap"), "pj", 5, 99).expect("parts do not run together");
        take(&used, (1, "app"), "j", 6, 100).expect("over, and refused for its age");
    }

    #[test]
    fn one_client_cannot_take_up_the_room_of_others_and_gets_its_own_back() {
        let used = UsedOnce::default();
        for number in 0..USES_OF_ONE_MAX {
            take(&used, (1, "app"), &number.to_string(), 1, 0).unwrap();
        }
        assert_eq!(take(&used, (1, "app"), "more", 1, 0), Err(OnceError::Full));
        take(&used, (1, "other"), "j", 1, 0).unwrap();
        take(&used, (1, "app"), "more", 1, 100).unwrap();
        assert_eq!(used.inner.lock().unwrap().of_party.len(), 1, "what is over takes up nothing");
    }
}
