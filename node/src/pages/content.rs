//! One struct a page; the template's fields.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::about::AboutClient;
use super::csp::{self, FormAction, SUBMIT_SCRIPT};
use super::texts::Texts;
use super::{Frame, respond};

/// Why a login did not work, as far as the person is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// Unknown user, wrong password, disabled: all the same from outside.
    BadCredentials,
    /// Too many wrong passwords.
    Locked,
    /// The node has no room for another password hash now.
    Busy,
    /// Too many attempts from here.
    TooMany,
    /// The page was open for too long, or came from another browser.
    Stale,
}

impl LoginError {
    fn text(self, texts: &'static Texts) -> &'static str {
        match self {
            Self::BadCredentials => texts.bad_credentials,
            Self::Locked => texts.locked,
            Self::Busy => texts.busy,
            Self::TooMany => texts.too_many,
            Self::Stale => texts.stale,
        }
    }

    /// Whether the person should look at what was typed.
    fn concerns_fields(self) -> bool {
        match self {
            Self::BadCredentials => true,
            Self::Locked | Self::Busy | Self::TooMany | Self::Stale => false,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadCredentials | Self::Stale => StatusCode::OK,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Locked | Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// Asks who it is: fields `login` and `password`, hidden `interaction` and `csrf`.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Where the form goes; a path of ours.
    pub action: &'a str,
    /// The sealed interaction.
    pub interaction: &'a str,
    /// The form token.
    pub csrf: &'a str,
    /// Which client is waiting; not when there is none.
    pub client: Option<&'a str>,
    /// What it says of itself.
    pub about: AboutClient,
    /// Shown in the login field: `login_hint`, or what was typed before.
    pub login: &'a str,
    /// What went wrong the time before.
    pub error: Option<LoginError>,
    /// An account to go on with, without logging in.
    pub account: Option<PresentAccount<'a>>,
    /// Whether an account can be made instead: by the button `create` of a form of its own.
    pub may_register: bool,
}

/// Who is logged in and may go on: a form of its own, with hidden `interaction` and `csrf`.
#[derive(Clone, Copy, Debug)]
pub struct PresentAccount<'a> {
    /// Where the form goes; a path of ours.
    pub action: &'a str,
    /// Their login name.
    pub name: &'a str,
}

impl LoginPage<'_> {
    /// The answer; `next` is where a redirect after the form may lead.
    pub fn respond(&self, next: &FormAction) -> Response {
        let status = self.error.map_or(StatusCode::OK, LoginError::status);
        respond(status, self, &csp::policy(next))
    }
}

/// Asks what the client may have: buttons `allow` and `deny`, hidden `interaction` and `csrf`.
#[derive(Template)]
#[template(path = "consent.html")]
pub struct ConsentPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Where the form goes; a path of ours.
    pub action: &'a str,
    /// The sealed interaction.
    pub interaction: &'a str,
    /// The form token.
    pub csrf: &'a str,
    /// Who asks.
    pub client: &'a str,
    /// What it says of itself.
    pub about: AboutClient,
    /// What it asks for, one line each ([`Texts::scope`], or a claim's name).
    pub items: Vec<&'a str>,
    /// As whom the person is signed in.
    pub user: &'a str,
    /// Where they see their account; a path of ours.
    pub account_page: &'a str,
    /// The host of the redirect URI, or its scheme for an app; none if a device waits.
    pub returns_to: Option<&'a str>,
}

impl ConsentPage<'_> {
    /// The answer; `next` is where a redirect after the form may lead.
    pub fn respond(&self, next: &FormAction) -> Response {
        respond(StatusCode::OK, self, &csp::policy(next))
    }
}

/// Asks whether to sign out: buttons `logout` and `stay`, hidden `interaction` and `csrf`.
#[derive(Template)]
#[template(path = "logout.html")]
pub struct LogoutPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Where the form goes; a path of ours.
    pub action: &'a str,
    /// The sealed interaction.
    pub interaction: &'a str,
    /// The form token.
    pub csrf: &'a str,
    /// Who asks, where it is known.
    pub client: Option<&'a str>,
    /// Where they see their account; a path of ours.
    pub account_page: &'a str,
}

impl LogoutPage<'_> {
    /// The answer; `next` is where a redirect after the form may lead.
    pub fn respond(&self, next: &FormAction) -> Response {
        respond(StatusCode::OK, self, &csp::policy(next))
    }
}

#[derive(Template)]
#[template(path = "notice.html")]
pub(super) struct Notice<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    /// Where the person sees their account, if they are signed in.
    pub(super) account_page: Option<&'a str>,
}

/// Says that the person is signed out.
pub struct LoggedOutPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Whether there was a session and it ended; else the person chose to stay.
    pub ended: bool,
    /// Where who stayed sees their account; a path of ours.
    pub account_page: &'a str,
}

impl LoggedOutPage<'_> {
    /// The answer.
    pub fn respond(&self) -> Response {
        let texts = self.frame.texts;
        let (title, text) = if self.ended {
            (texts.logged_out_title, texts.logged_out_text)
        } else {
            (texts.stayed_title, texts.stayed_text)
        };
        let account_page = (!self.ended).then_some(self.account_page);
        let notice = Notice { frame: self.frame, title, text, account_page };
        respond(StatusCode::OK, &notice, &csp::policy(&FormAction::Nowhere))
    }
}

/// Says what went wrong when there is no client to tell (a bad redirect URI, an unknown client).
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// For people.
    pub title: &'a str,
    /// For people.
    pub text: &'a str,
    /// The OAuth error code.
    pub code: Option<&'a str>,
    /// For the client's developer; never repeats a secret.
    pub detail: Option<&'a str>,
    /// Finds the log line.
    pub request_id: &'a str,
}

impl ErrorPage<'_> {
    /// The answer.
    pub fn respond(&self, status: StatusCode) -> Response {
        respond(status, self, &csp::policy(&FormAction::Nowhere))
    }
}

/// `response_mode=form_post` (OAuth 2.0 Form Post Response Mode §2): sends itself, or by its button.
#[derive(Template)]
#[template(path = "form_post.html")]
pub struct FormPostPage<'a> {
    frame: Frame<'a>,
    action: &'a str,
    parameters: &'a [(String, String)],
    script: &'static str,
}

impl<'a> FormPostPage<'a> {
    /// Sends `parameters` to `redirect_uri`, which was validated.
    pub fn new(frame: Frame<'a>, redirect_uri: &'a str, parameters: &'a [(String, String)]) -> Self {
        Self { frame, action: redirect_uri, parameters, script: SUBMIT_SCRIPT }
    }

    /// The answer.
    pub fn respond(&self) -> Response {
        respond(StatusCode::OK, self, &csp::form_post_policy(self.action))
    }
}
