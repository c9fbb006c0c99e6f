//! What comes next for an authorization request (OpenID Connect Core §3.1.2.3, §3.1.2.4): asked again
//! after each page, with the session as it is by then.

use std::collections::BTreeSet;

use domicile_iam::ids::SessionId;
use domicile_iam::model::{Authentication, CodeRequest, GrantView, SessionView, TenantContext};
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::authorize::{AuthorizationRequest, Prompt, RedirectError};
use crate::error::{ErrorCode, OAuthError};
use crate::resource;

/// Who is logged in.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// Their session.
    pub session: &'a SessionView,
    /// Their `sub`.
    pub subject: &'a str,
}

/// What already happened on our pages for this request, and in which session. Kept, sealed, with the
/// request; it counts for that session only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The user logged in.
    pub authenticated: Option<SessionId>,
    /// The user chose to go on with the account that was logged in.
    pub chosen: Option<SessionId>,
    /// The user agreed.
    pub consented: Option<SessionId>,
}

/// Why the login page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginReason {
    /// Nobody is logged in.
    NotLoggedIn,
    /// `prompt=login`.
    Prompted,
    /// The last login is older than `max_age`.
    TooOld,
    /// `prompt=select_account`.
    SelectAccount,
    /// Another user than `id_token_hint` or `claims` name is logged in.
    OtherUser,
    /// A stronger login is needed for an essential `acr`.
    Assurance,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Show the login page.
    Login {
        /// Why.
        reason: LoginReason,
        /// Whether the user of the session must prove themselves again; otherwise anybody may log in.
        reauthenticate: bool,
    },
    /// Show the page on which an account is made.
    Register,
    /// Show the consent page.
    Consent {
        /// Scopes to agree to.
        scopes: BTreeSet<String>,
        /// Single claims beyond those scopes.
        claims: BTreeSet<String>,
    },
    /// Make a code.
    Issue(CodeRequest),
    /// Tell the client.
    Error(RedirectError),
}

/// Decides the next step. `grant` is what the session's user granted this client before.
pub fn next(
    request: &AuthorizationRequest,
    tenant: &TenantContext,
    present: Option<Present<'_>>,
    grant: Option<&GrantView>,
    progress: &Progress,
    now: Timestamp,
) -> Next {
    let silent = request.prompt.contains(&Prompt::None);
    // Whoever is logged in by then did so for this request: by the account they made.
    let made = present.is_some_and(|present| progress.authenticated == Some(present.session.id));
    if request.prompt.contains(&Prompt::Create) && !made {
        return Next::Register;
    }
    let live = present.filter(|present| is_live(present.session, now));
    let Some((present, last)) =
        live.and_then(|live| live.session.authentications.last().map(|last| (live, last)))
    else {
        return login(request, silent, LoginReason::NotLoggedIn, false);
    };
    let session = present.session.id;
    let fresh = progress.authenticated == Some(session);
    if !request.fits(present.subject) {
        if fresh {
            return error(request, ErrorCode::LoginRequired, "another user logged in than was asked for");
        }
        return login(request, silent, LoginReason::OtherUser, false);
    }
    if !acr_fits(request, last) && (fresh || !can_reach(request, tenant)) {
        return error(
            request,
            ErrorCode::UnmetAuthenticationRequirements,
            "no acr value that was asked for is reached",
        );
    }
    if let Some((reason, reauthenticate)) =
        reason_to_ask(request, last, progress, session, now).filter(|_| !fresh)
    {
        return login(request, silent, reason, reauthenticate);
    }
    let agreed = progress.consented == Some(session);
    if !agreed && (request.prompt.contains(&Prompt::Consent) || !covers(grant, request)) {
        if silent {
            return error(request, ErrorCode::ConsentRequired, "the user has not agreed to this request");
        }
        return Next::Consent { scopes: request.scopes.clone(), claims: request.claims_beyond_scopes() };
    }
    Next::Issue(code_request(request, last))
}

/// The answer after the user said no (RFC 6749 §4.1.2.1).
pub fn denied(request: &AuthorizationRequest) -> RedirectError {
    let error = OAuthError::new(ErrorCode::AccessDenied, "the user denied the request");
    RedirectError { target: request.target.clone(), error }
}

/// The answer when something failed on our side after the request was valid.
pub fn failed(request: &AuthorizationRequest, busy: bool) -> RedirectError {
    let error = if busy {
        OAuthError::new(ErrorCode::TemporarilyUnavailable, "try again later")
    } else {
        OAuthError::new(ErrorCode::ServerError, "the request could not be completed")
    };
    RedirectError { target: request.target.clone(), error }
}

/// The answer for a resource that is not registered (RFC 8707 §2).
pub fn not_registered(request: &AuthorizationRequest) -> RedirectError {
    RedirectError { target: request.target.clone(), error: resource::invalid() }
}

/// The answer when a code was issued for the pushed request already, in another window perhaps.
pub fn taken(request: &AuthorizationRequest) -> RedirectError {
    let error = OAuthError::new(ErrorCode::InvalidRequestUri, "the pushed request was used or ran out");
    RedirectError { target: request.target.clone(), error }
}

fn login(request: &AuthorizationRequest, silent: bool, reason: LoginReason, reauthenticate: bool) -> Next {
    if silent {
        return error(request, ErrorCode::LoginRequired, "the user must log in");
    }
    Next::Login { reason, reauthenticate }
}

fn error(request: &AuthorizationRequest, code: ErrorCode, description: &'static str) -> Next {
    let error = OAuthError::new(code, description);
    Next::Error(RedirectError { target: request.target.clone(), error })
}

fn is_live(session: &SessionView, now: Timestamp) -> bool {
    now < session.expires_at && now < session.idle_expires_at
}

fn reason_to_ask(
    request: &AuthorizationRequest,
    last: &Authentication,
    progress: &Progress,
    session: SessionId,
    now: Timestamp,
) -> Option<(LoginReason, bool)> {
    // `max_age=0` means the same as `prompt=login` (OpenID Connect Core §3.1.2.1).
    let too_old = |max_age_s: u64| max_age_s == 0 || now.since_ms(last.at) > max_age_s.saturating_mul(1000);
    if request.prompt.contains(&Prompt::Login) {
        Some((LoginReason::Prompted, true))
    } else if request.max_age_s.is_some_and(too_old) {
        Some((LoginReason::TooOld, true))
    } else if !acr_fits(request, last) {
        Some((LoginReason::Assurance, true))
    } else if request.prompt.contains(&Prompt::SelectAccount) && progress.chosen != Some(session) {
        Some((LoginReason::SelectAccount, false))
    } else {
        None
    }
}

fn acr_fits(request: &AuthorizationRequest, last: &Authentication) -> bool {
    request.acr_essential.is_empty() || request.acr_essential.contains(&last.acr)
}

fn can_reach(request: &AuthorizationRequest, tenant: &TenantContext) -> bool {
    request.acr_essential.iter().any(|acr| tenant.settings.acr_values.contains(acr))
}

fn covers(grant: Option<&GrantView>, request: &AuthorizationRequest) -> bool {
    grant.is_some_and(|grant| {
        request.scopes.is_subset(&grant.scopes)
            && request.claims_beyond_scopes().is_subset(&grant.claims)
            && request.resources.is_subset(&grant.resources)
    })
}

fn code_request(request: &AuthorizationRequest, last: &Authentication) -> CodeRequest {
    CodeRequest {
        client: request.client,
        redirect_uri: request.target.redirect_uri.clone(),
        redirect_uri_given: request.redirect_uri_given,
        scopes: request.scopes.clone(),
        challenge: request.challenge.clone(),
        nonce: request.nonce.clone(),
        claims: request.claims.clone(),
        auth_time_wanted: request.auth_time_wanted,
        acr: (!last.acr.is_empty()).then(|| last.acr.clone()),
        dpop_jkt: request.dpop_jkt.clone(),
        resources: request.resources.clone(),
    }
}

#[cfg(test)]
mod tests;
