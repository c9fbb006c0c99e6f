//! How assertions that clients sign are to look (RFC 7523 §3, OpenID Connect Core §9).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{AuthMethod, ClientMetadata, SigningAlgorithm};

/// Signature algorithms of assertions that others make (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AssertionAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256; what RFC 7523 §5 asks everyone for.
    RS256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// Ed25519.
    EdDSA,
    /// HMAC with SHA-256 under a client's secret.
    HS256,
}

impl AssertionAlgorithm {
    /// Those under a private key.
    pub const ASYMMETRIC: [Self; 5] = [Self::RS256, Self::PS256, Self::ES256, Self::ES384, Self::EdDSA];

    /// The `alg` value.
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
        }
    }

    /// The algorithm of an `alg` value; `None` for all that is not supported, `none` above all.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ASYMMETRIC.into_iter().chain([Self::HS256]).find(|algorithm| algorithm.name() == name)
    }

    /// The method of client authentication that uses it.
    pub fn method(self) -> AuthMethod {
        if self == Self::HS256 { AuthMethod::ClientSecretJwt } else { AuthMethod::PrivateKeyJwt }
    }
}

impl From<SigningAlgorithm> for AssertionAlgorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::RS256 => Self::RS256,
            SigningAlgorithm::ES256 => Self::ES256,
            SigningAlgorithm::EdDSA => Self::EdDSA,
            SigningAlgorithm::PS256 => Self::PS256,
            SigningAlgorithm::ES384 => Self::ES384,
        }
    }
}

/// Which `aud` of a client assertion is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// The issuer and nothing else (RFC 9700 §2.5 and what it leads to: an audience that a client takes from
    /// another server's metadata must not fit here).
    #[default]
    Issuer,
    /// The token endpoint's URL too, as OpenID Connect Core §9 suggests: for clients that know no other.
    TokenEndpoint,
}

impl AssertionAudience {
    /// Whether it is the default.
    #[must_use]
    pub fn is_issuer(&self) -> bool {
        *self == Self::Issuer
    }
}

/// Members of `extra` that say how assertions are checked. They are not fields, because versions before
/// them kept whatever was sent under these names: what does not fit counts as absent.
impl ClientMetadata {
    /// `jwks` (RFC 7591 §2).
    pub fn jwks(&self) -> Option<&Value> {
        self.extra.get("jwks")
    }

    /// `jwks_uri` (RFC 7591 §2).
    pub fn jwks_uri(&self) -> Option<&str> {
        self.extra.get("jwks_uri")?.as_str()
    }

    /// `token_endpoint_auth_signing_alg` (OpenID Connect Registration §2).
    pub fn assertion_algorithm(&self) -> Option<AssertionAlgorithm> {
        self.extra.get("token_endpoint_auth_signing_alg")?.as_str().and_then(AssertionAlgorithm::from_name)
    }

    /// `token_endpoint_auth_audience`, ours: `issuer` or `token_endpoint`.
    pub fn assertion_audience(&self) -> AssertionAudience {
        match self.extra.get("token_endpoint_auth_audience").and_then(Value::as_str) {
            Some("token_endpoint") => AssertionAudience::TokenEndpoint,
            Some(_) | None => AssertionAudience::Issuer,
        }
    }
}
