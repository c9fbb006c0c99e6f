//! The page on which a person sees and ends what goes on in their name.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::csp::{self, FormAction};
use super::{Frame, respond};

/// One login.
#[derive(Clone, Debug)]
pub struct AccountSession {
    /// Names it in the form.
    pub id: String,
    /// Whether the person looks at it from there.
    pub here: bool,
    /// Since when, for people and for machines.
    pub since: Moment,
    /// When it ends if it is not used.
    pub until: Moment,
    /// The address and the browser that began it; empty where neither is known.
    pub from: String,
    /// Names of the clients that took part.
    pub clients: Vec<String>,
}

/// One client with access.
#[derive(Clone, Debug)]
pub struct AccountGrant {
    /// Names it in the form.
    pub id: String,
    /// By which people know it.
    pub client: String,
    /// What it may have, one text each.
    pub items: Vec<String>,
}

/// What the page says of a second factor.
#[derive(Clone, Copy, Debug)]
pub struct AccountSecondFactor<'a> {
    /// Whether there is one.
    pub present: bool,
    /// Where it is seen to; a path of ours.
    pub page: &'a str,
}

/// Where the rest of the sessions is; paths of ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountPaging<'a> {
    /// Those that began before.
    pub older: Option<&'a str>,
    /// The first page, from another.
    pub newest: Option<&'a str>,
}

/// A time in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339.
    pub machine: String,
    /// To the minute.
    pub human: String,
}

/// Buttons `end` (a session), `end_others` and `revoke` (a client), hidden `interaction` and `csrf`.
#[derive(Template)]
#[template(path = "account.html")]
pub struct AccountPage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Where the forms go; a path of ours.
    pub action: &'a str,
    /// The sealed interaction.
    pub interaction: &'a str,
    /// The form token.
    pub csrf: &'a str,
    /// As whom the person is signed in.
    pub user: &'a str,
    /// This one first, on the first page; then the newest.
    pub sessions: &'a [AccountSession],
    /// Where the others are.
    pub paging: AccountPaging<'a>,
    /// By name.
    pub grants: &'a [AccountGrant],
    /// Where the password is changed; a path of ours.
    pub password_page: &'a str,
    /// What confirms a login.
    pub second_factor: AccountSecondFactor<'a>,
    /// Where their own clients are, where they may have some; a path of ours.
    pub own_clients: Option<&'a str>,
}

impl AccountPage<'_> {
    fn has_others(&self) -> bool {
        self.paging.older.is_some() || self.sessions.iter().any(|session| !session.here)
    }

    /// The answer.
    pub fn respond(&self) -> Response {
        respond(StatusCode::OK, self, &csp::policy(&FormAction::Own))
    }
}
