//! Device authorization (RFC 8628): a device without a browser asks, its user answers on another one.

use std::collections::BTreeSet;

use domicile_iam::commands::DeviceCodes;
use domicile_iam::model::{ClaimsRequest, ClientView, GrantType, TenantContext};
use domicile_iam::service::WaitingDevice;
use serde_json::json;
use url::Url;

use crate::authorize::{AuthorizationRequest, Display, Prompt, ResponseMode, Target};
use crate::error::{ErrorCode, OAuthError};
use crate::form::Form;
use crate::response::Response;
use crate::{Timestamp, endpoint, resource, scope};

/// `grant_type`.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Seconds between two polls (§3.5).
pub const INTERVAL_S: u64 = 5;

/// What a device asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What tokens are to allow.
    pub scopes: BTreeSet<String>,
    /// What they are to be for (RFC 8707); none: the issuer. Whether they are registered, the caller knows.
    pub resources: BTreeSet<String>,
}

/// Reads the request of an authenticated or a public client.
///
/// # Errors
/// `unauthorized_client`, `invalid_scope`, `invalid_target`.
pub fn parse(form: &Form, client: &ClientView, tenant: &TenantContext) -> Result<Wanted, OAuthError> {
    if !client.metadata.grant_types.contains(&GrantType::DeviceCode) {
        return Err(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "the client is not registered for device authorization",
        ));
    }
    let allowed = scope::allowed(&client.metadata, &tenant.settings.scopes);
    let asked = form.get("scope")?.map(scope::parse).transpose()?.unwrap_or_default();
    let scopes: BTreeSet<String> = asked.intersection(&allowed).cloned().collect();
    if scopes.is_empty() && !asked.is_empty() {
        return Err(OAuthError::new(ErrorCode::InvalidScope, "no scope that this client may ask for"));
    }
    Ok(Wanted { scopes, resources: resource::read(form)? })
}

/// The answer to the device (§3.2).
pub fn response(tenant: &TenantContext, codes: &DeviceCodes, now: Timestamp) -> Response {
    let verification_uri = endpoint::url(&tenant.issuer, endpoint::DEVICE);
    let mut complete = verification_uri.clone();
    if let Ok(url) = Url::parse_with_params(&verification_uri, [("user_code", &codes.user_code)]) {
        complete = url.into();
    }
    let body = json!({
        "device_code": codes.device_code,
        "user_code": codes.user_code,
        "verification_uri": verification_uri,
        "verification_uri_complete": complete,
        "expires_in": codes.expires_at.seconds().saturating_sub(now.seconds()),
        "interval": INTERVAL_S,
    });
    Response::json(200, &body)
}

/// What stands for a redirect URI: the page of ours that ends the way through login and consent. Nothing but the
/// browser comes there.
#[must_use]
pub fn done_uri(issuer: &str) -> String {
    endpoint::url(issuer, endpoint::DEVICE_DONE)
}

/// The same question as an authorization request, which login and consent then answer. Consent is always
/// asked for: the user must see what they let in (§3.3, §5.4).
#[must_use]
pub fn request(
    client: &ClientView,
    tenant: &TenantContext,
    waiting: WaitingDevice,
    user_code: String,
    now: Timestamp,
) -> AuthorizationRequest {
    let metadata = &client.metadata;
    let redirect_uri = done_uri(&tenant.issuer);
    AuthorizationRequest {
        client: client.id,
        client_id: client.client_id.clone(),
        target: Target { redirect_uri, mode: ResponseMode::Query, state: None },
        redirect_uri_given: true,
        scopes: waiting.scopes,
        challenge: Some(waiting.challenge),
        nonce: None,
        claims: ClaimsRequest::default(),
        prompt: BTreeSet::from([Prompt::Consent]),
        max_age_s: metadata.default_max_age,
        auth_time_wanted: metadata.require_auth_time || metadata.default_max_age.is_some(),
        display: Display::default(),
        ui_locales: Vec::new(),
        acr_values: metadata.default_acr_values.clone(),
        acr_essential: Vec::new(),
        login_hint: None,
        hint_subject: None,
        subjects: None,
        received_at: now,
        dpop_jkt: None,
        resources: waiting.resources,
        device: Some(user_code),
        pushed: None,
    }
}

/// When a device code ends by its own word, in seconds since 1970: it says so behind a dot.
pub fn ends_at_s(device_code: &str) -> Option<u64> {
    device_code.rsplit_once('.')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use domicile_iam::model::PkceChallenge;

    use super::*;
    use crate::testing::{ISSUER, NOW, client, client_with, form, json as read, set, tenant};

    fn device() -> ClientView {
        client_with(|metadata| {
            metadata.grant_types = vec![GrantType::DeviceCode, GrantType::RefreshToken];
            metadata.redirect_uris.clear();
        })
    }

    #[test]
    fn rfc8628_s3_1_a_device_asks_for_what_its_client_may_have() {
        let asked = |scope: &str, client: &ClientView| {
            let wanted = parse(&form(&[("scope", scope)]), client, &tenant());
            wanted.map(|wanted| wanted.scopes).map_err(|error| error.code)
        };
        assert_eq!(asked("openid email other", &device()), Ok(set(&["openid", "email"])));
        assert_eq!(asked("", &device()), Ok(set(&[])));
        assert_eq!(asked("other", &device()), Err(ErrorCode::InvalidScope));
        assert_eq!(asked("openid", &client()), Err(ErrorCode::UnauthorizedClient));
    }

    #[test]
    fn rfc8628_s3_2_the_answer_says_what_to_show_and_how_often_to_ask() {
        let codes = DeviceCodes {
            device_code: "secret.WDJBMJHT.1800000600".to_owned(),
            user_code: "WDJB-MJHT".to_owned(),
            expires_at: NOW.plus_ms(600_000),
        };
        let response = response(&tenant(), &codes, NOW);
        assert_eq!((response.status, response.header("cache-control")), (200, Some("no-store")));
        let page = format!("{ISSUER}/device");
        let wanted = json!({
            "device_code": "secret.WDJBMJHT.1800000600", "user_code": "WDJB-MJHT", "verification_uri": page,
            "verification_uri_complete": format!("{page}?user_code=WDJB-MJHT"), "expires_in": 600, "interval": 5,
        });
        assert_eq!(read(&response), wanted);
        assert_eq!(ends_at_s(&codes.device_code), Some(1_800_000_600));
        assert_eq!((ends_at_s("secret"), ends_at_s("secret.x")), (None, None));
    }

    #[test]
    fn rfc8628_s3_3_the_user_is_always_asked_and_the_code_goes_to_our_own_page() {
        let waiting = WaitingDevice {
            client: device().id,
            scopes: set(&["openid"]),
            resources: set(&[]),
            challenge: PkceChallenge { s256: "c".repeat(43) },
        };
        let request = request(&device(), &tenant(), waiting, "WDJBMJHT".to_owned(), NOW);
        assert_eq!(request.target.redirect_uri, format!("{ISSUER}/device/done"));
        assert!(request.prompt.contains(&Prompt::Consent));
        assert!(request.recheck(&device(), &tenant()).is_ok());
        assert!(request.recheck(&client(), &tenant()).is_err(), "not registered for devices");
    }
}
