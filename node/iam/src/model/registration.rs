//! Who may register clients without an operator, and what (RFC 7591 §3).

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::assertion::AssertionAudience;
use super::client::{AuthMethod, ClientMetadata, GrantType};
use super::tenant::{InvalidSetting, is_scope_token};
use crate::ids::{InitialAccessTokenId, UserId};
use crate::keys::ForeignKeys;

/// The client metadata member with the lifetime of its access tokens, in seconds. Ours, not registered.
pub const ACCESS_TOKEN_LIFETIME: &str = "access_token_lifetime_s";
/// OpenID Connect Registration §2.
pub const SECTOR_IDENTIFIER_URI: &str = "sector_identifier_uri";
/// RFC 7591 §2.3: kept as it was sent, and shown again.
pub const SOFTWARE_STATEMENT: &str = "software_statement";
/// Origins of pages that may call endpoints for this client by script. Ours, not registered.
pub const ALLOWED_ORIGINS: &str = "allowed_origins";

/// Whether clients may register themselves (RFC 7591 §1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Nobody but operators makes clients. The default.
    #[default]
    Closed,
    /// Whoever holds an initial access token.
    InitialAccessToken,
    /// Anybody.
    Open,
}

impl Registration {
    /// Whether it is the default, which is left out of what is stored.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::InitialAccessToken | Self::Open => false,
        }
    }
}

/// What may be registered without an operator. Empty lists of hosts, schemes and scopes set no bound.
#[allow(clippy::struct_excessive_bools, reason = "each is forced by itself, or not")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistrationPolicy {
    /// Grants that may be registered; others are left out of what is asked for.
    pub grant_types: Vec<GrantType>,
    /// Methods of client authentication that may be registered.
    pub token_endpoint_auth_methods: Vec<AuthMethod>,
    /// Hosts of redirect URIs: `app.example.org`, or `*.example.org` for all below it.
    pub redirect_uri_hosts: Vec<String>,
    /// Schemes of redirect URIs, besides what every redirect URI must keep to.
    pub redirect_uri_schemes: Vec<String>,
    /// Whose audience in client assertions is right: the issuer alone, or the token endpoint's URL too, which
    /// OpenID Connect Core §9 suggests and clients that know only that send.
    #[serde(skip_serializing_if = "AssertionAudience::is_issuer")]
    pub token_endpoint_auth_audience: AssertionAudience,
    /// Scopes that may be registered; where a request names none, it gets these.
    pub scopes: Vec<String>,
    /// Lifetime of access tokens at most, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime_max_s: Option<u64>,
    /// Whether each client must use PKCE.
    pub require_pkce: bool,
    /// Whether each client must push its authorization requests (RFC 9126).
    pub require_pushed_authorization_requests: bool,
    /// Whether each client gets bound access tokens only (RFC 9449).
    pub dpop_bound_access_tokens: bool,
    /// Whether refresh tokens of each client rotate, whatever it asks for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forbid_static_refresh_tokens: bool,
    /// Whether browsers are sent to redirect URIs of clients that registered themselves without a person's leave,
    /// with errors for one (RFC 9700 §4.11.2). Counts as it is now, also for those that were registered before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub trust_redirect_uris: bool,
    /// Whether each registration must bring a software statement (RFC 7591 §2.3).
    pub require_software_statement: bool,
    /// Whose software statements are believed.
    pub software_statement_issuers: Vec<StatementIssuer>,
}

impl Default for RegistrationPolicy {
    fn default() -> Self {
        Self {
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            token_endpoint_auth_methods: vec![
                AuthMethod::ClientSecretBasic,
                AuthMethod::ClientSecretPost,
                AuthMethod::ClientSecretJwt,
                AuthMethod::PrivateKeyJwt,
                AuthMethod::None,
            ],
            redirect_uri_hosts: Vec::new(),
            redirect_uri_schemes: Vec::new(),
            token_endpoint_auth_audience: AssertionAudience::Issuer,
            scopes: Vec::new(),
            access_token_lifetime_max_s: None,
            require_pkce: false,
            require_pushed_authorization_requests: false,
            dpop_bound_access_tokens: false,
            forbid_static_refresh_tokens: false,
            trust_redirect_uris: false,
            require_software_statement: false,
            software_statement_issuers: Vec::new(),
        }
    }
}

impl RegistrationPolicy {
    /// Whether it is the default, which is left out of what is stored.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who signs software statements that are believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementIssuer {
    /// `iss`, byte by byte.
    pub issuer: String,
    /// Its public keys (RFC 7517 §5).
    pub jwks: Value,
}

/// Who had a client registered, where that was no operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delegate {
    /// Somebody, in a tenant that is open for that.
    Anybody,
    /// Who held this initial access token.
    InitialAccessToken(InitialAccessTokenId),
    /// A user with the right to register clients.
    Developer(UserId),
}

/// That a client was not registered by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// By whom then.
    pub by: Delegate,
    /// The bounds of what may be registered, where the tenant's present ones are not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<RegistrationPolicy>,
}

impl Delegation {
    /// The user whose client it is.
    #[must_use]
    pub fn owner(&self) -> Option<UserId> {
        match self.by {
            Delegate::Developer(user) => Some(user),
            Delegate::Anybody | Delegate::InitialAccessToken(_) => None,
        }
    }

    /// Whether the client's redirect URIs are trusted (RFC 9700 §4.11.2): an operator gave the token that it was
    /// registered with, or says so of all. `tenants` is the tenant's present policy.
    #[must_use]
    pub fn trusts_redirect_uris(&self, tenants: &RegistrationPolicy) -> bool {
        match self.by {
            Delegate::InitialAccessToken(_) => true,
            Delegate::Anybody | Delegate::Developer(_) => {
                self.policy.as_ref().unwrap_or(tenants).trust_redirect_uris
            }
        }
    }
}

/// An initial access token (RFC 7591 §1.2) as the admin API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialAccessTokenView {
    /// Its id.
    pub id: InitialAccessTokenId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How many clients it may register; `None`: any number.
    pub uses_max: Option<u32>,
    /// How many it registered.
    pub uses: u32,
    /// Its own bounds of what may be registered; the tenant's where absent.
    pub policy: Option<RegistrationPolicy>,
}

impl ClientMetadata {
    /// The lifetime of its access tokens that was registered, in seconds.
    #[must_use]
    pub fn access_token_lifetime_s(&self) -> Option<u64> {
        self.extra.get(ACCESS_TOKEN_LIFETIME).and_then(Value::as_u64)
    }

    /// Where the redirect URIs of its sector are listed.
    #[must_use]
    pub fn sector_identifier_uri(&self) -> Option<&str> {
        self.extra.get(SECTOR_IDENTIFIER_URI).and_then(Value::as_str)
    }
}

/// Values of each list of a policy at most.
const LIST_MAX: usize = 64;
const DAY_S: u64 = 86_400;

impl RegistrationPolicy {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`InvalidSetting`] names `registration_policy` and what it breaks.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let broken = self.rules().into_iter().find(|(holds, ..)| !holds);
        broken.map_or(Ok(()), |(_, field, rule)| Err(InvalidSetting { field, rule }))
    }

    /// Every bound with its field and text, and whether it holds.
    pub(super) fn rules(&self) -> Vec<(bool, &'static str, &'static str)> {
        let lists = [
            self.grant_types.len(),
            self.redirect_uri_hosts.len(),
            self.redirect_uri_schemes.len(),
            self.scopes.len(),
            self.software_statement_issuers.len(),
        ];
        let lifetime = self.access_token_lifetime_max_s.unwrap_or(1);
        let issuers = &self.software_statement_issuers;
        let usable = |issuer: &StatementIssuer| {
            !issuer.issuer.is_empty() && ForeignKeys::parse(&issuer.jwks).is_ok_and(|keys| !keys.is_empty())
        };
        vec![
            (lists.into_iter().all(|count| count <= LIST_MAX), POLICY, "has a list of over 64 values"),
            (!self.grant_types.is_empty(), POLICY, "allows no grant type"),
            (!self.token_endpoint_auth_methods.is_empty(), POLICY, "allows no method of authentication"),
            (
                self.redirect_uri_hosts.iter().all(|host| is_host_pattern(host)),
                POLICY,
                "has a host that is no host, nor `*.` and one",
            ),
            (
                self.redirect_uri_schemes.iter().all(|scheme| is_scheme(scheme)),
                POLICY,
                "has a scheme that is none in lower case",
            ),
            (
                self.scopes.iter().all(|scope| is_scope_token(scope)),
                POLICY,
                "has a scope that is no scope token",
            ),
            ((1..=DAY_S).contains(&lifetime), POLICY, "has a token lifetime that is not 1 to 86400 seconds"),
            (issuers.iter().all(usable), POLICY, "has a software statement issuer without a usable key"),
            (
                !self.require_software_statement || !issuers.is_empty(),
                POLICY,
                "requires software statements and believes nobody's",
            ),
        ]
    }
}

const POLICY: &str = "registration_policy";

/// A host name in lower case, or all below one.
fn is_host_pattern(text: &str) -> bool {
    let host = text.strip_prefix("*.").unwrap_or(text);
    !host.contains('*')
        && !host.is_empty()
        && host.len() <= 253
        && url::Host::parse(host).is_ok_and(|parsed| parsed.to_string() == host)
}

/// RFC 3986 §3.1, in lower case.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    #[test]
    fn rfc9700_s4_11_2_operators_say_whose_redirect_uris_are_trusted() {
        let by = |by, policy| Delegation { by, policy };
        let trusting = RegistrationPolicy { trust_redirect_uris: true, ..RegistrationPolicy::default() };
        let wary = RegistrationPolicy::default();
        let token = Delegate::InitialAccessToken(InitialAccessTokenId::from_bytes([1; 16]));
        assert!(by(token, None).trusts_redirect_uris(&wary), "an operator gave the token");
        for delegate in [Delegate::Anybody, Delegate::Developer(UserId::from_bytes([2; 16]))] {
            assert!(!by(delegate, None).trusts_redirect_uris(&wary));
            assert!(by(delegate, None).trusts_redirect_uris(&trusting));
            assert!(
                !by(delegate, Some(wary.clone())).trusts_redirect_uris(&trusting),
                "its own policy counts"
            );
        }
        assert!(wary.is_default() && !trusting.is_default());
        let stored = serde_json::to_value(&wary).unwrap();
        assert!(stored.get("trust_redirect_uris").is_none(), "as it was stored before: {stored}");
    }
}
