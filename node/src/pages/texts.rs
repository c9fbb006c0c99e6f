//! All words of the pages, by language. A new language is one more table.

use super::locale::Locale;

/// The words of one language.
#[derive(Debug)]
#[allow(missing_docs, reason = "each field is named after what its English text says")]
pub struct Texts {
    pub lang: &'static str,
    pub sign_in: &'static str,
    pub continue_to: &'static str,
    pub login_label: &'static str,
    pub password_label: &'static str,
    pub error_prefix: &'static str,
    pub cannot_sign_in: &'static str,
    pub bad_credentials: &'static str,
    pub locked: &'static str,
    pub busy: &'static str,
    pub too_many: &'static str,
    pub stale: &'static str,
    pub consent_title: &'static str,
    pub consent_asks: &'static str,
    pub continue_as: &'static str,
    pub other_account: &'static str,
    pub signed_in_as: &'static str,
    pub returns_to: &'static str,
    pub allow: &'static str,
    pub deny: &'static str,
    pub logout_title: &'static str,
    pub logout_question: &'static str,
    pub logout_asked_by: &'static str,
    pub logout_yes: &'static str,
    pub logout_no: &'static str,
    pub logged_out_title: &'static str,
    pub logged_out_text: &'static str,
    pub stayed_title: &'static str,
    pub stayed_text: &'static str,
    pub form_post_title: &'static str,
    pub form_post_text: &'static str,
    pub continue_button: &'static str,
    pub error_title: &'static str,
    pub error_text: &'static str,
    pub error_code: &'static str,
    pub error_detail: &'static str,
    pub request: &'static str,
    scopes: [(&'static str, &'static str); 6],
}

impl Texts {
    /// The table of `locale`.
    pub fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::English => &ENGLISH,
            Locale::German => &GERMAN,
        }
    }

    /// What a scope means to the person; `None` for one that is not of OpenID Connect Core §5.4.
    pub fn scope(&self, scope: &str) -> Option<&'static str> {
        self.scopes.iter().find(|(name, _)| *name == scope).map(|(_, text)| *text)
    }
}

static ENGLISH: Texts = Texts {
    lang: "en",
    sign_in: "Sign in",
    continue_to: "to continue to",
    login_label: "Username or e-mail address",
    password_label: "Password",
    error_prefix: "Error: ",
    cannot_sign_in: "You are not signed in",
    bad_credentials: "Username or password is wrong. Please try again.",
    locked: "There were too many wrong passwords. Please wait a few minutes and try again.",
    busy: "Many people are signing in right now. Please try again in a moment.",
    too_many: "There were too many attempts. Please wait a minute and try again.",
    stale: "This page was open for too long. Please sign in again.",
    consent_title: "Allow access?",
    consent_asks: "would like to:",
    continue_as: "Continue as",
    other_account: "Or sign in with another account:",
    signed_in_as: "You are signed in as",
    returns_to: "You will return to",
    allow: "Allow",
    deny: "Deny",
    logout_title: "Sign out",
    logout_question: "Do you want to sign out?",
    logout_asked_by: "asks whether you want to sign out here too.",
    logout_yes: "Sign out",
    logout_no: "Stay signed in",
    logged_out_title: "You are signed out",
    logged_out_text: "You can close this window.",
    stayed_title: "You are still signed in",
    stayed_text: "You can close this window.",
    form_post_title: "One moment",
    form_post_text: "You are being sent back to the application. If nothing happens, please continue by hand.",
    continue_button: "Continue",
    error_title: "This request cannot be completed",
    error_text: "The application sent a request that cannot be answered. Please go back to it and try again.",
    error_code: "Error",
    error_detail: "For the developer",
    request: "Request",
    scopes: [
        ("openid", "Know who you are here (an identifier)"),
        ("profile", "See your profile, such as your name and picture"),
        ("email", "See your e-mail address"),
        ("address", "See your postal address"),
        ("phone", "See your phone number"),
        ("offline_access", "Keep this access while you are away"),
    ],
};

static GERMAN: Texts = Texts {
    lang: "de",
    sign_in: "Anmelden",
    continue_to: "weiter zu",
    login_label: "Benutzername oder E-Mail-Adresse",
    password_label: "Passwort",
    error_prefix: "Fehler: ",
    cannot_sign_in: "Sie sind nicht angemeldet",
    bad_credentials: "Benutzername oder Passwort ist falsch. Bitte versuchen Sie es noch einmal.",
    locked: "Das Passwort war zu oft falsch. Bitte warten Sie einige Minuten und versuchen Sie es noch einmal.",
    busy: "Gerade melden sich sehr viele an. Bitte versuchen Sie es gleich noch einmal.",
    too_many: "Das waren zu viele Versuche. Bitte warten Sie eine Minute und versuchen Sie es noch einmal.",
    stale: "Diese Seite war zu lange offen. Bitte melden Sie sich noch einmal an.",
    consent_title: "Zugriff erlauben?",
    consent_asks: "möchte:",
    continue_as: "Weiter als",
    other_account: "Oder mit einem anderen Konto anmelden:",
    signed_in_as: "Sie sind angemeldet als",
    returns_to: "Sie kehren zurück zu",
    allow: "Erlauben",
    deny: "Ablehnen",
    logout_title: "Abmelden",
    logout_question: "Möchten Sie sich abmelden?",
    logout_asked_by: "fragt, ob Sie sich auch hier abmelden möchten.",
    logout_yes: "Abmelden",
    logout_no: "Angemeldet bleiben",
    logged_out_title: "Sie sind abgemeldet",
    logged_out_text: "Sie können dieses Fenster schließen.",
    stayed_title: "Sie sind weiter angemeldet",
    stayed_text: "Sie können dieses Fenster schließen.",
    form_post_title: "Einen Moment",
    form_post_text: "Sie werden zur Anwendung zurückgeleitet. Wenn nichts geschieht, gehen Sie bitte selbst weiter.",
    continue_button: "Weiter",
    error_title: "Diese Anfrage kann nicht abgeschlossen werden",
    error_text: "Die Anwendung hat eine Anfrage gesendet, die nicht beantwortet werden kann. \
                 Bitte kehren Sie zu ihr zurück und versuchen Sie es noch einmal.",
    error_code: "Fehler",
    error_detail: "Für Entwickler",
    request: "Anfrage",
    scopes: [
        ("openid", "Wissen, wer Sie hier sind (eine Kennung)"),
        ("profile", "Ihr Profil sehen, etwa Name und Bild"),
        ("email", "Ihre E-Mail-Adresse sehen"),
        ("address", "Ihre Postanschrift sehen"),
        ("phone", "Ihre Telefonnummer sehen"),
        ("offline_access", "Diesen Zugriff behalten, während Sie weg sind"),
    ],
};
