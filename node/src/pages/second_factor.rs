//! The pages for second factors: proved, set up, and seen to.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::account::Moment;
use super::csp::{self, FormAction};
use super::{Frame, qr, respond};

/// Why a code did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondFactorError {
    /// Wrong, or used.
    Wrong,
    /// Too many wrong ones.
    Locked,
    /// Too many attempts from here.
    TooMany,
}

impl SecondFactorError {
    fn text(self, frame: &Frame<'_>) -> &'static str {
        match self {
            Self::Wrong => frame.texts.second_factor.wrong,
            Self::Locked => frame.texts.second_factor.locked,
            Self::TooMany => frame.texts.too_many,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Wrong => StatusCode::OK,
            Self::Locked | Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Where a form goes, and what it carries along.
#[derive(Clone, Copy, Debug)]
pub struct FormFields<'a> {
    /// A path of ours.
    pub action: &'a str,
    /// The sealed interaction.
    pub interaction: &'a str,
    /// The form token.
    pub csrf: &'a str,
}

/// Asks for a second factor: fields `code` and `recovery_code`, button `other_account`.
#[derive(Template)]
#[template(path = "second_factor.html")]
pub struct SecondFactorPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The form.
    pub form: FormFields<'a>,
    /// As whom the person is signed in.
    pub user: &'a str,
    /// Which client is waiting; not when there is none.
    pub client: Option<&'a str>,
    /// What went wrong the time before.
    pub error: Option<SecondFactorError>,
}

impl SecondFactorPage<'_> {
    /// The answer; `next` is where a redirect after the form may lead.
    pub fn respond(&self, next: &FormAction) -> Response {
        let status = self.error.map_or(StatusCode::OK, SecondFactorError::status);
        respond(status, self, &csp::policy(next))
    }
}

/// Sets an authenticator up: field `code`.
#[derive(Template)]
#[template(path = "second_factor_set_up.html")]
pub struct SecondFactorSetUpPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The form.
    pub form: FormFields<'a>,
    /// The secret, for who types it.
    pub secret: &'a str,
    /// The same as an `otpauth:` address, for who scans it.
    pub uri: &'a str,
    /// Whether nothing goes on without.
    pub required: bool,
    /// Whether the code was wrong the time before.
    pub error: Option<SecondFactorError>,
}

impl SecondFactorSetUpPage<'_> {
    fn qr(&self) -> String {
        qr::svg(self.uri, self.frame.texts.second_factor.qr_label).unwrap_or_default()
    }

    /// In groups of four, as people read it.
    fn groups(&self) -> String {
        let letters: Vec<char> = self.secret.chars().collect();
        letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join(" ")
    }

    /// The answer; `next` is where a redirect after the form may lead.
    pub fn respond(&self, next: &FormAction) -> Response {
        let status = self.error.map_or(StatusCode::OK, SecondFactorError::status);
        respond(status, self, &csp::policy(next))
    }
}

/// Shows recovery codes, once.
#[derive(Template)]
#[template(path = "recovery_codes.html")]
pub struct RecoveryCodesPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The codes.
    pub codes: &'a [String],
    /// The form that goes on to who waits; else there is a link to the account page.
    pub form: Option<FormFields<'a>>,
    /// The account page; a path of ours.
    pub account_page: &'a str,
}

impl RecoveryCodesPage<'_> {
    /// The answer; `next` is where a redirect after the form may lead.
    pub fn respond(&self, next: &FormAction) -> Response {
        respond(StatusCode::OK, self, &csp::policy(next))
    }
}

/// What there is: buttons `replace` and `remove`.
#[derive(Template)]
#[template(path = "second_factor_manage.html")]
pub struct SecondFactorManagePage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The form.
    pub form: FormFields<'a>,
    /// Since when.
    pub since: Moment,
    /// Recovery codes that were not used yet.
    pub left: u32,
    /// The account page; a path of ours.
    pub account_page: &'a str,
}

impl SecondFactorManagePage<'_> {
    /// The answer.
    pub fn respond(&self) -> Response {
        respond(StatusCode::OK, self, &csp::policy(&FormAction::Own))
    }
}
