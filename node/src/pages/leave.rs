//! The page before an address that nobody vouches for (RFC 9700 §4.11.2).

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::csp::{self, FormAction};
use super::{Frame, respond};

/// Names the address, and leads there by the person's hand alone: no script, no refresh. It does not say the client's
/// name, which whoever registered it made up.
#[derive(Template)]
#[template(path = "leave.html")]
pub struct LeavePage<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// The host, or the scheme for an app.
    pub host: &'a str,
    /// The whole address, if it is gone to by a link.
    pub link: Option<&'a str>,
    /// Else where the form goes.
    pub action: &'a str,
    /// The form's fields.
    pub parameters: &'a [(String, String)],
    /// The OAuth error code that is told there.
    pub code: Option<&'a str>,
    /// For the client's developer; a fixed text.
    pub detail: &'a str,
}

impl LeavePage<'_> {
    /// The answer.
    pub fn respond(&self) -> Response {
        let forms = match self.link {
            Some(_) => FormAction::Nowhere,
            None => FormAction::OwnThenRedirect(self.action.to_owned()),
        };
        respond(StatusCode::OK, self, &csp::policy(&forms))
    }
}
