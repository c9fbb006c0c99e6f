//! Who asks, and where the answer may go. Everything here that fails ends on an error page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::ClientView;
use serde::{Deserialize, Serialize};

use crate::error::OAuthError;
use crate::form::{Form, FormError};
use crate::{redirect_uri, scope};

/// Bytes of a `client_id` at most.
const CLIENT_ID_MAX: usize = 256;
/// Bytes of `state` at most.
const STATE_MAX: usize = 4096;
/// Bytes of a request object at most that is looked into.
const OBJECT_MAX: usize = 16 * 1024;

/// Why no redirect is safe (RFC 6749 §4.1.2.1, first paragraph).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The query or body is no form.
    #[error("{0}")]
    Malformed(#[from] FormError),
    /// `client_id` is absent, repeated or too long.
    #[error("the request does not name one client")]
    NoClient,
    /// No such client, or it is disabled.
    #[error("the application is not known here")]
    UnknownClient,
    /// `redirect_uri` is absent and cannot be left out, or is repeated.
    #[error("the request does not say where to return to")]
    NoRedirectUri,
    /// `redirect_uri` is not registered.
    #[error("the return address is not registered for this application")]
    RedirectUriNotRegistered,
    /// The registration changed while the request waited for its user.
    #[error("the application may not make this request any more")]
    NoLongerRegistered,
    /// `request_uri` is not this client's, ran out, or a code was issued for it (RFC 9126 §4).
    #[error("{}", Self::PUSHED)]
    PushedRequest,
    /// A native app shows our pages inside itself, where it could read what is typed (RFC 8252 §8.12).
    #[error("please open this page in a browser: the application shows it inside itself")]
    Embedded,
}

impl Fatal {
    const PUSHED: &str = "the pushed request is unknown, ran out or was used";

    /// For a client that is answered directly.
    pub fn description(self) -> &'static str {
        match self {
            Self::Malformed(_) => "the request is not well-formed",
            Self::NoClient | Self::UnknownClient => "the client is not known",
            Self::NoRedirectUri => "redirect_uri is missing or repeated",
            Self::RedirectUriNotRegistered => "redirect_uri is not registered",
            Self::NoLongerRegistered => "the registration does not allow this request",
            Self::PushedRequest => Self::PUSHED,
            Self::Embedded => "the page is shown inside the application",
        }
    }
}

/// `response_mode`: how the answer travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the redirect URI's query. The default of `response_type=code`.
    #[default]
    Query,
    /// In a form that posts itself (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

impl ResponseMode {
    /// All, as the discovery document lists them.
    pub const NAMES: [&str; 2] = ["query", "form_post"];
}

/// Where the answer goes. INVARIANT: the URI is registered for the client that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Redirect URI, as asked for.
    pub redirect_uri: String,
    /// How.
    pub mode: ResponseMode,
    /// `state`, given back as it came.
    pub state: Option<String>,
}

/// What a request object says about the way of its answer.
#[derive(Default, Deserialize)]
struct Inside {
    state: Option<String>,
    response_mode: Option<String>,
}

impl Inside {
    /// Nobody signed for it as far as we know, so it counts for nothing but how the refusal of the object itself
    /// travels (OpenID Connect Core §6.1): to a redirect URI that is registered anyway, in the mode and with the
    /// state that a client waits for which put them inside only. What is odd in there is as if it were not.
    fn read(form: &Form) -> Self {
        let Ok(Some(object)) = form.get_within("request", OBJECT_MAX) else { return Self::default() };
        let claims = object.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default()
    }

    fn state(self) -> Option<String> {
        self.state.filter(|state| !state.is_empty() && state.len() <= STATE_MAX)
    }

    fn mode(&self) -> ResponseMode {
        match self.response_mode.as_deref() {
            Some("form_post") => ResponseMode::FormPost,
            Some(_) | None => ResponseMode::Query,
        }
    }
}

/// Which client asks: to be looked up before [`super::validate`].
///
/// # Errors
/// [`Fatal::NoClient`].
pub fn client_id(form: &Form) -> Result<&str, Fatal> {
    form.get_within("client_id", CLIENT_ID_MAX).ok().flatten().ok_or(Fatal::NoClient)
}

/// The target, and whether the request named the redirect URI.
///
/// An error in `state` or `response_mode` comes second: the target is known by then, and gets it
/// without a state, by query.
pub(super) fn read(form: &Form, client: &ClientView) -> Result<(Target, bool, Option<OAuthError>), Fatal> {
    if client.disabled {
        return Err(Fatal::UnknownClient);
    }
    let (redirect_uri, given) = redirect_uri(form, client)?;
    let inside = Inside::read(form);
    let (mode, bad_mode) = match form.get_within("response_mode", 64) {
        Ok(None) => (inside.mode(), None),
        Ok(Some("query")) => (ResponseMode::Query, None),
        Ok(Some("form_post")) => (ResponseMode::FormPost, None),
        Ok(Some(_)) => {
            (ResponseMode::Query, Some(OAuthError::invalid_request("response_mode is not supported")))
        }
        Err(error) => (ResponseMode::Query, Some(error)),
    };
    let (state, bad_state) = match form.get_within("state", STATE_MAX) {
        Ok(state) => (state.map(str::to_owned).or_else(|| inside.state()), None),
        Err(error) => (None, Some(error)),
    };
    Ok((Target { redirect_uri, mode, state }, given, bad_state.or(bad_mode)))
}

fn redirect_uri(form: &Form, client: &ClientView) -> Result<(String, bool), Fatal> {
    match form.get("redirect_uri") {
        Err(_) => Err(Fatal::NoRedirectUri),
        Ok(Some(asked)) if asked.len() > redirect_uri::BYTES_MAX => Err(Fatal::RedirectUriNotRegistered),
        Ok(Some(asked)) if redirect_uri::is_registered(&client.metadata, asked) => {
            Ok((asked.to_owned(), true))
        }
        Ok(Some(_)) => Err(Fatal::RedirectUriNotRegistered),
        // OpenID Connect requires it; OAuth does not where only one is registered (RFC 6749 §3.1.2.3).
        Ok(None) => match (client.metadata.redirect_uris.as_slice(), form.get("scope")) {
            ([only], Ok(scope)) if !scope::holds(scope, scope::OPENID) => Ok((only.clone(), false)),
            (_, _) => Err(Fatal::NoRedirectUri),
        },
    }
}
