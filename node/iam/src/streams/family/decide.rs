//! What a token stands on, and what ends a family.

use domicile_raft::Timestamp;

use super::event::{FamilyEvent, FamilyReuseDetected, FamilyRevocation, FamilyRevoked};
use super::state::Family;
use crate::streams::client::Client;
use crate::streams::grant::Grant;
use crate::streams::user::User;

/// How far ahead of us the clock may be that said when something was issued.
const AHEAD_MAX_MS: u64 = 1_000;

/// What a token stands on beside its session, which [`crate::streams::session::is_live`] judges. A part that the token does not name is `None`; one that it names and that
/// does not exist must have been refused before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing<'a> {
    /// Whose token.
    pub user: Option<&'a User>,
    /// To whom it was issued.
    pub client: Option<&'a Client>,
    /// On which consent.
    pub grant: Option<&'a Grant>,
    /// From which code.
    pub family: Option<&'a Family>,
}

/// Whether all that something issued at `issued_at` stands on holds at `now`. A part that was voided
/// in the very millisecond of issue voids it; so does a time of issue that lies ahead, since no later
/// revocation could reach it.
pub fn stands(standing: &Standing<'_>, issued_at: Timestamp, now: Timestamp) -> bool {
    let user = standing.user.is_none_or(|user| user.is_usable() && issued_at > user.not_before);
    let client =
        standing.client.is_none_or(|client| client.usable().is_some() && issued_at > client.not_before);
    let grant = standing.grant.is_none_or(|grant| grant.allowed.is_some() && issued_at > grant.not_before);
    let family = standing.family.is_none_or(|family| family.origin.is_some() && family.revoked_at.is_none());
    user && client && grant && family && issued_at <= now.plus_ms(AHEAD_MAX_MS)
}

/// Revokes; no event if that happened before.
pub fn decide_revoke(family: &Family, reason: FamilyRevocation) -> Option<FamilyEvent> {
    let open = family.origin.is_some() && family.revoked_at.is_none();
    open.then_some(FamilyEvent::Revoked(FamilyRevoked { reason }))
}

/// A spent token came back (RFC 9700 §4.14.2): the family ends; no event if it had ended before.
pub fn decide_reuse(family: &Family, generation: u32, current: u32) -> Vec<FamilyEvent> {
    match decide_revoke(family, FamilyRevocation::TokenReused) {
        Some(revoked) => {
            vec![FamilyEvent::ReuseDetected(FamilyReuseDetected { generation, current }), revoked]
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::family::FamilyEvent;
    use crate::streams::user::{Person, User};

    fn user(not_before: u64) -> User {
        let text = || crate::personal::Personal::plain("x");
        let person = Person {
            subject: text(),
            username: text(),
            email: None,
            email_verified: false,
            email_held: None,
            phone_number: None,
            phone_number_verified: false,
            claims: None,
            password: None,
            second_factor: None,
        };
        User { person: Some(person), not_before: Timestamp(not_before), ..User::default() }
    }

    #[test]
    fn what_was_issued_up_to_not_before_is_void() {
        let user = user(100);
        let standing = Standing { user: Some(&user), ..Standing::default() };
        for (issued_at, holds) in [(99, false), (100, false), (101, true)] {
            assert_eq!(stands(&standing, Timestamp(issued_at), Timestamp(200)), holds, "{issued_at}");
        }
    }

    #[test]
    fn what_claims_to_be_issued_in_the_future_is_void() {
        for (issued_at, holds) in [(200, true), (1_200, true), (1_201, false)] {
            assert_eq!(
                stands(&Standing::default(), Timestamp(issued_at), Timestamp(200)),
                holds,
                "{issued_at}"
            );
        }
    }

    #[test]
    fn rfc9700_s4_14_2_reuse_ends_a_family_once() {
        let family = Family { origin: None, revoked_at: None };
        assert!(decide_reuse(&family, 1, 2).is_empty(), "what never was cannot end");
        let revoked = FamilyEvent::Revoked(FamilyRevoked { reason: FamilyRevocation::Client });
        let ended = family.evolve(&revoked, Timestamp(5));
        assert!(decide_reuse(&ended, 1, 2).is_empty());
        let again = ended.evolve(&revoked, Timestamp(9));
        assert_eq!(again.revoked_at, Some(Timestamp(5)), "the first end counts");
    }
}
