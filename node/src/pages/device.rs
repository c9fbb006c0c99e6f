//! The page on which a device's code is typed (RFC 8628 §3.3).

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::content::Notice;
use super::csp::{self, FormAction};
use super::texts::Texts;
use super::{Frame, respond};

/// Why a code did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// Unknown, answered or over: all the same from outside.
    Code,
    /// Something broke on the way; the code may be sent again.
    Failed,
    /// Too many attempts from here.
    TooMany,
}

impl DeviceError {
    fn text(self, texts: &'static Texts) -> &'static str {
        match self {
            Self::Code => texts.device_code_refused,
            Self::Failed => texts.device_failed,
            Self::TooMany => texts.too_many,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Code | Self::Failed => StatusCode::OK,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Field `user_code`, hidden `interaction` and `csrf`.
#[derive(Template)]
#[template(path = "device.html")]
pub struct DevicePage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Where the form goes; a path of ours.
    pub action: &'a str,
    /// The sealed interaction.
    pub interaction: &'a str,
    /// The form token.
    pub csrf: &'a str,
    /// What was typed before, or came with the address.
    pub user_code: &'a str,
    /// What went wrong the time before.
    pub error: Option<DeviceError>,
}

impl DevicePage<'_> {
    /// The answer. The way goes on to pages of ours only.
    pub fn respond(&self) -> Response {
        respond(self.error.map_or(StatusCode::OK, DeviceError::status), self, &csp::policy(&FormAction::Own))
    }
}

/// Says that the device is connected, or that it is not.
pub struct DeviceDonePage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Whether the user said yes.
    pub connected: bool,
}

impl DeviceDonePage<'_> {
    /// The answer.
    pub fn respond(&self) -> Response {
        let texts = self.frame.texts;
        let (title, text) = if self.connected {
            (texts.device_done_title, texts.device_done_text)
        } else {
            (texts.device_denied_title, texts.device_denied_text)
        };
        let notice = Notice { frame: self.frame, title, text, account_page: None };
        respond(StatusCode::OK, &notice, &csp::policy(&FormAction::Nowhere))
    }
}
