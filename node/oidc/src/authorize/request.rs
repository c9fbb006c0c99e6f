//! The rest of the request: what fails here is told to the client.

use std::collections::BTreeSet;

use domicile_iam::ids::ClientId;
use domicile_iam::model::{ClaimsRequest, ClientView, GrantType, PkceChallenge, TenantContext};
use domicile_iam::streams::grant::claims_beyond_scopes;
use serde::{Deserialize, Serialize};

use super::{Display, Fatal, Prompt, RedirectError, Refusal, Target, target};
use crate::claims::{self, ClaimsParameter};
use crate::error::{ErrorCode, OAuthError};
use crate::form::Form;
use crate::jws::KeySet;
use crate::{Timestamp, claims_locales, dpop, id_token_hint, par, pkce, redirect_uri, resource, scope};

/// Bytes of hints and lists at most.
const TEXT_MAX: usize = 1024;
/// Members of a space-delimited list that are looked at.
const LIST_MAX: usize = 16;

/// What a request is judged by, besides its client.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The tenant asked.
    pub tenant: &'a TenantContext,
    /// Its public keys, for hints.
    pub keys: &'a KeySet,
    /// Now.
    pub now: Timestamp,
    /// Whether it was pushed (RFC 9126).
    pub pushed: bool,
}

/// A valid request. Kept, sealed, with the browser while pages are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client: ClientId,
    /// The same, as the client calls itself.
    pub client_id: String,
    /// Where the answer goes.
    pub target: Target,
    /// Whether the request named the redirect URI.
    pub redirect_uri_given: bool,
    /// Scopes asked for that the client may ask for.
    pub scopes: BTreeSet<String>,
    /// PKCE, S256.
    pub challenge: Option<PkceChallenge>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// Single claims about the user, and languages for all of them.
    pub claims: ClaimsRequest,
    /// What to ask, or not.
    pub prompt: BTreeSet<Prompt>,
    /// Seconds since the last login at most; of the request, else registered.
    pub max_age_s: Option<u64>,
    /// Whether the ID token must say when the user logged in.
    pub auth_time_wanted: bool,
    /// How pages should look.
    pub display: Display,
    /// Languages for pages, best first (BCP 47).
    pub ui_locales: Vec<String>,
    /// `acr` values wanted, best first; not insisted on.
    pub acr_values: Vec<String>,
    /// `acr` values one of which must be reached (OpenID Connect Core §5.5.1.1).
    pub acr_essential: Vec<String>,
    /// What the client thinks the user will type.
    pub login_hint: Option<String>,
    /// `sub` of the `id_token_hint`.
    pub hint_subject: Option<String>,
    /// Subjects one of which it must be (`claims`, OpenID Connect Core §5.5.1).
    pub subjects: Option<BTreeSet<String>>,
    /// When the request came.
    pub received_at: Timestamp,
    /// Thumbprint of the key that the code is bound to (RFC 9449 §10).
    #[serde(default)]
    pub dpop_jkt: Option<String>,
    /// What tokens are to be for (RFC 8707 §2.1); none: the issuer. Whether they are registered, the
    /// caller knows.
    #[serde(default)]
    pub resources: BTreeSet<String>,
    /// The user code of the device that waits for the answer (RFC 8628), in normal form. Its answer leads to a
    /// page of ours, and no code leaves us.
    #[serde(default)]
    pub device: Option<String>,
    /// What stands for the pushed request that this is; taken when a code is issued.
    #[serde(default)]
    pub pushed: Option<String>,
}

impl AuthorizationRequest {
    /// Whether an answer may be about this subject (OpenID Connect Core §3.1.2.2).
    pub fn fits(&self, subject: &str) -> bool {
        self.hint_subject.as_deref().is_none_or(|hint| hint == subject)
            && self.subjects.as_ref().is_none_or(|subjects| subjects.contains(subject))
    }

    /// Judges a request that waited for its user by the client and its tenant as they are now.
    ///
    /// # Errors
    /// [`Fatal`] if the client could not ask for this any more: what it no longer registers gets no
    /// answer, not even an error.
    pub fn recheck(&self, client: &ClientView, tenant: &TenantContext) -> Result<(), Fatal> {
        if client.id != self.client || client.disabled {
            return Err(Fatal::UnknownClient);
        }
        if self.device.is_some() {
            let may = client.metadata.grant_types.contains(&GrantType::DeviceCode);
            return if may { Ok(()) } else { Err(Fatal::NoLongerRegistered) };
        }
        if !redirect_uri::is_registered(&client.metadata, &self.target.redirect_uri) {
            return Err(Fatal::RedirectUriNotRegistered);
        }
        if self.pushed.is_none() && par::required(&client.metadata, tenant) {
            return Err(Fatal::NoLongerRegistered);
        }
        let lacks_pkce = self.challenge.is_none() && pkce::required(&client.metadata);
        if lacks_pkce || !may_ask_for_codes(client) {
            return Err(Fatal::NoLongerRegistered);
        }
        Ok(())
    }

    /// Whether it is an OpenID Connect request.
    pub fn is_openid(&self) -> bool {
        self.scopes.contains(scope::OPENID)
    }

    /// Single claims that no scope of the request brings anyway: what consent must name.
    pub fn claims_beyond_scopes(&self) -> BTreeSet<String> {
        claims_beyond_scopes(&self.claims, &self.scopes)
    }
}

/// Checks a request of a client that was found by [`super::client_id`].
///
/// # Errors
/// [`Refusal`].
pub fn validate(
    form: &Form,
    client: &ClientView,
    context: Context<'_>,
) -> Result<AuthorizationRequest, Refusal> {
    let (target, given, error) = target::read(form, client)?;
    let told = |error| Refusal::Redirect(RedirectError { target: target.clone(), error });
    if let Some(error) = error {
        return Err(told(error));
    }
    supported(form, client).map_err(told)?;
    if !context.pushed && par::required(&client.metadata, context.tenant) {
        return Err(told(OAuthError::invalid_request("the request must be pushed")));
    }
    let mut request = read(form, client, context, &target).map_err(told)?;
    request.redirect_uri_given = given;
    Ok(request)
}

/// Request objects come first: what they hold would replace what is outside (OpenID Connect Core §6.1).
fn supported(form: &Form, client: &ClientView) -> Result<(), OAuthError> {
    let unsupported = [
        ("request", ErrorCode::RequestNotSupported, "request objects are not supported"),
        ("request_uri", ErrorCode::RequestUriNotSupported, "request_uri is not supported"),
        ("registration", ErrorCode::RegistrationNotSupported, "the registration parameter is not supported"),
    ];
    for (name, code, description) in unsupported {
        if form.get(name)?.is_some() {
            return Err(OAuthError::new(code, description));
        }
    }
    match form.get("response_type")? {
        None => return Err(OAuthError::invalid_request("response_type is missing")),
        Some("code") => {}
        Some(_) => {
            return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, "response_type must be code"));
        }
    }
    if may_ask_for_codes(client) {
        Ok(())
    } else {
        Err(OAuthError::new(ErrorCode::UnauthorizedClient, "the client is not registered for this grant"))
    }
}

fn may_ask_for_codes(client: &ClientView) -> bool {
    client.metadata.response_types.iter().any(|kind| kind == "code")
        && client.metadata.grant_types.contains(&GrantType::AuthorizationCode)
}

fn read(
    form: &Form,
    client: &ClientView,
    context: Context<'_>,
    target: &Target,
) -> Result<AuthorizationRequest, OAuthError> {
    let metadata = &client.metadata;
    let claims = form.get("claims")?.map(claims::parse).transpose()?.unwrap_or_default();
    let ClaimsParameter { personal, subjects, acr_essential, acr_voluntary, auth_time } = claims;
    let max_age_s = max_age(form)?.or(metadata.default_max_age);
    let acr_values = match list(form, "acr_values")? {
        asked if !asked.is_empty() => asked,
        _ if !acr_voluntary.is_empty() => acr_voluntary,
        _ => metadata.default_acr_values.clone(),
    };
    Ok(AuthorizationRequest {
        client: client.id,
        client_id: client.client_id.clone(),
        target: target.clone(),
        redirect_uri_given: true,
        scopes: scopes(form, client, context.tenant)?,
        challenge: pkce::challenge(form, metadata)?,
        nonce: form.get_within("nonce", TEXT_MAX)?.map(str::to_owned),
        claims: ClaimsRequest { locales: claims_locales::read(list(form, "claims_locales")?), ..personal },
        prompt: prompt(form, context.tenant)?,
        max_age_s,
        auth_time_wanted: max_age_s.is_some() || metadata.require_auth_time || auth_time,
        display: form.get("display")?.map(Display::parse).unwrap_or_default(),
        ui_locales: list(form, "ui_locales")?,
        acr_values,
        acr_essential,
        login_hint: form.get_within("login_hint", TEXT_MAX)?.map(str::to_owned),
        hint_subject: hint(form, client, context)?,
        subjects,
        received_at: context.now,
        dpop_jkt: dpop_jkt(form)?,
        resources: resource::read(form)?,
        pushed: None,
        device: None,
    })
}

/// Unknown scopes and those the client may not have are left out (RFC 6749 §3.3); the token response
/// says what is left.
fn scopes(form: &Form, client: &ClientView, tenant: &TenantContext) -> Result<BTreeSet<String>, OAuthError> {
    let allowed = scope::allowed(&client.metadata, &tenant.settings.scopes);
    let asked = form.get("scope")?.map(scope::parse).transpose()?.unwrap_or_default();
    let scopes: BTreeSet<String> = asked.intersection(&allowed).cloned().collect();
    if scopes.is_empty() {
        return Err(OAuthError::new(ErrorCode::InvalidScope, "no scope that this client may ask for"));
    }
    Ok(scopes)
}

fn prompt(form: &Form, tenant: &TenantContext) -> Result<BTreeSet<Prompt>, OAuthError> {
    let text = form.get("prompt")?.unwrap_or_default();
    Prompt::parse(text, &tenant.settings)
}

fn dpop_jkt(form: &Form) -> Result<Option<String>, OAuthError> {
    match form.get("dpop_jkt")? {
        None => Ok(None),
        Some(jkt) if dpop::is_thumbprint(jkt) => Ok(Some(jkt.to_owned())),
        Some(_) => Err(OAuthError::invalid_request("dpop_jkt is no SHA-256 thumbprint")),
    }
}

fn max_age(form: &Form) -> Result<Option<u64>, OAuthError> {
    let Some(text) = form.get_within("max_age", 20)? else { return Ok(None) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .map(Some)
        .ok_or(OAuthError::invalid_request("max_age is not a number"))
}

fn list(form: &Form, name: &'static str) -> Result<Vec<String>, OAuthError> {
    let text = form.get_within(name, TEXT_MAX)?.unwrap_or_default();
    Ok(text.split(' ').filter(|word| !word.is_empty()).take(LIST_MAX).map(str::to_owned).collect())
}

fn hint(form: &Form, client: &ClientView, context: Context<'_>) -> Result<Option<String>, OAuthError> {
    let Some(token) = form.get_within("id_token_hint", id_token_hint::BYTES_MAX)? else { return Ok(None) };
    match id_token_hint::open(token, &context.tenant.issuer, context.keys) {
        Ok(hint) if hint.clients.contains(&client.client_id) => Ok(Some(hint.subject)),
        Ok(_) | Err(_) => Err(OAuthError::invalid_request("id_token_hint is not an ID token of this client")),
    }
}
