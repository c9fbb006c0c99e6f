//! Whose assertions a client may trade for tokens (RFC 7523 §2.1).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::ClientMetadata;

/// The client metadata member that lists them. Ours, not registered.
pub const TRUSTED_ISSUERS: &str = "trusted_assertion_issuers";

/// An issuer whose word about users counts, when one client brings it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// `iss` of its assertions, byte by byte.
    pub issuer: String,
    /// Its public keys, or
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// What `sub` names a user by.
    #[serde(default)]
    pub subject: SubjectKind,
    /// Scopes that its assertions may give at most, space-delimited.
    pub scope: String,
}

/// What names a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// The subject that our own tokens name.
    #[default]
    Subject,
    /// The login name.
    Username,
    /// The e-mail address, once it is verified.
    Email,
}

impl TrustedIssuer {
    /// Scopes at most.
    pub fn scopes(&self) -> BTreeSet<String> {
        self.scope.split(' ').filter(|token| !token.is_empty()).map(str::to_owned).collect()
    }
}

impl ClientMetadata {
    /// The issuer of this name, if the client may bring its assertions. Like all that is kept in `extra`, what does not
    /// fit counts as absent.
    pub fn trusted_issuer(&self, name: &str) -> Option<TrustedIssuer> {
        let mut listed = self.extra.get(TRUSTED_ISSUERS)?.as_array()?.iter();
        let found = listed.find(|listed| listed.get("issuer").and_then(Value::as_str) == Some(name))?;
        TrustedIssuer::deserialize(found).ok()
    }
}
