//! RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0 §2, §3), GET or POST.

use domicile_iam::ids::SessionId;
use domicile_iam::model::ClientView;
use serde::{Deserialize, Serialize};

use crate::flow::Present;
use crate::form::{Form, FormError};
use crate::id_token_hint::{self, Hint};
use crate::jws::KeySet;
use crate::respond::with_query;

/// Bytes of small parameters at most.
const TEXT_MAX: usize = 4096;

/// Why logout ends on an error page: nobody is logged out, nobody is redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogoutError {
    /// The query or body is no form, or a parameter is repeated or too long.
    #[error("the request is malformed")]
    Malformed,
    /// `id_token_hint` is not an ID token of ours.
    #[error("the ID token is not one of ours")]
    BadHint,
    /// `client_id` is not the one the hint was issued to.
    #[error("the ID token belongs to another application")]
    OtherClient,
    /// No such client, or it is disabled.
    #[error("the application is not known here")]
    UnknownClient,
    /// `post_logout_redirect_uri` is not registered.
    #[error("the return address is not registered for this application")]
    RedirectUriNotRegistered,
}

impl From<FormError> for LogoutError {
    fn from(_: FormError) -> Self {
        Self::Malformed
    }
}

/// A logout request that is well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutRequest {
    /// The client that asks, if the request says: to be looked up.
    pub client_id: Option<String>,
    /// Languages for pages, best first.
    pub ui_locales: Vec<String>,
    hint: Option<Hint>,
    return_to: Option<String>,
    state: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logout {
    /// The session to end, if there is one.
    pub session: Option<SessionId>,
    /// Whether the user must agree first (§2: unless the hint shows that their client asks).
    pub ask: bool,
    /// Where to go then, with `state`; our own page if nowhere.
    pub return_to: Option<String>,
    /// The client and its registered address behind `return_to`.
    pub registration: Option<(String, String)>,
}

impl Logout {
    /// Where to go after the user agreed, if `client` (the one of `registration`, as it is now) still
    /// registers it.
    pub fn return_to_now(self, client: Option<&ClientView>) -> Option<String> {
        let (_, asked) = self.registration?;
        let client = client.filter(|client| !client.disabled)?;
        if client.metadata.post_logout_redirect_uris.contains(&asked) { self.return_to } else { None }
    }
}

/// Reads a request.
///
/// # Errors
/// [`LogoutError`].
pub fn parse(form: &Form, issuer: &str, keys: &KeySet) -> Result<LogoutRequest, LogoutError> {
    let read = |name, bytes_max| form.get_within(name, bytes_max).map_err(|_| LogoutError::Malformed);
    let hint = read("id_token_hint", id_token_hint::BYTES_MAX)?
        .map(|token| id_token_hint::open(token, issuer, keys).map_err(|_| LogoutError::BadHint))
        .transpose()?;
    let named = read("client_id", TEXT_MAX)?.map(str::to_owned);
    let client_id = match (&hint, named) {
        (Some(hint), Some(named)) if !hint.clients.contains(&named) => return Err(LogoutError::OtherClient),
        (_, Some(named)) => Some(named),
        (Some(hint), None) => hint.clients.first().cloned(),
        (None, None) => None,
    };
    let locales = read("ui_locales", TEXT_MAX)?.unwrap_or_default();
    Ok(LogoutRequest {
        client_id,
        ui_locales: locales.split(' ').filter(|tag| !tag.is_empty()).take(16).map(str::to_owned).collect(),
        hint,
        return_to: read("post_logout_redirect_uri", TEXT_MAX)?.map(str::to_owned),
        state: read("state", TEXT_MAX)?.map(str::to_owned),
    })
}

/// Decides. `client` is the one named by [`LogoutRequest::client_id`]; `present` is the session of the
/// browser's cookie.
///
/// Without a client a `post_logout_redirect_uri` cannot be checked and is not followed.
///
/// # Errors
/// [`LogoutError`].
pub fn decide(
    request: &LogoutRequest,
    client: Option<&ClientView>,
    present: Option<Present<'_>>,
) -> Result<Logout, LogoutError> {
    let client = client.filter(|client| !client.disabled);
    if request.client_id.is_some() && client.is_none() {
        return Err(LogoutError::UnknownClient);
    }
    let (return_to, registration) = match (&request.return_to, client) {
        (Some(asked), Some(client)) => (
            Some(checked(asked, request.state.as_deref(), client)?),
            Some((client.client_id.clone(), asked.clone())),
        ),
        (Some(_) | None, _) => (None, None),
    };
    let session = present.map(|present| present.session.id);
    let expected = match (&request.hint, client, present) {
        (Some(hint), Some(client), Some(present)) => is_of(hint, client, present),
        (_, _, _) => false,
    };
    Ok(Logout { session, ask: session.is_some() && !expected, return_to, registration })
}

fn checked(asked: &str, state: Option<&str>, client: &ClientView) -> Result<String, LogoutError> {
    if !client.metadata.post_logout_redirect_uris.iter().any(|registered| registered == asked) {
        return Err(LogoutError::RedirectUriNotRegistered);
    }
    Ok(match state {
        Some(state) => with_query(asked, &[("state", state.to_owned())]),
        None => asked.to_owned(),
    })
}

/// Whether the hint is about this session: by `sid` where it has one, else by subject.
fn is_of(hint: &Hint, client: &ClientView, present: Present<'_>) -> bool {
    let same_session = match (&hint.sid, present.session.clients.get(&client.id)) {
        (Some(hinted), Some(sid)) => hinted == sid,
        (Some(_), None) => false,
        (None, _) => true,
    };
    same_session && hint.subject == present.subject
}

#[cfg(test)]
mod tests;
