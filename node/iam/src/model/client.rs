//! What a client is: RFC 7591 §2 and OpenID Connect Registration §2 metadata, typed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::AssertionAlgorithm;
use super::registration::Delegation;
use crate::ids::{ClientId, CredentialId};
use crate::personal::Personal;
use domicile_raft::Timestamp;

/// How a client proves itself at the token endpoint (RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// HTTP Basic with form-encoded parts (RFC 6749 §2.3.1). The default.
    ClientSecretBasic,
    /// Secret in the form body.
    ClientSecretPost,
    /// An assertion under the secret as an HMAC key (OpenID Connect Core §9).
    ClientSecretJwt,
    /// An assertion under a registered key (RFC 7523 §2.2; OpenID Connect Core §9).
    PrivateKeyJwt,
    /// A public client.
    None,
}

impl AuthMethod {
    /// Whether a client that uses it has secrets.
    pub fn uses_secret(self) -> bool {
        match self {
            Self::ClientSecretBasic | Self::ClientSecretPost | Self::ClientSecretJwt => true,
            Self::PrivateKeyJwt | Self::None => false,
        }
    }
}

/// `application_type` (OpenID Connect Registration §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationType {
    /// Runs on a server or in a browser.
    #[default]
    Web,
    /// Runs on the user's device (RFC 8252): loopback redirects with any port.
    Native,
}

/// Grants of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 7523 §2.1.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
    /// RFC 8628.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    /// RFC 8693.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

/// Signature algorithms for tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits; what OIDC asks for by default.
    #[default]
    RS256,
    /// ECDSA on P-256.
    ES256,
    /// Ed25519 (RFC 8037).
    EdDSA,
    /// RSASSA-PSS with SHA-256, 2048 bits.
    PS256,
    /// ECDSA on P-384.
    ES384,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::RS256, Self::ES256, Self::EdDSA, Self::PS256, Self::ES384];

    /// The `alg` value (RFC 7518 §3.1, RFC 8037 §3.1).
    pub fn name(self) -> &'static str {
        AssertionAlgorithm::from(self).name()
    }

    /// Whether a key is made in microseconds; RSA takes a tenth of a second and more.
    pub fn is_made_quickly(self) -> bool {
        match self {
            Self::ES256 | Self::EdDSA | Self::ES384 => true,
            Self::RS256 | Self::PS256 => false,
        }
    }
}

/// Whether all clients know a user by one `sub` (OpenID Connect Core §8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectType {
    /// By the same.
    #[default]
    Public,
    /// By another in each sector, so that clients cannot tell that they mean one person.
    Pairwise,
}

/// RFC 7591 metadata as stored. Everything a registration may say is here or in `extra`, so that a
/// read gives back what was written. Invariants (redirect URIs absolute and without fragment, grants
/// that fit the response types...) are checked by `decide` before it is stored.
#[allow(clippy::struct_excessive_bools, reason = "registered switches stand for themselves (RFC 7591 §2)")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// Shown on the consent page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// Compared exactly (RFC 9700 §2.1), but for loopback ports of native clients.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Where RP-initiated logout may return.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    /// `code` only, for now.
    #[serde(default = "default_response_types")]
    pub response_types: Vec<String>,
    /// Which grants it may use.
    #[serde(default = "default_grant_types")]
    pub grant_types: Vec<GrantType>,
    /// How it authenticates.
    #[serde(default = "default_auth_method")]
    pub token_endpoint_auth_method: AuthMethod,
    /// Web or native.
    #[serde(default)]
    pub application_type: ApplicationType,
    /// Scopes it may ask for, space-delimited; absent means all of the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// ID token signature.
    #[serde(default)]
    pub id_token_signed_response_alg: SigningAlgorithm,
    /// Access token (`at+jwt`) signature. Ours, not registered.
    #[serde(default)]
    pub access_token_signed_response_alg: SigningAlgorithm,
    /// Whether a code request without PKCE is refused. Public clients: always.
    #[serde(default)]
    pub require_pkce: bool,
    /// Seconds; when absent `max_age` of the request decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<u64>,
    /// Whether ID tokens always carry `auth_time`.
    #[serde(default)]
    pub require_auth_time: bool,
    /// Used when a request names no `acr_values`.
    #[serde(default)]
    pub default_acr_values: Vec<String>,
    /// A resource server that may introspect tokens whose `aud` names it: its identifiers.
    #[serde(default)]
    pub resource_identifiers: Vec<String>,
    /// Whether authorization requests must be pushed (RFC 9126 §6). Absent in older registrations,
    /// whose bytes stay as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_pushed_authorization_requests: bool,
    /// Whether it gets no access token but bound ones (RFC 9449 §5.2). Absent in older registrations.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dpop_bound_access_tokens: bool,
    /// Signature of userinfo answers (OpenID Connect Registration §2); plain JSON where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_signed_response_alg: Option<SigningAlgorithm>,
    /// Signature of introspection answers where one is asked for (RFC 9701 §6); RS256 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection_signed_response_alg: Option<SigningAlgorithm>,
    /// Which `sub` it sees; public where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_type: Option<SubjectType>,
    /// Where logout tokens are sent (OpenID Connect Back-Channel Logout §2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_uri: Option<String>,
    /// Whether logout tokens must have a `sid` (§2.2). Ours always have one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backchannel_logout_session_required: bool,
    /// Everything else that was registered (`client_uri`, `logo_uri`, `contacts`, `policy_uri`,
    /// `tos_uri`, `software_id`, language-tagged names ...).
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

fn default_response_types() -> Vec<String> {
    vec!["code".to_owned()]
}

fn default_grant_types() -> Vec<GrantType> {
    vec![GrantType::AuthorizationCode]
}

fn default_auth_method() -> AuthMethod {
    AuthMethod::ClientSecretBasic
}

/// A client as the protocol and the admin API see it. No secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientView {
    /// Internal id.
    pub id: ClientId,
    /// The OAuth `client_id`: the id's text, or what an import gave.
    pub client_id: String,
    /// Registered metadata.
    pub metadata: ClientMetadata,
    /// Credentials without their secrets.
    pub credentials: Vec<CredentialView>,
    /// Disabled clients can do nothing.
    pub disabled: bool,
    /// Tokens issued before this are refused.
    pub not_before: Timestamp,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Who had it registered, where that was no operator.
    pub delegation: Option<Delegation>,
    /// SHA-256 of the token that its registration is managed by (RFC 7592). Never serialised.
    #[serde(skip)]
    pub registration_access_sha256: Option<[u8; 32]>,
    /// Stream revision, for conditional changes.
    pub revision: u64,
}

/// One of a client's credentials; two may overlap while a secret is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CredentialView {
    /// Its id.
    pub id: CredentialId,
    /// SHA-256 of the secret (256 random bits); compared in constant time. Never serialised.
    #[serde(skip)]
    pub secret_sha256: [u8; 32],
    /// The secret as it is kept for HMAC, sealed under the tenant's key; `client_secret_jwt` only.
    #[serde(skip)]
    pub sealed_secret: Option<Personal>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it stops to work.
    pub expires_at: Option<Timestamp>,
}
