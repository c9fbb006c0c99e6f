//! What may be done to a user's second factor.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::event::{
    UserEvent, UserRecoveryCodeUsed, UserRecoveryCodesReplaced, UserTotpEnrolled, UserTotpRemoved,
};
use super::state::User;
use crate::model::{SecondFactorKind, SecondFactorView};
use crate::personal::Personal;

/// An authenticator app and the codes for its loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// The secret that the app has, base32.
    pub totp: Personal,
    /// Since when.
    pub added_at: Timestamp,
    /// SHA-256 of recovery codes that were not used yet.
    pub recovery_codes: Vec<ByteArray<32>>,
}

impl SecondFactor {
    /// As those may see it who see the user.
    pub fn view(&self) -> SecondFactorView {
        SecondFactorView {
            kind: SecondFactorKind::Totp,
            added_at: self.added_at,
            recovery_codes_left: u32::try_from(self.recovery_codes.len()).unwrap_or(u32::MAX),
        }
    }
}

/// A new one; `None` if there is one, or no such user.
pub fn decide_enrol(user: &User, secret: &str, recovery_codes: Vec<ByteArray<32>>) -> Option<UserEvent> {
    let person = user.person.as_ref()?;
    let free = person.second_factor.is_none() && user.is_usable();
    let totp = Personal::plain(secret);
    free.then_some(UserEvent::TotpEnrolled(UserTotpEnrolled { totp, recovery_codes }))
}

/// Takes it away; `None` if there is none.
pub fn decide_remove(user: &User) -> Option<UserEvent> {
    user.second_factor().map(|_| UserEvent::TotpRemoved(UserTotpRemoved {}))
}

/// Uses up the recovery code of this hash; `None` if there is none such.
pub fn decide_recover(user: &User, sha256: &[u8; 32]) -> Option<UserEvent> {
    use subtle::ConstantTimeEq as _;
    let known = &user.second_factor()?.recovery_codes;
    let fits =
        known.iter().fold(false, |fits, code| fits | bool::from(code.as_slice().ct_eq(sha256.as_slice())));
    let sha256 = ByteArray::new(*sha256);
    fits.then_some(UserEvent::RecoveryCodeUsed(UserRecoveryCodeUsed { sha256 }))
}

/// Other recovery codes; those before are void. `None` if there is no second factor.
pub fn decide_replace_recovery_codes(user: &User, recovery_codes: Vec<ByteArray<32>>) -> Option<UserEvent> {
    user.second_factor()?;
    Some(UserEvent::RecoveryCodesReplaced(UserRecoveryCodesReplaced { recovery_codes }))
}
