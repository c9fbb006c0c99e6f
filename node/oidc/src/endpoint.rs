//! Where the endpoints are: paths under the issuer.

/// Authorization endpoint (RFC 6749 §3.1).
pub const AUTHORIZE: &str = "/oauth2/authorize";
/// Pushed authorization request endpoint (RFC 9126 §2).
pub const PAR: &str = "/oauth2/par";
/// Token endpoint (RFC 6749 §3.2).
pub const TOKEN: &str = "/oauth2/token";
/// Introspection endpoint (RFC 7662).
pub const INTROSPECT: &str = "/oauth2/introspect";
/// Revocation endpoint (RFC 7009).
pub const REVOKE: &str = "/oauth2/revoke";
/// Device authorization endpoint (RFC 8628 §3.1).
pub const DEVICE_AUTHORIZATION: &str = "/oauth2/device_authorization";
/// Where a user types a device's code (RFC 8628 §3.3).
pub const DEVICE: &str = "/device";
/// Where the answer of login and consent comes back for a device.
pub const DEVICE_DONE: &str = "/device/done";
/// UserInfo endpoint (OpenID Connect Core §5.3).
pub const USERINFO: &str = "/oauth2/userinfo";
/// End session endpoint (OpenID Connect RP-Initiated Logout §2).
pub const LOGOUT: &str = "/oauth2/logout";
/// Client registration endpoint (RFC 7591 §3).
pub const REGISTER: &str = "/oauth2/register";
/// Client configuration endpoint (RFC 7592 §2), as routed.
pub const REGISTRATION: &str = "/oauth2/register/{client_id}";
/// JWK set (RFC 7517 §5).
pub const JWKS: &str = "/oauth2/jwks";
/// Discovery document (OpenID Connect Discovery §4): after the issuer's path.
pub const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
/// Metadata (RFC 8414 §3.1): between the issuer's host and its path.
pub const OAUTH_AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";

/// The URL of an endpoint.
pub fn url(issuer: &str, path: &str) -> String {
    format!("{}{path}", issuer.trim_end_matches('/'))
}
