//! What happens to a grant: a user's consent to a client.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, UserId};
use crate::streams::event_set::{Change, Payload, event_set};

event_set! {
    /// Events of a grant.
    GrantEvent {
        /// The user allowed the client something, for the first time or after a revocation.
        Given(GrantGiven) => "grant.given", 1;
        /// The user allowed more or less.
        Changed(GrantChanged) => "grant.changed", 1;
        /// Nothing is allowed any more; what was issued is void.
        Revoked(GrantRevoked) => "grant.revoked", 1;
    }
}

/// What is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Scopes.
    pub scopes: BTreeSet<String>,
    /// Single claims (OpenID Connect Core §5.5).
    #[serde(default)]
    pub claims: BTreeSet<String>,
    /// Resource servers that the scopes may be used at (RFC 8707), beside the issuer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
}

/// `grant.given`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantGiven {
    /// Who allowed.
    pub user: UserId,
    /// Whom.
    pub client: ClientId,
    /// What.
    pub allowed: Allowed,
}

impl Payload for GrantGiven {}

/// `grant.changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantChanged {
    /// What.
    pub allowed: Change<Allowed>,
}

impl Payload for GrantChanged {}

/// `grant.revoked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRevoked {}

impl Payload for GrantRevoked {}
