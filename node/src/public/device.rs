//! Device authorization (RFC 8628): the endpoint for devices, and the pages for their users.
//!
//! The page where a code is typed turns what waits under it into an authorization request of the same client,
//! which goes the way of all others through login and consent. Its answer is kept for the device; the browser
//! is sent to a page that says what came of it.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use domicile_iam::commands::{DenyDevice, DeviceRefusal, StartDevice, normal_user_code};
use domicile_iam::query::Consistency;
use domicile_iam::service::DeviceStanding;
use domicile_oidc::authorize::{AuthorizationRequest, Fatal};
use domicile_oidc::error::ErrorCode;
use domicile_oidc::flow::Progress;
use domicile_oidc::{Form, OAuthError, device, endpoint, resource};
use serde::{Deserialize, Serialize};

use super::advance::{Arrival, Pending, advance};
use super::client::ClientRequest;
use super::context::Caller;
use super::error::{self, ApiError, Fault, PageError};
use super::interaction::Purpose;
use super::state::PublicState;
use super::visit::{Account, Visit};
use super::{answer, resources};
use crate::cookie::OpenError;
use crate::pages::DeviceError;

/// Bytes of what is typed that are looked at.
const TEXT_MAX: usize = 256;

/// POST of a device.
pub async fn post(State(state): State<PublicState>, request: ClientRequest) -> Response {
    start(&state, &request).await.map_or_else(ApiError::into_response, answer::plain)
}

async fn start(state: &PublicState, request: &ClientRequest) -> Result<domicile_oidc::Response, ApiError> {
    let ClientRequest { tenant, client, form, .. } = request;
    let device::Wanted { scopes, resources } = device::parse(form, client, tenant)?;
    if !resources::are_registered(state, tenant, &resources)? {
        return Err(resource::invalid().into());
    }
    let command = StartDevice { client: client.id, scopes, resources };
    match error::refusal(state.iam.start_device(&request.context(), &command).await)? {
        Ok(written) => Ok(device::response(tenant, &written.reply, state.clock.now())),
        Err(DeviceRefusal::NoCode) => Err(Fault::Unavailable { retry_after_s: 1 }.into()),
        Err(DeviceRefusal::ClientRefused | DeviceRefusal::Unknown) => {
            Err(OAuthError::new(ErrorCode::UnauthorizedClient, "the client may not do this any more").into())
        }
    }
}

/// What a device that its user let in redeems.
pub struct Allowed {
    /// The code.
    pub code: String,
    /// Its PKCE verifier.
    pub verifier: String,
    /// What stands for its redirect URI.
    pub redirect_uri: String,
}

/// The device asks whether its user said something (§3.4, §3.5).
pub async fn allowed(
    state: &PublicState,
    request: &ClientRequest,
    device_code: &str,
) -> Result<Allowed, ApiError> {
    let ClientRequest { tenant, client, .. } = request;
    let refused = match state.iam.device_standing(tenant.id, client, device_code).await? {
        DeviceStanding::Approved { code, verifier } => {
            return Ok(Allowed { code, verifier, redirect_uri: device::done_uri(&tenant.issuer) });
        }
        DeviceStanding::Pending if !in_time(state, device_code) => {
            OAuthError::new(ErrorCode::SlowDown, "wait five seconds more between requests")
        }
        DeviceStanding::Pending => {
            OAuthError::new(ErrorCode::AuthorizationPending, "the user has not answered yet")
        }
        DeviceStanding::Denied => OAuthError::new(ErrorCode::AccessDenied, "the user said no"),
        DeviceStanding::Unknown => {
            let over = device::ends_at_s(device_code).is_some_and(|end| end <= state.clock.now().seconds());
            let code = if over { ErrorCode::ExpiredToken } else { ErrorCode::InvalidGrant };
            OAuthError::new(code, "the device code is over, or was never issued to this client")
        }
    };
    Err(refused.into())
}

/// Only codes that exist are counted, so that nobody fills the table with others.
fn in_time(state: &PublicState, device_code: &str) -> bool {
    let mut name = [0; 32];
    let hash = digest(&SHA256, device_code.as_bytes());
    name.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    state.polls.in_time(name, Duration::from_secs(device::INTERVAL_S), state.clock.monotonic())
}

/// The page has nothing to remember: that it was made for this browser counts.
#[derive(Serialize, Deserialize)]
struct Asked {}

/// What the last page says.
#[derive(Serialize, Deserialize)]
struct Done {
    connected: bool,
}

/// The page where a code is typed. `verification_uri_complete` brings it along; it is sent by the person all
/// the same (§3.3.1).
pub async fn page(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let form = Form::parse(query.unwrap_or_default().as_bytes()).ok();
    let code = form.as_ref().and_then(|form| form.get_within("user_code", TEXT_MAX).ok().flatten());
    visit.answer(show(&visit, code.unwrap_or_default(), None))
}

/// What went wrong, and for how many seconds it stays so.
type Failed = (DeviceError, Option<u64>);

fn show(visit: &Visit, user_code: &str, failed: Option<Failed>) -> Result<Response, PageError> {
    let hidden = visit.seal(Purpose::Device, &Asked {})?.ok_or(Fault::Internal)?;
    let response = visit.device_page(&hidden, user_code, failed.map(|(error, _)| error));
    Ok(error::retry_after(response, failed.and_then(|(_, wait_s)| wait_s)))
}

/// A code was typed.
pub async fn submit(visit: Visit, body: Body) -> Response {
    visit.answer(look_up(&visit, body).await)
}

async fn look_up(visit: &Visit, body: Body) -> Result<Response, PageError> {
    let (form, _): (Form, Asked) = visit.submitted(Purpose::Device, body).await?;
    let typed = form.get_within("user_code", TEXT_MAX).ok().flatten().unwrap_or_default();
    // §5.1: guesses are counted, by address and by code.
    if let Err(problem) = visit.state.limits.login(visit.scope.address, &visit.seals.blind_name(typed)) {
        return show(visit, typed, Some((DeviceError::TooMany, error::wait_s(problem))));
    }
    let iam = &visit.state.iam;
    let Some(user_code) = normal_user_code(typed) else {
        return show(visit, typed, Some((DeviceError::Code, None)));
    };
    let Some(waiting) = iam.waiting_device(visit.tenant.id, &user_code).await? else {
        return show(visit, typed, Some((DeviceError::Code, None)));
    };
    let client = iam.client_by_id(visit.tenant.id, waiting.client, &Consistency::Local).await?;
    let client = client.ok_or(Fatal::UnknownClient)?;
    let request = device::request(&client, &visit.tenant, waiting, user_code, visit.now);
    let account = visit.account().await?;
    advance(visit, Pending { request, progress: Progress::default(), account }, Arrival::Submitted).await
}

/// The person said no.
///
/// # Errors
/// [`PageError`].
pub async fn deny(
    visit: &Visit,
    request: &AuthorizationRequest,
    account: &Account,
) -> Result<Response, PageError> {
    let (Some(user_code), Some(challenge)) = (&request.device, &request.challenge) else {
        return Err(Fault::Internal.into());
    };
    let context = visit.context(Caller::User(account.user.id));
    let denied = DenyDevice { user_code: user_code.clone(), challenge: challenge.clone() };
    match error::refusal(visit.state.iam.deny_device(&context, &denied).await)? {
        Ok(_) => finish(visit, request, true, false),
        Err(DeviceRefusal::Unknown | DeviceRefusal::ClientRefused | DeviceRefusal::NoCode) => {
            finish(visit, request, false, false)
        }
    }
}

/// The way is over: by the user's word, which was written, or because something stood in the way. A reload
/// repeats nothing.
///
/// # Errors
/// [`PageError`].
pub fn finish(
    visit: &Visit,
    request: &AuthorizationRequest,
    answered: bool,
    connected: bool,
) -> Result<Response, PageError> {
    if !answered {
        return show(visit, request.device.as_deref().unwrap_or_default(), Some((DeviceError::Failed, None)));
    }
    let hidden = visit.seal(Purpose::DeviceDone, &Done { connected })?.ok_or(Fault::Internal)?;
    // Base64url needs no escapes.
    let location = format!("{}?interaction={}", visit.path(endpoint::DEVICE_DONE), hidden.interaction);
    Ok(visit.with_browser(answer::see_other(location)))
}

/// Says what came of it, to the browser that was told.
pub async fn done(visit: Visit, RawQuery(query): RawQuery) -> Response {
    visit.answer(say(&visit, query.unwrap_or_default().as_bytes()))
}

fn say(visit: &Visit, query: &[u8]) -> Result<Response, PageError> {
    let form = Form::parse(query).map_err(|_| OpenError::Foreign)?;
    let Done { connected } = visit.open(Purpose::DeviceDone, &form)?;
    Ok(visit.device_done_page(connected))
}
