//! What callers hand to commands.

use std::collections::{BTreeMap, BTreeSet};

use domicile_raft::placement::Placement;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ids::UserId;
use crate::model::{Authentication, ClientMetadata, ProfileClaims, SessionView, TenantSettings};

/// A new tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTenant {
    /// Its name in paths: 2 to 40 of `a-z`, `0-9` and inner `-`.
    pub slug: String,
    /// Shown to people, 1 to 200 characters.
    pub display_name: String,
    /// `iss`: absolute http(s) URL without query and fragment.
    pub issuer: String,
    /// Settings.
    pub settings: TenantSettings,
    /// Where it may live and what it survives; `None` for the cluster's default.
    pub placement: Option<Placement>,
}

/// A change of a tenant; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantPatch {
    /// Shown to people.
    pub display_name: Option<String>,
    /// All settings.
    pub settings: Option<TenantSettings>,
    /// Disable or enable.
    pub disabled: Option<bool>,
    /// Whether `signing_algorithms` may lose one that clients are registered for: those are answered 503 until they
    /// are changed.
    pub force: bool,
    /// Only if the stream is at this revision.
    pub if_revision: Option<u64>,
}

/// A password in clear, wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainPassword(Zeroizing<String>);

impl PlainPassword {
    /// Takes `text` as it is: no trimming, no truncation (OWASP ASVS 5 §6.2.8).
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PlainPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlainPassword(..)")
    }
}

/// A new user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CreateUser {
    /// Login name.
    pub username: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Whether it was verified.
    pub email_verified: bool,
    /// E.164.
    pub phone_number: Option<String>,
    /// Whether it was verified.
    pub phone_number_verified: bool,
    /// Hashed by this call.
    pub password: Option<PlainPassword>,
    /// An import's PHC, bcrypt, scrypt or PBKDF2 string; ignored when `password` is given.
    pub password_hash: Option<String>,
    /// `sub`; the user id's text when absent.
    pub subject: Option<String>,
    /// Other standard claims.
    pub claims: ProfileClaims,
}

/// Nothing of it: all of it is personal, and the hash can be guessed at.
impl std::fmt::Debug for CreateUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateUser").finish_non_exhaustive()
    }
}

/// A change of a user; what is `None` stays, `Some(None)` removes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// Login name.
    pub username: Option<String>,
    /// E-mail address. Another address is unverified unless `email_verified` says otherwise.
    pub email: Option<Option<String>>,
    /// Whether it was verified.
    pub email_verified: Option<bool>,
    /// Phone number. Another number is unverified unless `phone_number_verified` says otherwise.
    pub phone_number: Option<Option<String>>,
    /// Whether it was verified.
    pub phone_number_verified: Option<bool>,
    /// By claim name: a value sets, `null` removes, an absent name stays.
    pub claims: BTreeMap<String, serde_json::Value>,
    /// Disable or enable.
    pub disabled: Option<bool>,
    /// Only if the stream is at this revision.
    pub if_revision: Option<u64>,
}

impl std::fmt::Debug for UserPatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserPatch").field("if_revision", &self.if_revision).finish_non_exhaustive()
    }
}

/// A user who proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticatedUser {
    /// Who.
    pub user: UserId,
    /// How and when; goes into a session.
    pub authentication: Authentication,
}

/// A session that just began or was renewed, with the cookie's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The session.
    pub view: SessionView,
    /// 256 random bits, base64url; only its SHA-256 is stored.
    pub secret: String,
}

impl NewSession {
    /// The cookie's value: session id and secret.
    pub fn cookie(&self) -> String {
        format!("{}.{}", self.view.id, self.secret)
    }
}

impl std::fmt::Debug for NewSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSession({})", self.view.id)
    }
}

/// What a user just allowed on the consent page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Scopes.
    pub scopes: BTreeSet<String>,
    /// Single claims.
    pub claims: BTreeSet<String>,
    /// Resource servers (RFC 8707).
    #[serde(default)]
    pub resources: BTreeSet<String>,
}

/// A change of a client; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientPatch {
    /// All metadata.
    pub metadata: Option<ClientMetadata>,
    /// Disable or enable.
    pub disabled: Option<bool>,
    /// Only if the stream is at this revision.
    pub if_revision: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{CreateUserCommand, RedeemCode, RehashPassword, SetPassword, UpdateUser};
    use crate::ids::{ClientId, Id};
    use crate::personal::Personal;

    #[test]
    fn no_secret_and_nothing_personal_is_in_debug_output() {
        let text = || "correct-horse".to_owned();
        let id = UserId::from_bytes([1; 16]);
        let new = CreateUser {
            username: text(),
            email: Some(text()),
            password: Some(PlainPassword::new(text())),
            password_hash: Some(text()),
            ..CreateUser::default()
        };
        let patch = UserPatch { username: Some(text()), ..UserPatch::default() };
        let code = RedeemCode {
            client: ClientId::from_bytes([1; 16]),
            code: text(),
            redirect_uri: None,
            verifier: Some(text()),
            proof: None,
            resources: BTreeSet::new(),
        };
        let shown = [
            format!("{new:?}"),
            format!("{:?}", CreateUserCommand { new, password: Some(text()) }),
            format!("{patch:?}"),
            format!("{:?}", UpdateUser { id, patch }),
            format!("{code:?}"),
            format!("{:?}", SetPassword { id, hash: text(), checked: None }),
            format!("{:?}", RehashPassword { id, hash: text(), checked: Personal::plain(&*text()) }),
        ];
        for shown in shown {
            assert!(!shown.contains("correct-horse"), "{shown}");
        }
    }
}
