//! What this issuer supports: one document for OpenID Connect Discovery §3 and RFC 8414 §2.

use domicile_iam::model::{ACR_TWO_FACTORS, AssertionAlgorithm, TenantContext};
use domicile_iam::streams::grant::STANDARD_CLAIMS;
use serde_json::{Value, json};

use crate::authorize::{Display, Prompt, ResponseMode};
use crate::response::Response;
use crate::{device, dpop, endpoint, exchange, jws, jwt_bearer};

/// How long others may keep it, in seconds.
const MAX_AGE_S: u32 = 300;
/// Languages our pages speak (BCP 47).
pub const UI_LOCALES: [&str; 2] = ["en", "de"];
/// Claims of ID tokens and userinfo besides [`STANDARD_CLAIMS`].
const PROTOCOL_CLAIMS: [&str; 10] =
    ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid"];

/// The answer at both well-known paths. The same bytes until the tenant changes: keep it.
pub fn response(tenant: &TenantContext) -> Response {
    Response::public_json(&document(tenant), MAX_AGE_S)
}

/// The document. It lists what works, and says `false` where absence would mean true.
pub fn document(tenant: &TenantContext) -> Value {
    let url = |path| endpoint::url(&tenant.issuer, path);
    let settings = &tenant.settings;
    let algorithms: Vec<&str> =
        settings.signing_algorithms.iter().map(|alg| jws::algorithm_name(*alg)).collect();
    let claims: Vec<&str> =
        PROTOCOL_CLAIMS.into_iter().chain(STANDARD_CLAIMS.iter().map(|(claim, _)| *claim)).collect();
    let mut document = json!({
        "issuer": tenant.issuer,
        "authorization_endpoint": url(endpoint::AUTHORIZE),
        "token_endpoint": url(endpoint::TOKEN),
        "userinfo_endpoint": url(endpoint::USERINFO),
        "jwks_uri": url(endpoint::JWKS),
        "pushed_authorization_request_endpoint": url(endpoint::PAR),
        "require_pushed_authorization_requests": settings.require_pushed_authorization_requests,
        "device_authorization_endpoint": url(endpoint::DEVICE_AUTHORIZATION),
        "introspection_endpoint": url(endpoint::INTROSPECT),
        "revocation_endpoint": url(endpoint::REVOKE),
        "end_session_endpoint": url(endpoint::LOGOUT),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "scopes_supported": settings.scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ResponseMode::NAMES,
        "grant_types_supported": [
            "authorization_code", "refresh_token", "client_credentials", jwt_bearer::GRANT_TYPE,
            device::GRANT_TYPE, exchange::GRANT_TYPE,
        ],
        "acr_values_supported": acr_values(tenant),
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": algorithms,
        "userinfo_signing_alg_values_supported": algorithms,
        "introspection_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": auth_methods(true),
        "token_endpoint_auth_signing_alg_values_supported": assertion_algorithms(),
        "introspection_endpoint_auth_methods_supported": auth_methods(false),
        "introspection_endpoint_auth_signing_alg_values_supported": assertion_algorithms(),
        "revocation_endpoint_auth_methods_supported": auth_methods(true),
        "revocation_endpoint_auth_signing_alg_values_supported": assertion_algorithms(),
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": dpop::algorithm_names(),
        "display_values_supported": Display::NAMES,
        "prompt_values_supported": Prompt::names(settings),
        "claim_types_supported": ["normal"],
        "claims_supported": claims,
        "ui_locales_supported": UI_LOCALES,
        "claims_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "require_request_uri_registration": false,
        "authorization_response_iss_parameter_supported": true,
    });
    if !settings.registration.is_closed()
        && let Some(members) = document.as_object_mut()
    {
        members.insert("registration_endpoint".to_owned(), url(endpoint::REGISTER).into());
    }
    document
}

/// What a login can reach: by a first factor, and by two.
fn acr_values(tenant: &TenantContext) -> Vec<&str> {
    let values = tenant.settings.acr_values.iter().map(String::as_str);
    values.filter(|acr| *acr != ACR_TWO_FACTORS).chain([ACR_TWO_FACTORS]).collect()
}

/// Methods of client authentication, `none` only where a public client may come.
fn auth_methods(public: bool) -> Vec<&'static str> {
    let all = ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"];
    all.into_iter().chain(public.then_some("none")).collect()
}

fn assertion_algorithms() -> Vec<&'static str> {
    let all = AssertionAlgorithm::ASYMMETRIC.into_iter().chain([AssertionAlgorithm::HS256]);
    all.map(AssertionAlgorithm::name).collect()
}

#[cfg(test)]
mod tests {
    use domicile_iam::model::TenantSettings;

    use super::*;
    use crate::error::ErrorCode;
    use crate::testing::{ISSUER, tenant};

    #[test]
    fn discovery_s3_required_members_are_there_and_under_the_issuer() {
        let document = document(&tenant());
        assert_eq!(document["issuer"], ISSUER);
        for (name, path) in [
            ("authorization_endpoint", "/oauth2/authorize"),
            ("token_endpoint", "/oauth2/token"),
            ("pushed_authorization_request_endpoint", "/oauth2/par"),
            ("introspection_endpoint", "/oauth2/introspect"),
            ("revocation_endpoint", "/oauth2/revoke"),
            ("device_authorization_endpoint", "/oauth2/device_authorization"),
            ("userinfo_endpoint", "/oauth2/userinfo"),
            ("end_session_endpoint", "/oauth2/logout"),
            ("jwks_uri", "/oauth2/jwks"),
        ] {
            assert_eq!(document[name], format!("{ISSUER}{path}"), "{name}");
        }
        let holds = |name: &str, value: &str| {
            document[name].as_array().is_some_and(|list| list.contains(&value.into()))
        };
        assert!(holds("id_token_signing_alg_values_supported", "RS256"), "OIDC Discovery §3");
        assert!(holds("scopes_supported", "openid"));
        assert!(holds("response_types_supported", "code"));
        assert!(holds("claims_supported", "sub"));
    }

    #[test]
    fn discovery_s3_what_would_default_to_true_is_said_to_be_false() {
        let document = document(&tenant());
        assert_eq!(document["request_parameter_supported"], false);
        assert_eq!(document["request_uri_parameter_supported"], false);
        assert_eq!(document["claims_parameter_supported"], true);
        assert_eq!(document["authorization_response_iss_parameter_supported"], true, "RFC 9207 §3");
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    }

    #[test]
    fn rfc8414_s2_methods_with_assertions_say_their_algorithms_and_never_none() {
        let document = document(&tenant());
        for endpoint in ["token", "introspection", "revocation"] {
            let methods = &document[format!("{endpoint}_endpoint_auth_methods_supported")];
            assert!(methods.as_array().unwrap().contains(&json!("private_key_jwt")), "{endpoint}");
            let algorithms = &document[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
            assert_eq!(algorithms, &json!(["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256"]));
        }
        let introspection = &document["introspection_endpoint_auth_methods_supported"];
        assert!(!introspection.as_array().unwrap().contains(&json!("none")), "RFC 7662 §2.1");
    }

    #[test]
    fn rfc8414_s2_the_registration_endpoint_is_named_where_clients_may_register() {
        let mut tenant = tenant();
        assert!(document(&tenant).get("registration_endpoint").is_none());
        tenant.settings.registration = domicile_iam::model::Registration::InitialAccessToken;
        assert_eq!(document(&tenant)["registration_endpoint"], format!("{ISSUER}/oauth2/register"));
    }

    #[test]
    fn every_listed_prompt_is_understood_and_no_other() {
        let closed = tenant().settings;
        let open = TenantSettings { self_registration: true, ..closed.clone() };
        for settings in [&closed, &open] {
            for name in Prompt::names(settings) {
                assert!(Prompt::parse(name, settings).is_ok(), "{name}");
            }
        }
        assert!(Prompt::names(&open).contains(&"create"));
        assert_eq!(
            Prompt::parse("create", &closed).map_err(|error| error.code),
            Err(ErrorCode::InvalidRequest)
        );
        for name in Display::NAMES {
            assert_eq!(serde_json::to_value(Display::parse(name)).unwrap(), name);
        }
    }

    #[test]
    fn an_issuer_with_a_trailing_slash_gives_no_double_one() {
        assert_eq!(endpoint::url("https://id.example/", endpoint::JWKS), "https://id.example/oauth2/jwks");
    }

    #[test]
    fn rfc8414_s3_2_the_answer_is_json_that_may_be_kept() {
        let response = response(&tenant());
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    }
}
