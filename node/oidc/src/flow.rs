//! What comes next for an authorization request (OpenID Connect Core §3.1.2.3, §3.1.2.4): asked again
//! after each page, with the session as it is by then.

use std::collections::BTreeSet;

use domicile_iam::ids::SessionId;
use domicile_iam::model::{
    ACR_TWO_FACTORS, Assurance, ClientView, CodeRequest, GrantView, SecondFactorPolicy, SessionView,
    TenantContext,
};
use domicile_iam::streams::client::is_open_to_impersonation;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::authorize::{AuthorizationRequest, Prompt, RedirectError};
use crate::error::{ErrorCode, OAuthError};
use crate::resource;

/// How old a login may be for setting up a second factor: 10 minutes.
const SET_UP_WITHIN_MS: u64 = 10 * 60 * 1_000;

/// Who is logged in.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// Their session.
    pub session: &'a SessionView,
    /// Their `sub`.
    pub subject: &'a str,
    /// Whether they have a second factor.
    pub second_factor: bool,
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
    /// Ask for the second factor of the user of the session, and for nothing else.
    SecondFactor,
    /// Show the page on which a second factor is set up: the tenant wants one of everybody.
    SetUpSecondFactor,
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

/// Decides the next step. `grant` is what the session's user granted this client before, where that counts
/// ([`asks_each_time`]).
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
    let Some((present, proofs)) =
        live.and_then(|live| Assurance::of(&live.session.authentications).map(|proofs| (live, proofs)))
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
    let by_second = essential(request, ACR_TWO_FACTORS) && present.second_factor;
    if !acr_fits(request, &proofs) && !by_second && (fresh || !can_reach(request, tenant)) {
        return error(
            request,
            ErrorCode::UnmetAuthenticationRequirements,
            "no acr value that was asked for is reached",
        );
    }
    if let Some((reason, reauthenticate)) =
        reason_to_ask(request, (&proofs, by_second), progress, session, now).filter(|_| !fresh)
    {
        return login(request, silent, reason, reauthenticate);
    }
    if proofs.second.is_none() && wants_second(request, tenant, present, &proofs) {
        return match (silent, present.second_factor) {
            (true, _) => error(request, ErrorCode::LoginRequired, "a second factor is needed"),
            (false, true) => Next::SecondFactor,
            // Who sets one up must have proved themselves just now, not some hours ago.
            (false, false) if !fresh && now.since_ms(proofs.first.at) > SET_UP_WITHIN_MS => {
                login(request, silent, LoginReason::TooOld, true)
            }
            (false, false) => Next::SetUpSecondFactor,
        };
    }
    let agreed = progress.consented == Some(session);
    if !agreed && (request.prompt.contains(&Prompt::Consent) || !covers(grant, request)) {
        if silent {
            return error(request, ErrorCode::ConsentRequired, "the user has not agreed to this request");
        }
        return Next::Consent { scopes: request.scopes.clone(), claims: request.claims_beyond_scopes() };
    }
    Next::Issue(code_request(request, &proofs))
}

/// Whether what the user granted before does not count (RFC 8252 §8.6): they are asked as for `prompt=consent`.
pub fn asks_each_time(request: &AuthorizationRequest, client: &ClientView, tenant: &TenantContext) -> bool {
    let redirect_uri = &request.target.redirect_uri;
    request.device.is_none() && is_open_to_impersonation(&client.metadata, redirect_uri, &tenant.issuer)
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
    (proofs, by_second): (&Assurance<'_>, bool),
    progress: &Progress,
    session: SessionId,
    now: Timestamp,
) -> Option<(LoginReason, bool)> {
    let last = proofs.first;
    // `max_age=0` means the same as `prompt=login` (OpenID Connect Core §3.1.2.1).
    let too_old = |max_age_s: u64| max_age_s == 0 || now.since_ms(last.at) > max_age_s.saturating_mul(1000);
    if request.prompt.contains(&Prompt::Login) {
        Some((LoginReason::Prompted, true))
    } else if request.max_age_s.is_some_and(too_old) {
        Some((LoginReason::TooOld, true))
    } else if !acr_fits(request, proofs) && !by_second {
        Some((LoginReason::Assurance, true))
    } else if request.prompt.contains(&Prompt::SelectAccount) && progress.chosen != Some(session) {
        Some((LoginReason::SelectAccount, false))
    } else {
        None
    }
}

fn acr_fits(request: &AuthorizationRequest, proofs: &Assurance<'_>) -> bool {
    request.acr_essential.is_empty() || proofs.reached().into_iter().any(|acr| essential(request, acr))
}

fn essential(request: &AuthorizationRequest, acr: &str) -> bool {
    request.acr_essential.iter().any(|wanted| wanted == acr)
}

/// Whether a second factor is wanted of who has shown none: by the tenant, or by the client, which insists on it or
/// likes it better than what there is (OpenID Connect Core §3.1.2.1, RFC 9470 §4).
fn wants_second(
    request: &AuthorizationRequest,
    tenant: &TenantContext,
    present: Present<'_>,
    proofs: &Assurance<'_>,
) -> bool {
    let by_tenant = match tenant.settings.second_factor {
        SecondFactorPolicy::WhenAsked => false,
        SecondFactorPolicy::WhenEnrolled => present.second_factor,
        SecondFactorPolicy::Required => true,
    };
    let preferred =
        request.acr_values.iter().find(|acr| **acr == ACR_TWO_FACTORS || **acr == proofs.first.acr);
    let asked = preferred.is_some_and(|acr| acr == ACR_TWO_FACTORS) && present.second_factor;
    by_tenant || asked || !acr_fits(request, proofs)
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

/// The `acr` to tell: one that the client insists on, else the one it likes best, else the strongest.
fn told_acr(request: &AuthorizationRequest, proofs: &Assurance<'_>) -> Option<String> {
    let reached = proofs.reached();
    let known = |wanted: &&String| reached.contains(&wanted.as_str());
    let asked = request.acr_essential.iter().chain(&request.acr_values).find(known);
    asked.cloned().or_else(|| reached.first().map(|acr| (*acr).to_owned()))
}

fn code_request(request: &AuthorizationRequest, proofs: &Assurance<'_>) -> CodeRequest {
    CodeRequest {
        client: request.client,
        redirect_uri: request.target.redirect_uri.clone(),
        redirect_uri_given: request.redirect_uri_given,
        scopes: request.scopes.clone(),
        challenge: request.challenge.clone(),
        nonce: request.nonce.clone(),
        claims: request.claims.clone(),
        auth_time_wanted: request.auth_time_wanted,
        acr: told_acr(request, proofs),
        dpop_jkt: request.dpop_jkt.clone(),
        resources: request.resources.clone(),
    }
}

#[cfg(test)]
mod second_factor_tests;
#[cfg(test)]
mod tests;
