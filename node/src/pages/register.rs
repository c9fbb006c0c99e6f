//! The page on which a person makes an account.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::csp::{self, FormAction};
use super::enrol::EnrolError;
use super::{Frame, respond};

/// Fields `username`, `password`, `password_again` and `terms`, hidden `interaction` and `csrf`; the button
/// `sign_in` of a form of its own for who has an account.
#[derive(Template)]
#[template(path = "register.html")]
pub struct RegisterPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Where the forms go; a path of ours.
    pub action: &'a str,
    /// The sealed interaction.
    pub interaction: &'a str,
    /// The form token.
    pub csrf: &'a str,
    /// Which client is waiting.
    pub client: &'a str,
    /// What was typed before. The passwords are not shown again.
    pub username: &'a str,
    /// What has to be agreed to.
    pub terms: Option<&'a str>,
    /// What went wrong the time before.
    pub error: Option<EnrolError>,
}

impl RegisterPage<'_> {
    fn blames(&self, field: &str) -> bool {
        self.error.is_some_and(|error| error.field() == field)
    }

    /// The answer; `next` is where a redirect after the form may lead.
    pub fn respond(&self, next: &FormAction) -> Response {
        respond(self.error.map_or(StatusCode::OK, EnrolError::status), self, &csp::policy(next))
    }
}
