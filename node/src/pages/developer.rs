//! The pages on which users register clients of their own.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::csp::{self, FormAction};
use super::second_factor::FormFields;
use super::{Frame, respond};

/// One client in the list.
#[derive(Clone, Debug)]
pub struct OwnClientEntry {
    /// Its page; a path of ours.
    pub page: String,
    /// By which people know it.
    pub name: String,
    /// `client_id`.
    pub client_id: String,
    /// Whether it can do nothing.
    pub disabled: bool,
}

/// What the form of a client holds.
#[derive(Clone, Debug, Default)]
pub struct ClientFields {
    /// `client_name`.
    pub name: String,
    /// One in each line.
    pub redirect_uris: String,
    /// One in each line.
    pub post_logout_redirect_uris: String,
    /// Divided by spaces.
    pub scope: String,
    /// Whether it has no secret.
    pub public: bool,
    /// Whether it is an app on a device.
    pub native: bool,
}

/// The list, and the form for one more: button `register`.
#[derive(Template)]
#[template(path = "own_clients.html")]
pub struct OwnClientsPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The form.
    pub form: FormFields<'a>,
    /// What there is.
    pub clients: &'a [OwnClientEntry],
    /// What was typed before.
    pub fields: &'a ClientFields,
    /// What was wrong with it.
    pub error: Option<&'a str>,
    /// Whether there may be no more.
    pub full: bool,
    /// The account page; a path of ours.
    pub account_page: &'a str,
}

impl OwnClientsPage<'_> {
    /// The answer.
    pub fn respond(&self) -> Response {
        respond(StatusCode::OK, self, &csp::policy(&FormAction::Own))
    }
}

/// One client: buttons `save`, `rotate` and `delete` (with `sure`).
#[derive(Template)]
#[template(path = "own_client.html")]
pub struct OwnClientPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The form.
    pub form: FormFields<'a>,
    /// `client_id`.
    pub client_id: &'a str,
    /// Its secret, when it was just made.
    pub secret: Option<&'a str>,
    /// Whether it has secrets.
    pub has_secret: bool,
    /// Whether it can do nothing.
    pub disabled: bool,
    /// As it is, or as it was typed.
    pub fields: &'a ClientFields,
    /// What was wrong with what was typed.
    pub error: Option<&'a str>,
    /// The list; a path of ours.
    pub list: &'a str,
}

impl OwnClientPage<'_> {
    /// The answer.
    pub fn respond(&self) -> Response {
        respond(StatusCode::OK, self, &csp::policy(&FormAction::Own))
    }
}
