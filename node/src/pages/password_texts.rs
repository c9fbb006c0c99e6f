//! Words of the page on which people change their password.

/// The words of one language.
#[derive(Debug)]
#[allow(missing_docs, reason = "each field is named after what its English text says")]
pub struct PasswordTexts {
    pub account_heading: &'static str,
    pub account_link: &'static str,
    pub title: &'static str,
    pub lead: &'static str,
    pub failed: &'static str,
    pub wrong: &'static str,
    pub current_label: &'static str,
    pub new_label: &'static str,
    pub again_label: &'static str,
    pub button: &'static str,
    pub changed_title: &'static str,
    pub changed_text: &'static str,
    pub back: &'static str,
}

pub(super) static ENGLISH: PasswordTexts = PasswordTexts {
    account_heading: "Password",
    account_link: "Change your password",
    title: "Change your password",
    lead: "You will be signed out everywhere else, and applications will have to ask you again.",
    failed: "Your password was not changed",
    wrong: "The current password is wrong.",
    current_label: "Current password",
    new_label: "New password",
    again_label: "New password again",
    button: "Change password",
    changed_title: "Your password was changed",
    changed_text: "You are signed out everywhere else.",
    back: "Back to your account",
};

pub(super) static GERMAN: PasswordTexts = PasswordTexts {
    account_heading: "Passwort",
    account_link: "Passwort ändern",
    title: "Passwort ändern",
    lead: "Sie werden überall sonst abgemeldet, und Anwendungen müssen Sie neu fragen.",
    failed: "Ihr Passwort wurde nicht geändert",
    wrong: "Das bisherige Passwort ist falsch.",
    current_label: "Bisheriges Passwort",
    new_label: "Neues Passwort",
    again_label: "Neues Passwort noch einmal",
    button: "Passwort ändern",
    changed_title: "Ihr Passwort ist geändert",
    changed_text: "Sie sind überall sonst abgemeldet.",
    back: "Zurück zu Ihrem Konto",
};
