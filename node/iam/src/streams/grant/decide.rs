//! What may be done to a grant.

use std::collections::BTreeSet;

use super::event::{Allowed, GrantChanged, GrantEvent, GrantGiven, GrantRevoked};
use super::state::Grant;
use crate::commands::Consent;
use crate::ids::{ClientId, UserId};
use crate::streams::event_set::Change;

/// Whether the grant allows all of `scopes` and `claims`.
pub fn covers(grant: Option<&Grant>, scopes: &BTreeSet<String>, claims: &BTreeSet<String>) -> bool {
    let allowed = grant.and_then(|grant| grant.allowed.as_ref());
    allowed.is_some_and(|allowed| allowed.scopes.is_superset(scopes) && allowed.claims.is_superset(claims))
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
    match before {
        None => Some(GrantEvent::Given(GrantGiven { user, client, allowed: after })),
        Some(before) => {
            Change::<Allowed>::between(before, after).map(|allowed| GrantEvent::Changed(GrantChanged { allowed }))
        }
    }
}

/// Takes all back; no event if nothing was allowed.
pub fn decide_revoke(grant: &Grant) -> Option<GrantEvent> {
    grant.allowed.as_ref().map(|_| GrantEvent::Revoked(GrantRevoked {}))
}
