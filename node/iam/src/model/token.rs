//! What passes between the authorization endpoint, the store and the token endpoint.

use std::collections::{BTreeMap, BTreeSet};

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, FamilyId, GrantId, SessionId, TokenId, UserId};

/// One proof of who the user is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// `pwd` and others of RFC 8176.
    pub method: String,
    /// When it happened.
    pub at: Timestamp,
    /// The assurance it gives, an `acr` value.
    pub acr: String,
}

/// A login session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// In order of time; the last gives `auth_time`.
    pub authentications: Vec<Authentication>,
    /// `sid` by client (OpenID Connect Front-Channel Logout §3), given at the first code.
    pub clients: BTreeMap<ClientId, String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ends without use.
    pub idle_expires_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

/// Where a session was begun. Personal: sealed at rest, shown to its user, and no part of any log.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct SessionOrigin {
    /// The address that the login came from.
    pub address: Option<String>,
    /// What the browser called itself.
    pub agent: Option<String>,
}

/// What a user allowed a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantView {
    /// Its id.
    pub id: GrantId,
    /// Who allowed.
    pub user: UserId,
    /// Whom.
    pub client: ClientId,
    /// What.
    pub scopes: BTreeSet<String>,
    /// Single claims asked for through `claims` and allowed.
    pub claims: BTreeSet<String>,
    /// Resource servers that the scopes may be used at (RFC 8707), beside the issuer.
    pub resources: BTreeSet<String>,
    /// Tokens issued before this are refused.
    pub not_before: Timestamp,
}

/// A PKCE challenge (RFC 7636 §4.3). Only S256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PkceChallenge {
    /// BASE64URL(SHA-256(verifier)), 43 characters.
    pub s256: String,
}

/// How one claim is asked for (OpenID Connect Core §5.5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Needed for a smooth experience; its lack is no error.
    #[serde(default)]
    pub essential: bool,
    /// The only value wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// The values wanted, in order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<serde_json::Value>,
}

/// The `claims` parameter (OpenID Connect Core §5.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsRequest {
    /// For the userinfo response.
    #[serde(default)]
    pub userinfo: BTreeMap<String, ClaimRequest>,
    /// For the ID token.
    #[serde(default)]
    pub id_token: BTreeMap<String, ClaimRequest>,
    /// Languages wanted for both, best first (`claims_locales`, §5.2). None: all there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locales: Vec<String>,
}

/// What a valid authorization request asks a code for. Stored with the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRequest {
    /// Who asks.
    pub client: ClientId,
    /// Where the code goes; compared again at redemption (RFC 6749 §4.1.3).
    pub redirect_uri: String,
    /// Whether the request named it (if it did, redemption must).
    pub redirect_uri_given: bool,
    /// What is asked for.
    pub scopes: BTreeSet<String>,
    /// PKCE, where used.
    pub challenge: Option<PkceChallenge>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// Single claims.
    pub claims: ClaimsRequest,
    /// Whether `auth_time` must be in the ID token (`max_age` given, or registered).
    pub auth_time_wanted: bool,
    /// The `acr` reached.
    pub acr: Option<String>,
    /// Thumbprint of the key that alone may redeem the code (RFC 9449 §10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// What tokens are for (RFC 8707 §2.1); none: the issuer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
}

/// A code on its way to the client, in clear only here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizedCode {
    /// 256 random bits, base64url.
    pub code: String,
    /// `sid` of this client in the session.
    pub sid: String,
}

/// What the token endpoint needs to build a response, from a redeemed code or a rotated refresh token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// The family.
    pub family: FamilyId,
    /// The grant.
    pub grant: GrantId,
    /// The session, while it lives; an offline family outlives it.
    pub session: Option<SessionId>,
    /// `sid`.
    pub sid: Option<String>,
    /// The user.
    pub user: UserId,
    /// The client.
    pub client: ClientId,
    /// Scopes of this access token (a refresh may narrow them).
    pub scopes: BTreeSet<String>,
    /// Claims asked for.
    pub claims: ClaimsRequest,
    /// From the request; only for the ID token of a redeemed code.
    pub nonce: Option<String>,
    /// When the user last proved who they are.
    pub auth_time: Timestamp,
    /// Whether to say it.
    pub auth_time_wanted: bool,
    /// Assurance reached.
    pub acr: Option<String>,
    /// Methods used (`amr`).
    pub amr: Vec<String>,
    /// The access token's id.
    pub token_id: TokenId,
    /// The refresh token in clear, if the client and the scopes allow one.
    pub refresh_token: Option<String>,
    /// Now, in log time: `iat`.
    pub issued_at: Timestamp,
    /// Thumbprint of the key that the access token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// What the access token is for; none: the issuer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resources: BTreeSet<String>,
}

/// A key that a token request showed to hold (RFC 9449), and how its proof is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProof {
    /// The key's thumbprint (RFC 7638).
    pub jkt: String,
    /// Stands for the proof: SHA-256 of thumbprint and `jti`.
    pub id: [u8; 32],
    /// When the proof counts no more.
    pub ends_at: Timestamp,
}

/// `cnf`: what the bearer of a token must hold besides (RFC 7800 §3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Thumbprint of a DPoP key (RFC 9449 §6.1).
    pub jkt: String,
}

/// Claims of our `at+jwt` access tokens (RFC 9068 §2.2) that the store checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// Issuer.
    pub iss: String,
    /// Subject: the user's, or the client's id for client credentials.
    pub sub: String,
    /// Audience.
    pub aud: Vec<String>,
    /// Seconds.
    pub exp: u64,
    /// Seconds.
    pub iat: u64,
    /// Revocation record key.
    pub jti: TokenId,
    /// OAuth client id.
    pub client_id: String,
    /// Space-delimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Milliseconds of `iat`, so that a `not_before` within one second decides rightly.
    #[serde(rename = "dom_iat_ms")]
    pub issued_at: Timestamp,
    /// Our ids, to check each `not_before`.
    #[serde(rename = "dom_usr", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The client.
    #[serde(rename = "dom_cli")]
    pub client: ClientId,
    /// The session.
    #[serde(rename = "dom_ses", default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The grant.
    #[serde(rename = "dom_gra", default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The family.
    #[serde(rename = "dom_fam", default, skip_serializing_if = "Option::is_none")]
    pub family: Option<FamilyId>,
    /// When the user authenticated (RFC 9068 §2.2.1), seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<u64>,
    /// Assurance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Methods used (RFC 9068 §2.2.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The key that it is bound to.
    #[serde(rename = "cnf", default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// The `claims` parameter's userinfo part, which userinfo must honour.
    #[serde(rename = "dom_clm", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub userinfo_claims: BTreeMap<String, ClaimRequest>,
    /// Who acts for the subject, around who did so before (RFC 8693 §4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<serde_json::Value>,
    /// Who may come to act for the subject (RFC 8693 §4.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_act: Option<serde_json::Value>,
    /// The tokens that it was exchanged for, none of which may be revoked.
    #[serde(rename = "dom_src", default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<TokenSource>,
    /// Languages wanted for them, best first.
    #[serde(rename = "dom_loc", default, skip_serializing_if = "Vec::is_empty")]
    pub claims_locales: Vec<String>,
}

/// A token that another was exchanged for (RFC 8693), and what it stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSource {
    /// Revocation record key.
    pub jti: TokenId,
    /// The client.
    #[serde(rename = "cli")]
    pub client: ClientId,
    /// To compare with each `not_before`.
    #[serde(rename = "at")]
    pub issued_at: Timestamp,
    /// The user.
    #[serde(rename = "usr", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The session.
    #[serde(rename = "ses", default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The grant.
    #[serde(rename = "gra", default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The family.
    #[serde(rename = "fam", default, skip_serializing_if = "Option::is_none")]
    pub family: Option<FamilyId>,
}
