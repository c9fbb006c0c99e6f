//! Secrets of join tokens that were asked for with an `Idempotency-Key`. The directory keeps hashes only, so
//! a repeat can be told its token by the node that made it, and by no other.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use domicile_iam::execute::RequestContext;
use domicile_iam::proposal::ActorRef;
use domicile_raft::Clock;
use zeroize::Zeroizing;

/// The latest are kept.
const KEPT_MAX: usize = 64;

/// Who asked, under which key, for what.
#[derive(Clone, PartialEq, Eq)]
struct Asked {
    who: ActorRef,
    key: String,
    request_hash: [u8; 32],
}

/// Of this start of the node.
#[derive(Default)]
pub(crate) struct JoinSecrets(Mutex<VecDeque<(Asked, Zeroizing<[u8; 32]>)>>);

impl JoinSecrets {
    /// The secret for a request: that of the same request before, or a new one.
    pub(crate) fn of(&self, ctx: &RequestContext, clock: &dyn Clock) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        clock.fill_random(secret.as_mut_slice());
        let Some(idempotency) = &ctx.idempotency else { return secret };
        let asked = Asked {
            who: ctx.actor.who.clone(),
            key: idempotency.key.clone(),
            request_hash: idempotency.request_hash,
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, before)) = kept.iter().find(|(known, _)| *known == asked) {
            return before.clone();
        }
        kept.push_back((asked, secret.clone()));
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
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

    #[test]
    fn the_same_request_gets_the_same_secret_and_no_other_does() {
        let (secrets, clock) = (JoinSecrets::default(), SystemClock::new());
        let asked = |key: Option<&str>, hash: u8, who: &str| {
            let mut ctx = system_context(&clock, TenantId::from_bytes([0; 16]), Duration::from_secs(1));
            who.clone_into(&mut ctx.actor.who.id);
            ctx.idempotency = key.map(|key| IdempotencyKey { key: key.to_owned(), request_hash: [hash; 32] });
            *secrets.of(&ctx, &clock)
        };
        let first = asked(Some("k"), 1, "usr_1");
        assert_eq!(asked(Some("k"), 1, "usr_1"), first);
        assert_ne!(asked(Some("k"), 2, "usr_1"), first);
        assert_ne!(asked(Some("k"), 1, "usr_2"), first);
        assert_ne!(asked(Some("l"), 1, "usr_1"), first);
        assert_ne!(asked(None, 1, "usr_1"), asked(None, 1, "usr_1"));
    }

    #[test]
    fn only_the_latest_are_kept() {
        let (secrets, clock) = (JoinSecrets::default(), SystemClock::new());
        let mut ctx = system_context(&clock, TenantId::from_bytes([0; 16]), Duration::from_secs(1));
        let mut asked = |key: usize| {
            ctx.idempotency = Some(IdempotencyKey { key: key.to_string(), request_hash: [0; 32] });
            *secrets.of(&ctx, &clock)
        };
        let first = asked(0);
        let rest: Vec<[u8; 32]> = (1..=KEPT_MAX).map(&mut asked).collect();
        assert_ne!(asked(0), first);
        assert_eq!(asked(KEPT_MAX), *rest.last().unwrap());
    }
}
