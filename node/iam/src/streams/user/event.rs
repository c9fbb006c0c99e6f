//! What happens to a user. Personal values are sealed under the user's own key.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::personal::Personal;
use crate::streams::event_set::{Change, Payload, event_set, visit_change};

event_set! {
    /// Events of a user.
    UserEvent {
        /// The user exists from here on.
        Created(UserCreated) => "user.created", 1;
        /// Something of the profile changed.
        ProfileChanged(UserProfileChanged) => "user.profile.changed", 1;
        /// Another password: all that was issued before is void.
        PasswordChanged(UserPasswordChanged) => "user.password.changed", 1;
        /// The same password under another hash, at a login after an import.
        PasswordRehashed(UserPasswordRehashed) => "user.password.rehashed", 1;
        /// Too many wrong passwords.
        Locked(UserLocked) => "user.locked", 1;
        /// Disabled: all that was issued before is void.
        Disabled(UserDisabled) => "user.disabled", 1;
        /// Enabled again.
        Enabled(UserEnabled) => "user.enabled", 1;
        /// First step of erasure: the user's key is destroyed with this event.
        Erased(UserErased) => "user.erased", 1;
        /// It is an operator, or no more.
        OperatorChanged(UserOperatorChanged) => "user.operator.changed", 1;
        /// It has an authenticator app.
        TotpEnrolled(UserTotpEnrolled) => "user.totp.enrolled", 1;
        /// It has none any more.
        TotpRemoved(UserTotpRemoved) => "user.totp.removed", 1;
        /// A recovery code took the app's place, once.
        RecoveryCodeUsed(UserRecoveryCodeUsed) => "user.recovery_code.used", 1;
        /// Other recovery codes.
        RecoveryCodesReplaced(UserRecoveryCodesReplaced) => "user.recovery_codes.replaced", 1;
    }
}

/// `user.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCreated {
    /// `sub`.
    pub subject: Personal,
    /// Login name as entered.
    pub username: Personal,
    /// E-mail address as entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Personal>,
    /// Whether it was verified.
    #[serde(default)]
    pub email_verified: bool,
    /// Phone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<Personal>,
    /// Whether it was verified.
    #[serde(default)]
    pub phone_number_verified: bool,
    /// All other standard claims, one JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Personal>,
    /// PHC string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Personal>,
}

impl Payload for UserCreated {
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        visit(field::SUBJECT, &mut self.subject);
        visit(field::USERNAME, &mut self.username);
        let optional = [
            (field::EMAIL, &mut self.email),
            (field::PHONE_NUMBER, &mut self.phone_number),
            (field::CLAIMS, &mut self.claims),
            (field::PASSWORD, &mut self.password),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                visit(name, value);
            }
        }
    }
}

/// Field names that seal the user's values; they can never change.
pub mod field {
    /// `sub`.
    pub const SUBJECT: &str = "subject";
    /// Login name.
    pub const USERNAME: &str = "username";
    /// E-mail address.
    pub const EMAIL: &str = "email";
    /// Phone number.
    pub const PHONE_NUMBER: &str = "phone_number";
    /// Other claims.
    pub const CLAIMS: &str = "claims";
    /// Password hash.
    pub const PASSWORD: &str = "password";
    /// Secret of an authenticator app.
    pub const TOTP: &str = "totp";
}

/// `user.profile.changed`: only what changed is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserProfileChanged {
    /// Login name; never absent on either side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Change<Option<Personal>>>,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Change<Option<Personal>>>,
    /// Whether it was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<Change<bool>>,
    /// The verified address before, still the user's until the new one is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_held: Option<Change<Option<Personal>>>,
    /// Phone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<Change<Option<Personal>>>,
    /// Whether it was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number_verified: Option<Change<bool>>,
    /// All other standard claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Change<Option<Personal>>>,
}

impl Payload for UserProfileChanged {
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        visit_change(field::USERNAME, &mut self.username, visit);
        visit_change(field::EMAIL, &mut self.email, visit);
        visit_change(field::EMAIL, &mut self.email_held, visit);
        visit_change(field::PHONE_NUMBER, &mut self.phone_number, visit);
        visit_change(field::CLAIMS, &mut self.claims, visit);
    }
}

/// `user.password.changed`. The hash before it is in the event before it; it is not repeated, since
/// a password hash is worth stealing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPasswordChanged {
    /// PHC string.
    pub password: Personal,
    /// Whether there was one before.
    pub had_password: bool,
}

impl Payload for UserPasswordChanged {
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        visit(field::PASSWORD, &mut self.password);
    }
}

/// `user.password.rehashed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPasswordRehashed {
    /// PHC string.
    pub password: Personal,
}

impl Payload for UserPasswordRehashed {
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        visit(field::PASSWORD, &mut self.password);
    }
}

/// `user.locked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLocked {
    /// Until when; the lock before it, if any, is the change's other side.
    pub until: Change<Option<Timestamp>>,
}

impl Payload for UserLocked {}

/// `user.disabled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDisabled {}

impl Payload for UserDisabled {}

/// `user.enabled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEnabled {}

impl Payload for UserEnabled {}

/// `user.erased`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserErased {}

impl Payload for UserErased {}

/// `user.operator.changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserOperatorChanged {
    /// Whether it is one.
    pub operator: Change<bool>,
}

impl Payload for UserOperatorChanged {}

/// `user.totp.enrolled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserTotpEnrolled {
    /// The secret, base32.
    pub totp: Personal,
    /// SHA-256 of the recovery codes that came with it.
    pub recovery_codes: Vec<ByteArray<32>>,
}

impl Payload for UserTotpEnrolled {
    fn personal_mut(&mut self, visit: &mut dyn FnMut(&str, &mut Personal)) {
        visit(field::TOTP, &mut self.totp);
    }
}

/// `user.totp.removed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserTotpRemoved {}

impl Payload for UserTotpRemoved {}

/// `user.recovery_code.used`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecoveryCodeUsed {
    /// Its SHA-256.
    pub sha256: ByteArray<32>,
}

impl Payload for UserRecoveryCodeUsed {}

/// `user.recovery_codes.replaced`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecoveryCodesReplaced {
    /// SHA-256 of the new ones.
    pub recovery_codes: Vec<ByteArray<32>>,
}

impl Payload for UserRecoveryCodesReplaced {}
