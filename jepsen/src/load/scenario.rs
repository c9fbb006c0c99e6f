//! What a request of a load is.

use clap::ValueEnum;

use crate::random::Random;

/// Kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A login from the first page to the tokens, in a new browser
    Login,
    /// A refresh token for its successor
    Refresh,
    /// An access token by client credentials
    Token,
    /// A question about an access token
    Introspect,
    /// A user's claims
    Userinfo,
    /// All of them: 2% logins, 18% refresh, 20% token, 40% introspect, 20% userinfo
    Mixed,
}

/// One request, or the few of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Login,
    Refresh,
    Token,
    Introspect,
    Userinfo,
}

impl Scenario {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Refresh => "refresh",
            Self::Token => "token",
            Self::Introspect => "introspect",
            Self::Userinfo => "userinfo",
            Self::Mixed => "mixed",
        }
    }

    /// The next request.
    pub(super) fn draw(self, random: &mut Random) -> Action {
        match self {
            Self::Login => Action::Login,
            Self::Refresh => Action::Refresh,
            Self::Token => Action::Token,
            Self::Introspect => Action::Introspect,
            Self::Userinfo => Action::Userinfo,
            Self::Mixed => match random.below(100) {
                0..2 => Action::Login,
                2..20 => Action::Refresh,
                20..40 => Action::Token,
                40..80 => Action::Introspect,
                _ => Action::Userinfo,
            },
        }
    }

    /// Whether it needs people who are logged in before it begins.
    pub(super) fn needs_families(self) -> bool {
        matches!(self, Self::Refresh | Self::Mixed)
    }

    /// Whether it needs an access token of a user.
    pub(super) fn needs_access(self) -> bool {
        matches!(self, Self::Introspect | Self::Userinfo | Self::Mixed)
    }
}
