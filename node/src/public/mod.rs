//! The public surface: OpenID Connect endpoints and the pages people see on their way through them.
//!
//! One file an endpoint. A handler finds the tenant, lets `oidc` read the request, asks `iam`, and lets
//! `oidc` say the answer; what is left here is cookies, pages and status codes.
//!
//! - **An unauthenticated request never writes**: what a page must remember travels in its form, sealed
//!   and bound to one browser (`interaction`).
//! - **A redirect goes to a registered address or to ourselves.** Everything else ends on an error page.
//! - **Cookies count only where a browser of this tenant sends them**: the token, introspection,
//!   revocation, userinfo, JWKS and discovery endpoints never look at them.

mod about;
mod account;
mod account_password;
mod account_second_factor;
mod account_sessions;
mod advance;
mod answer;
mod authorize;
mod body;
pub(crate) mod cached;
mod client;
mod client_keys;
mod client_registration;
mod consent;
mod context;
mod cors;
mod device;
mod discovery;
mod document;
mod dpop;
mod enrol;
mod error;
mod exchange;
mod hint_keys;
mod interaction;
mod introspect;
mod jwks;
mod jwt_bearer;
mod leave;
mod login;
mod logout;
mod mint;
mod own_client;
mod own_clients;
mod page;
mod par;
mod presented_token;
mod register;
mod resources;
mod revoke;
mod second_factor;
mod sign;
mod state;
mod tenant;
mod token;
mod userinfo;
mod visit;

use axum::Router;
use axum::routing::{delete, get, options, post};
use domicile_oidc::endpoint;

use account_second_factor as own_factor;
use client_registration as registration;
use cors::preflight_document as for_everybody;
use page::out_of_place;

pub(crate) use body::is_uncoded;
#[cfg(test)]
pub(crate) use error::ApiError;
pub use state::{PublicState, profile_reads};

/// All routes of the public listener, without the layer that guards them.
pub fn routes(state: PublicState) -> Router {
    let of_tenant = |path: &str| format!("/t/{{tenant}}{path}");
    let rfc8414 = format!("{}/t/{{tenant}}", endpoint::OAUTH_AUTHORIZATION_SERVER);
    Router::new()
        .route(&of_tenant(endpoint::OPENID_CONFIGURATION), get(discovery::get).options(for_everybody))
        .route(&rfc8414, get(discovery::get).options(for_everybody))
        .route(&of_tenant(endpoint::JWKS), get(jwks::get).options(for_everybody))
        .route(&of_tenant(endpoint::AUTHORIZE), get(authorize::get).post(authorize::post))
        .route(&of_tenant(endpoint::INTROSPECT), post(introspect::post))
        .route(&of_tenant(endpoint::DEVICE_AUTHORIZATION), post(device::post))
        .route(&of_tenant(endpoint::DEVICE), get(device::page).post(device::submit))
        .route(&of_tenant(endpoint::DEVICE_DONE), get(device::done))
        .route(&of_tenant(endpoint::LOGOUT), get(logout::get).post(logout::post))
        .route(&of_tenant(page::LOGIN), get(page::out_of_place).post(login::post))
        .route(&of_tenant(page::CONTINUE), get(page::out_of_place).post(login::go_on))
        .route(&of_tenant(page::CONSENT), get(consent::get).post(consent::post))
        .route(&of_tenant(page::LOGOUT), get(page::out_of_place).post(logout::confirm))
        .route(&of_tenant(page::ACCOUNT), get(account::get).post(account::post))
        .route(&of_tenant(page::ACCOUNT_LOGIN), get(page::out_of_place).post(account::log_in))
        .route(&of_tenant(page::REGISTER), get(page::out_of_place).post(register::post))
        .route(&of_tenant(page::ENROL), get(enrol::get).post(enrol::post))
        .merge(self_service())
        .merge(for_scripts(&state))
        .with_state(state)
}

/// What people see to themselves: password, second factors, and clients of their own.
fn self_service() -> Router<PublicState> {
    let of_tenant = |path: &str| format!("/t/{{tenant}}{path}");
    Router::new()
        .route(&of_tenant(page::SECOND_FACTOR), get(out_of_place).post(second_factor::post))
        .route(&of_tenant(page::SECOND_FACTOR_SET_UP), get(out_of_place).post(second_factor::post_set_up))
        .route(&of_tenant(page::ACCOUNT_VERIFY), get(out_of_place).post(own_factor::verify))
        .route(&of_tenant(page::ACCOUNT_SECOND_FACTOR), get(own_factor::get).post(own_factor::post))
        .route(&of_tenant(page::ACCOUNT_PASSWORD), get(account_password::get).post(account_password::post))
        .route(&of_tenant(page::OWN_CLIENTS), get(own_clients::get).post(own_clients::post))
        .route(&of_tenant(page::OWN_CLIENT), get(own_clients::get_one).post(own_clients::post_one))
}

/// What code in a page may call.
fn for_scripts(state: &PublicState) -> Router<PublicState> {
    let of_tenant = |path: &str| format!("/t/{{tenant}}{path}");
    Router::new()
        .route(&of_tenant(endpoint::PAR), post(par::post).options(cors::preflight_post))
        .route(&of_tenant(endpoint::TOKEN), post(token::post).options(cors::preflight_post))
        .route(&of_tenant(endpoint::REVOKE), post(revoke::post).options(cors::preflight_post))
        .route(&of_tenant(endpoint::USERINFO), get(userinfo::get).post(userinfo::post))
        .route(&of_tenant(endpoint::USERINFO), options(cors::preflight_userinfo))
        .route(&of_tenant(endpoint::REGISTER), post(registration::post))
        .route(&of_tenant(endpoint::REGISTER), options(cors::preflight_registration))
        .route(&of_tenant(endpoint::REGISTRATION), get(registration::get).put(registration::put))
        .route(&of_tenant(endpoint::REGISTRATION), delete(registration::delete))
        .route(&of_tenant(endpoint::REGISTRATION), options(cors::preflight_management))
        .layer(cors::CorsLayer(state.clone()))
}
