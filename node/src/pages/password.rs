//! The page on which a person changes their password.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::content::Notice;
use super::csp::{self, FormAction};
use super::second_factor::FormFields;
use super::{Frame, respond};

/// Why a password was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// The current one is wrong.
    Wrong,
    /// Too many wrong ones.
    Locked,
    /// The new one has fewer characters than this.
    TooShort(u16),
    /// More bytes than are taken.
    TooLong,
    /// The two new ones are not the same.
    Differ,
    /// The node has no room for another password hash now.
    Busy,
    /// Too many attempts from here.
    TooMany,
}

impl PasswordError {
    fn text(self, frame: &Frame<'_>) -> String {
        let texts = frame.texts;
        let text = match self {
            Self::Wrong => texts.password.wrong,
            Self::Locked => texts.locked,
            Self::TooShort(min) => return format!("{} {min}", texts.enrol_too_short),
            Self::TooLong => texts.enrol_too_long,
            Self::Differ => texts.enrol_differ,
            Self::Busy => texts.enrol_busy,
            Self::TooMany => texts.too_many,
        };
        text.to_owned()
    }

    /// The id of the field to look at; none if what was typed is not at fault.
    fn field(self) -> &'static str {
        match self {
            Self::Wrong => "current_password",
            Self::TooShort(_) | Self::TooLong => "password",
            Self::Differ => "password_again",
            Self::Locked | Self::Busy | Self::TooMany => "",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Wrong | Self::TooShort(_) | Self::TooLong | Self::Differ => StatusCode::OK,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Locked | Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Fields `current_password`, `password` and `password_again`. None is shown again.
#[derive(Template)]
#[template(path = "password.html")]
pub struct PasswordPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The form.
    pub form: FormFields<'a>,
    /// As whom the person is signed in.
    pub user: &'a str,
    /// What went wrong the time before.
    pub error: Option<PasswordError>,
    /// The account page; a path of ours.
    pub account_page: &'a str,
}

impl PasswordPage<'_> {
    fn blames(&self, field: &str) -> bool {
        self.error.is_some_and(|error| error.field() == field)
    }

    /// The answer.
    pub fn respond(&self) -> Response {
        let status = self.error.map_or(StatusCode::OK, PasswordError::status);
        respond(status, self, &csp::policy(&FormAction::Own))
    }
}

/// Says that it was changed.
pub struct PasswordChangedPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The account page; a path of ours.
    pub account_page: &'a str,
}

impl PasswordChangedPage<'_> {
    /// The answer.
    pub fn respond(&self) -> Response {
        let texts = self.frame.texts.password;
        let (title, text) = (texts.changed_title, texts.changed_text);
        let notice = Notice { frame: self.frame, title, text, account_page: Some(self.account_page) };
        respond(StatusCode::OK, &notice, &csp::policy(&FormAction::Nowhere))
    }
}
