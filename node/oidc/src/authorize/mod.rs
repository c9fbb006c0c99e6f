//! The authorization request (RFC 6749 §4.1.1; OpenID Connect Core §3.1.2.1), GET or POST.
//!
//! Two ways to fail: [`Fatal`] ends on an error page of ours, since there is nowhere safe to send the
//! browser; [`RedirectError`] goes back to the client. Which one is decided by client and redirect URI
//! alone, before anything else is looked at.

mod prompt;
mod request;
mod target;

pub use prompt::{Display, Prompt};
pub use request::{AuthorizationRequest, Context, validate};
pub use target::{Fatal, ResponseMode, Target, client_id};

use crate::error::OAuthError;

/// An error that the client is told by redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectError {
    /// Where it goes: a registered redirect URI.
    pub target: Target,
    /// What is said.
    pub error: OAuthError,
}

/// A request that goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Show an error page; never redirect.
    Fatal(Fatal),
    /// Tell the client.
    Redirect(RedirectError),
}

impl From<Fatal> for Refusal {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

#[cfg(test)]
mod tests;
