//! What a user is, as read back by those who may see it.

use std::collections::BTreeMap;

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::SecondFactorView;
use crate::ids::UserId;

/// The standard claims of OpenID Connect Core §5.1 but `sub`, `email`, `email_verified`,
/// `phone_number`, `phone_number_verified` and `updated_at`: name to JSON value, also language-tagged
/// names (`family_name#ja`, §5.2). Values are personal.
pub type ProfileClaims = BTreeMap<String, serde_json::Value>;

/// A user with opened values. Lives in memory for one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "four facts, independent of each other")]
pub struct UserView {
    /// Internal id, `usr_...`.
    pub id: UserId,
    /// `sub`: immutable, never reused, at most 255 ASCII characters.
    pub subject: String,
    /// Login name, as entered.
    pub username: String,
    /// E-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the address was verified.
    pub email_verified: bool,
    /// Phone number, E.164.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    /// Whether the number was verified.
    pub phone_number_verified: bool,
    /// All other standard claims.
    #[serde(flatten)]
    pub claims: ProfileClaims,
    /// Whether a password is set.
    pub has_password: bool,
    /// What they confirm a login with, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactorView>,
    /// A disabled user cannot log in and holds no valid token.
    pub disabled: bool,
    /// Tokens issued before this are refused.
    pub not_before: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
    /// `updated_at` of OIDC.
    pub updated_at: Timestamp,
    /// Stream revision.
    pub revision: u64,
}
