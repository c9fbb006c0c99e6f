//! What may be done to a grant.

use super::event::{Allowed, GrantChanged, GrantEvent, GrantGiven, GrantRevoked};
use super::state::Grant;
use crate::commands::Consent;
use crate::ids::{ClientId, UserId};
use crate::streams::event_set::Change;

/// Whether the grant allows all of `wanted`.
pub fn covers(grant: Option<&Grant>, wanted: &Consent) -> bool {
    let allowed = grant.and_then(|grant| grant.allowed.as_ref());
    allowed.is_some_and(|allowed| {
        allowed.scopes.is_superset(&wanted.scopes)
            && allowed.claims.is_superset(&wanted.claims)
            && allowed.resources.is_superset(&wanted.resources)
    })
}

/// Adds a consent to what was allowed before; no event if it adds nothing.
pub fn decide_consent(
    grant: Option<&Grant>,
    user: UserId,
    client: ClientId,
    consent: &Consent,
) -> Option<GrantEvent> {
    let before = grant.and_then(|grant| grant.allowed.clone());
    let mut after = before.clone().unwrap_or_default();
    after.scopes.extend(consent.scopes.iter().cloned());
    after.claims.extend(consent.claims.iter().cloned());
    after.resources.extend(consent.resources.iter().cloned());
    match before {
        None => Some(GrantEvent::Given(GrantGiven { user, client, allowed: after })),
        Some(before) => Change::<Allowed>::between(before, after)
            .map(|allowed| GrantEvent::Changed(GrantChanged { allowed })),
    }
}

/// Takes all back; no event if nothing was allowed.
pub fn decide_revoke(grant: &Grant) -> Option<GrantEvent> {
    grant.allowed.as_ref().map(|_| GrantEvent::Revoked(GrantRevoked {}))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domicile_raft::Timestamp;

    use super::*;
    use crate::ids::Id;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn consent(scopes: &[&str]) -> Consent {
        Consent { scopes: names(scopes), ..Consent::default() }
    }

    /// The grant after these consents, each followed by what it was decided to be.
    fn given(consents: &[&[&str]]) -> Option<Grant> {
        let (user, client) = (UserId::from_bytes([1; 16]), ClientId::from_bytes([2; 16]));
        consents.iter().fold(None, |grant: Option<Grant>, scopes| {
            match decide_consent(grant.as_ref(), user, client, &consent(scopes)) {
                Some(event) => Some(Grant::evolve(grant, &event, Timestamp(1))),
                None => grant,
            }
        })
    }

    #[test]
    fn a_consent_adds_to_those_before_it() {
        let grant = given(&[&["openid"], &["email"]]);
        assert!(covers(grant.as_ref(), &consent(&["openid", "email"])));
        assert!(!covers(grant.as_ref(), &consent(&["phone"])));
        assert!(!covers(None, &consent(&[])));
    }

    #[test]
    fn rfc8707_s3_a_scope_that_is_allowed_here_is_not_allowed_at_a_resource_server() {
        let grant = given(&[&["openid"]]);
        let resources = names(&["https://api.example"]);
        let there = Consent { resources, ..consent(&["openid"]) };
        assert!(!covers(grant.as_ref(), &there));
        let (user, client) = (UserId::from_bytes([1; 16]), ClientId::from_bytes([2; 16]));
        let event = decide_consent(grant.as_ref(), user, client, &there).unwrap();
        let after = Grant::evolve(grant, &event, Timestamp(2));
        assert!(covers(Some(&after), &there) && covers(Some(&after), &consent(&["openid"])));
    }

    #[test]
    fn a_consent_to_what_is_allowed_already_is_no_event() {
        let grant = given(&[&["openid", "email"]]);
        let (user, client) = (UserId::from_bytes([1; 16]), ClientId::from_bytes([2; 16]));
        assert_eq!(decide_consent(grant.as_ref(), user, client, &consent(&["email"])), None);
    }

    #[test]
    fn a_revoked_grant_allows_nothing_and_can_be_given_again() {
        let grant = given(&[&["openid"]]).unwrap();
        let revoked = Grant::evolve(Some(grant.clone()), &decide_revoke(&grant).unwrap(), Timestamp(7));
        assert!(!covers(Some(&revoked), &consent(&["openid"])));
        assert_eq!((revoked.not_before, decide_revoke(&revoked)), (Timestamp(7), None));
        let again = decide_consent(Some(&revoked), revoked.user, revoked.client, &consent(&["email"]));
        assert!(matches!(again, Some(GrantEvent::Given(given)) if given.allowed.scopes == names(&["email"])));
    }
}
