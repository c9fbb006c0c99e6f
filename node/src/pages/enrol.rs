//! The page on which an invited operator takes a name and a password.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::content::Notice;
use super::csp::{self, FormAction};
use super::texts::Texts;
use super::{Frame, respond};

/// Why an enrolment did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolError {
    /// Unknown, used or late: all the same from outside.
    Code,
    /// Not a username.
    Username,
    /// Somebody else's.
    UsernameTaken,
    /// Fewer characters than this.
    TooShort(u16),
    /// More bytes than are taken.
    TooLong,
    /// The two passwords are not the same.
    Differ,
    /// The terms were not agreed to.
    Terms,
    /// The node has no room for another password hash now.
    Busy,
    /// Too many attempts from here.
    TooMany,
}

impl EnrolError {
    pub(super) fn text(self, texts: &'static Texts) -> String {
        let text = match self {
            Self::Code => texts.enrol_code_refused,
            Self::Username => texts.enrol_username_refused,
            Self::UsernameTaken => texts.enrol_username_taken,
            Self::TooShort(min) => return format!("{} {min}", texts.enrol_too_short),
            Self::TooLong => texts.enrol_too_long,
            Self::Differ => texts.enrol_differ,
            Self::Terms => texts.register_terms_needed,
            Self::Busy => texts.enrol_busy,
            Self::TooMany => texts.too_many,
        };
        text.to_owned()
    }

    /// The id of the field to look at; none if what was typed is not at fault.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Username | Self::UsernameTaken => "username",
            Self::TooShort(_) | Self::TooLong => "password",
            Self::Differ => "password_again",
            Self::Terms => "terms",
            Self::Busy | Self::TooMany => "",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Code
            | Self::Username
            | Self::UsernameTaken
            | Self::TooShort(_)
            | Self::TooLong
            | Self::Differ
            | Self::Terms => StatusCode::OK,
        }
    }
}

/// Fields `code`, `username`, `password` and `password_again`, hidden `interaction` and `csrf`.
#[derive(Template)]
#[template(path = "enrol.html")]
pub struct EnrolPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Where the form goes; a path of ours.
    pub action: &'a str,
    /// The sealed interaction.
    pub interaction: &'a str,
    /// The form token.
    pub csrf: &'a str,
    /// What was typed before. The code and the passwords are not shown again.
    pub username: &'a str,
    /// What went wrong the time before.
    pub error: Option<EnrolError>,
}

impl EnrolPage<'_> {
    fn blames(&self, field: &str) -> bool {
        self.error.is_some_and(|error| error.field() == field)
    }

    /// The answer.
    pub fn respond(&self) -> Response {
        respond(self.error.map_or(StatusCode::OK, EnrolError::status), self, &csp::policy(&FormAction::Own))
    }
}

/// Says that there is a new operator.
pub struct EnrolledPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
}

impl EnrolledPage<'_> {
    /// The answer.
    pub fn respond(&self) -> Response {
        let texts = self.frame.texts;
        let (title, text) = (texts.enrolled_title, texts.enrolled_text);
        let notice = Notice { frame: self.frame, title, text, account_page: None };
        respond(StatusCode::OK, &notice, &csp::policy(&FormAction::Nowhere))
    }
}
