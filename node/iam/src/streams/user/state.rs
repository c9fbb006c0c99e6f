//! A user as its events made it.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::UserEvent;
use super::second_factor::SecondFactor;
use crate::personal::Personal;
use crate::streams::event_set::Change;

/// A user. Personal values stay sealed here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Absent once erased.
    #[serde(default)]
    pub person: Option<Person>,
    /// Whether disabled.
    pub disabled: bool,
    /// No password is looked at before this.
    #[serde(default)]
    pub locked_until: Option<Timestamp>,
    /// Sessions and tokens from this time or before are void. 0 when nothing was ever voided.
    pub not_before: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the profile last changed.
    pub updated_at: Timestamp,
    /// Whether it may have the scope `domicile:admin`; means something in the tenant `system` only.
    #[serde(default)]
    pub operator: bool,
}

/// What is personal about a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// `sub`; never changes.
    pub subject: Personal,
    /// Login name as entered.
    pub username: Personal,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<Personal>,
    /// Whether it was verified.
    pub email_verified: bool,
    /// The verified address before, still the user's until the new one is verified.
    #[serde(default)]
    pub email_held: Option<Personal>,
    /// Phone number.
    #[serde(default)]
    pub phone_number: Option<Personal>,
    /// Whether it was verified.
    pub phone_number_verified: bool,
    /// Other claims, one JSON object.
    #[serde(default)]
    pub claims: Option<Personal>,
    /// PHC string.
    #[serde(default)]
    pub password: Option<Personal>,
    /// What confirms a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactor>,
}

impl User {
    /// Whether the user exists and may act.
    pub fn is_usable(&self) -> bool {
        self.person.is_some() && !self.disabled
    }

    /// What confirms a login, if anything.
    pub fn second_factor(&self) -> Option<&SecondFactor> {
        self.person.as_ref()?.second_factor.as_ref()
    }

    /// Applies `event`, which happened at `at`. Total.
    pub(crate) fn evolve(mut self, event: &UserEvent, at: Timestamp) -> Self {
        match event {
            UserEvent::Created(created) => {
                self.person = Some(Person {
                    subject: created.subject.clone(),
                    username: created.username.clone(),
                    email: created.email.clone(),
                    email_verified: created.email_verified,
                    email_held: None,
                    phone_number: created.phone_number.clone(),
                    phone_number_verified: created.phone_number_verified,
                    claims: created.claims.clone(),
                    password: created.password.clone(),
                    second_factor: None,
                });
                self.created_at = at;
                self.updated_at = at;
            }
            UserEvent::ProfileChanged(changed) => {
                if let Some(person) = &mut self.person {
                    if let Some(Change { after: Some(username), .. }) = &changed.username {
                        person.username = username.clone();
                    }
                    set(&mut person.email, changed.email.as_ref());
                    set(&mut person.email_held, changed.email_held.as_ref());
                    set(&mut person.email_verified, changed.email_verified.as_ref());
                    set(&mut person.phone_number, changed.phone_number.as_ref());
                    set(&mut person.phone_number_verified, changed.phone_number_verified.as_ref());
                    set(&mut person.claims, changed.claims.as_ref());
                }
                self.updated_at = at;
            }
            UserEvent::PasswordChanged(changed) => {
                self.set_password(&changed.password);
                self.locked_until = None;
                self.not_before = at;
            }
            UserEvent::PasswordRehashed(rehashed) => self.set_password(&rehashed.password),
            UserEvent::Locked(locked) => self.locked_until = locked.until.after,
            UserEvent::Disabled(_) => {
                self.disabled = true;
                self.not_before = at;
            }
            UserEvent::Enabled(_) => self.disabled = false,
            UserEvent::OperatorChanged(changed) => {
                self.operator = changed.operator.after;
                // What was issued before says otherwise.
                if !self.operator {
                    self.not_before = at;
                }
            }
            UserEvent::TotpEnrolled(enrolled) => {
                if let Some(person) = &mut self.person {
                    let (totp, recovery_codes) = (enrolled.totp.clone(), enrolled.recovery_codes.clone());
                    person.second_factor = Some(SecondFactor { totp, added_at: at, recovery_codes });
                }
            }
            UserEvent::TotpRemoved(_) => {
                if let Some(person) = &mut self.person {
                    person.second_factor = None;
                }
            }
            UserEvent::RecoveryCodeUsed(used) => {
                if let Some(factor) = self.second_factor_mut() {
                    factor.recovery_codes.retain(|code| *code != used.sha256);
                }
            }
            UserEvent::RecoveryCodesReplaced(replaced) => {
                if let Some(factor) = self.second_factor_mut() {
                    factor.recovery_codes.clone_from(&replaced.recovery_codes);
                }
            }
            UserEvent::Erased(_) => {
                self.person = None;
                self.operator = false;
                self.not_before = at;
            }
        }
        self
    }

    fn second_factor_mut(&mut self) -> Option<&mut SecondFactor> {
        self.person.as_mut()?.second_factor.as_mut()
    }

    fn set_password(&mut self, password: &Personal) {
        if let Some(person) = &mut self.person {
            person.password = Some(password.clone());
        }
    }
}

fn set<T: Clone>(field: &mut T, change: Option<&Change<T>>) {
    if let Some(change) = change {
        *field = change.after.clone();
    }
}
