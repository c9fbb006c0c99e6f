//! Which tokens a client may exchange, and for what (RFC 8693).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::client::ClientMetadata;

/// The client metadata member that holds the policy. Ours, not registered.
pub const TOKEN_EXCHANGE: &str = "token_exchange";
/// The client metadata member that names who may act with this client's tokens. Ours, not registered.
pub const MAY_ACT: &str = "token_exchange_actor";

/// What a client may do at the token exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangePolicy {
    /// Clients (`client_id`) whose tokens it may bring, besides its own and those that name it in `may_act`.
    #[serde(default)]
    pub subject_clients: Vec<String>,
    /// Clients whose tokens it may bring as an actor's, besides its own.
    #[serde(default)]
    pub actor_clients: Vec<String>,
    /// What it may ask a token for by `audience` or `resource`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Scopes at most, space-delimited.
    pub scope: String,
    /// Whether it may get tokens that do not say who acts.
    #[serde(default)]
    pub impersonation: bool,
}

impl ExchangePolicy {
    /// Scopes at most.
    pub fn scopes(&self) -> BTreeSet<String> {
        self.scope.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect()
    }
}

impl ClientMetadata {
    /// What it may exchange. Like all that is kept in `extra`, what does not fit counts as absent.
    pub fn exchange_policy(&self) -> Option<ExchangePolicy> {
        ExchangePolicy::deserialize(self.extra.get(TOKEN_EXCHANGE)?).ok()
    }

    /// The `client_id` that tokens issued to this client name in `may_act` (RFC 8693 §4.4).
    pub fn may_act(&self) -> Option<&str> {
        self.extra.get(MAY_ACT)?.as_str()
    }
}
