//! Which scopes mean something at a resource server.

use std::collections::BTreeSet;

use serde::Deserialize as _;

use super::client::ClientMetadata;

/// The client metadata member. Ours, not registered.
pub const RESOURCE_SCOPES: &str = "resource_scopes";

impl ClientMetadata {
    /// The only scopes of tokens for its `resource_identifiers` (RFC 9068 §2.2.3); `None`: any. Like all that is kept in
    /// `extra`, what does not fit counts as absent.
    #[must_use]
    pub fn resource_scopes(&self) -> Option<BTreeSet<String>> {
        BTreeSet::deserialize(self.extra.get(RESOURCE_SCOPES)?).ok()
    }
}
