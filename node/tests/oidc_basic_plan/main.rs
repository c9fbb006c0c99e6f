//! The OpenID Foundation's Basic and Config certification plans, module by module: each test bears the
//! name of its module and makes the module's assertions about the node (docs/conformance.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

#[path = "../oidc_support/mod.rs"]
pub(crate) mod oidc_support;
mod steps;

use std::collections::BTreeMap;

use domicile_raft::{Clock as _, SystemClock};
use oidc_support::browser::PageKind;
use oidc_support::node::CALLBACK;
use oidc_support::relying_party::{Method, RelyingParty, names, part};
use serde_json::{Value, json};
use steps::{
    PROFILE, assert_code, assert_error_page, assert_tokens, authorize, request_object, start, succeed,
    userinfo_for, with_sub,
};

#[tokio::test]
async fn oidcc_discovery_endpoint_verification() {
    let (shared, client, _) = start().await;
    let issuer = &shared.ready.issuer;
    let document = client.get(&format!("{issuer}/.well-known/openid-configuration")).await;
    assert_eq!((document.status, document.header("content-type")), (200, "application/json"));
    assert_eq!(document.header("access-control-allow-origin"), "*");
    let body = &document.body;
    assert_eq!(body["issuer"], *issuer);
    for endpoint in ["authorization", "token", "userinfo", "introspection", "revocation", "end_session"] {
        let url = body[format!("{endpoint}_endpoint")].as_str().unwrap();
        assert!(url.starts_with(&shared.ready.public_url), "{url}");
    }
    for (list, needed) in [
        ("response_types_supported", "code"),
        ("subject_types_supported", "public"),
        ("id_token_signing_alg_values_supported", "RS256"),
        ("grant_types_supported", "authorization_code"),
        ("scopes_supported", "openid"),
        ("claims_supported", "sub"),
        ("code_challenge_methods_supported", "S256"),
        ("token_endpoint_auth_methods_supported", "client_secret_basic"),
    ] {
        assert!(body[list].as_array().unwrap().contains(&json!(needed)), "{list}: {}", body[list]);
    }
    assert_eq!(body["claims_parameter_supported"], true);
    assert_eq!(
        (&body["request_parameter_supported"], &body["request_uri_parameter_supported"]),
        (&json!(false), &json!(false))
    );
    let path = issuer.strip_prefix(&shared.ready.public_url).unwrap();
    let rfc8414 = format!("{}/.well-known/oauth-authorization-server{path}", shared.ready.public_url);
    assert_eq!(client.get(&rfc8414).await.body, *body);
    let jwks = client.get(client.endpoint("jwks_uri")).await;
    let keys = jwks.body["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["alg"] == "RS256"));
    for key in keys {
        for member in ["kty", "use", "alg", "kid"] {
            assert!(key[member].is_string(), "{key}");
        }
        for secret in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(secret).is_none(), "a private or symmetric key is published");
        }
    }
}

#[tokio::test]
async fn oidcc_server() {
    let (browser, _, claims) = succeed(&[]).await;
    assert_eq!(browser.seen[0], PageKind::Login);
    assert_eq!(claims["nonce"], "no-0123456789");
}

#[tokio::test]
async fn oidcc_response_type_missing() {
    let (_, client, mut browser) = start().await;
    let callback = browser.open(&client.request(&[("response_type", "")])).await.callback();
    assert_eq!(callback.get("error"), "invalid_request");
    assert_eq!(callback.get("state"), "st-0123456789");
}

#[tokio::test]
async fn oidcc_idtoken_signature() {
    let (_, tokens, _) = succeed(&[]).await;
    let header = part(tokens.text("id_token"), 0);
    assert_eq!(header["alg"], "RS256");
    assert!(header["kid"].is_string());
}

#[tokio::test]
async fn oidcc_idtoken_unsigned() {
    // The module is for servers that offer `none`; this one does not, and registers nobody for it.
    let (shared, client, _) = start().await;
    assert!(
        !client.metadata["id_token_signing_alg_values_supported"]
            .as_array()
            .unwrap()
            .contains(&json!("none"))
    );
    let url = format!("{}/v1/tenants/{}/clients", shared.ready.admin_url, shared.ready.tenant);
    let unsigned = json!({"redirect_uris": [CALLBACK], "id_token_signed_response_alg": "none"});
    let refused =
        client.http.post(url).bearer_auth(&shared.ready.admin_token).json(&unsigned).send().await.unwrap();
    assert!(refused.status().is_client_error(), "{}", refused.status());
}

#[tokio::test]
async fn oidcc_userinfo_get() {
    let (shared, client, mut browser) = start().await;
    let (tokens, claims) = authorize(shared, &client, &mut browser, &[]).await;
    let info = client.userinfo(tokens.text("access_token")).await;
    assert_eq!((info.status, info.header("content-type")), (200, "application/json"));
    assert_eq!(info.body["sub"], claims["sub"]);
}

#[tokio::test]
async fn oidcc_userinfo_post_header() {
    let (shared, client, mut browser) = start().await;
    let (tokens, claims) = authorize(shared, &client, &mut browser, &[]).await;
    let info = client.userinfo_by_post(tokens.text("access_token"), false).await;
    assert_eq!((info.status, &info.body["sub"]), (200, &claims["sub"]));
}

#[tokio::test]
async fn oidcc_userinfo_post_body() {
    let (shared, client, mut browser) = start().await;
    let (tokens, claims) = authorize(shared, &client, &mut browser, &[]).await;
    let info = client.userinfo_by_post(tokens.text("access_token"), true).await;
    assert_eq!((info.status, &info.body["sub"]), (200, &claims["sub"]));
}

#[tokio::test]
async fn oidcc_ensure_request_without_nonce_succeeds_for_code_flow() {
    let (_, _, claims) = succeed(&[("nonce", "")]).await;
    assert!(claims.get("nonce").is_none());
}

#[tokio::test]
async fn oidcc_scope_profile() {
    assert_eq!(names(&userinfo_for("openid profile").await), with_sub(&PROFILE));
}

#[tokio::test]
async fn oidcc_scope_email() {
    let info = userinfo_for("openid email").await;
    assert_eq!(names(&info), with_sub(&["email", "email_verified"]));
    assert_eq!((&info["email"], &info["email_verified"]), (&json!("ada@example.org"), &json!(true)));
}

#[tokio::test]
async fn oidcc_scope_address() {
    let info = userinfo_for("openid address").await;
    assert_eq!(names(&info), with_sub(&["address"]));
    assert_eq!(info["address"]["country"], "UK");
}

#[tokio::test]
async fn oidcc_scope_phone() {
    let info = userinfo_for("openid phone").await;
    assert_eq!(names(&info), with_sub(&["phone_number", "phone_number_verified"]));
    assert_eq!(info["phone_number_verified"], false);
}

#[tokio::test]
async fn oidcc_scope_all() {
    let mut all = PROFILE.to_vec();
    all.extend(["email", "email_verified", "address", "phone_number", "phone_number_verified"]);
    assert_eq!(names(&userinfo_for("openid profile email address phone").await), with_sub(&all));
}

#[tokio::test]
async fn oidcc_alternate_happy_flow() {
    // Scopes in reverse, and `scope` before all other parameters.
    let info = userinfo_for("email openid").await;
    assert_eq!(names(&info), with_sub(&["email", "email_verified"]));
}

#[tokio::test]
async fn oidcc_display_page() {
    succeed(&[("display", "page")]).await;
}

#[tokio::test]
async fn oidcc_display_popup() {
    succeed(&[("display", "popup")]).await;
}

#[tokio::test]
async fn oidcc_prompt_login() {
    let (shared, client, mut browser) = start().await;
    let wanted = [("max_age", "10000")];
    let (_, first) = authorize(shared, &client, &mut browser, &wanted).await;
    let cookies = browser.cookies.clone();
    next_second(&first).await;
    browser.seen.clear();
    let (_, second) =
        authorize(shared, &client, &mut browser, &[("prompt", "login"), ("max_age", "10000")]).await;
    assert_eq!(browser.asked(), [PageKind::Login], "a second login page");
    assert!(second["auth_time"].as_u64() > first["auth_time"].as_u64(), "{first} {second}");
    assert_eq!(first["sub"], second["sub"]);
    let session = |cookies: &BTreeMap<String, String>| {
        cookies.iter().find(|(name, _)| !name.ends_with("-b")).map(|(_, value)| value.clone()).unwrap()
    };
    assert_ne!(session(&cookies), session(&browser.cookies), "the session's secret is renewed at login");
}

#[tokio::test]
async fn oidcc_prompt_none_not_logged_in() {
    let (_, client, mut browser) = start().await;
    let callback = browser.open(&client.request(&[("prompt", "none")])).await.callback();
    assert_eq!(callback.get("error"), "login_required");
    assert_eq!(callback.get("state"), "st-0123456789");
    assert_eq!(browser.asked(), []);
}

#[tokio::test]
async fn oidcc_prompt_none_logged_in() {
    let (shared, client, mut browser) = start().await;
    let (_, first) = authorize(shared, &client, &mut browser, &[]).await;
    browser.seen.clear();
    let (_, second) = authorize(shared, &client, &mut browser, &[("prompt", "none")]).await;
    assert_eq!(browser.asked(), []);
    assert_eq!(first["sub"], second["sub"]);
}

#[tokio::test]
async fn oidcc_max_age_1() {
    let (shared, client, mut browser) = start().await;
    let (_, first) = authorize(shared, &client, &mut browser, &[("max_age", "10000")]).await;
    next_second(&first).await;
    next_second(&json!({"auth_time": first["auth_time"].as_u64().unwrap() + 1})).await;
    browser.seen.clear();
    let (_, second) = authorize(shared, &client, &mut browser, &[("max_age", "1")]).await;
    assert_eq!(browser.asked(), [PageKind::Login]);
    assert!(second["auth_time"].as_u64() > first["auth_time"].as_u64(), "{first} {second}");
}

#[tokio::test]
async fn oidcc_max_age_10000() {
    let (shared, client, mut browser) = start().await;
    let (_, first) = authorize(shared, &client, &mut browser, &[("max_age", "10000")]).await;
    browser.seen.clear();
    let (_, second) = authorize(shared, &client, &mut browser, &[("max_age", "10000")]).await;
    assert_eq!(browser.asked(), []);
    assert!(first["auth_time"].is_u64());
    assert_eq!((&first["sub"], &first["auth_time"]), (&second["sub"], &second["auth_time"]));
}

#[tokio::test]
async fn oidcc_ensure_request_with_unknown_parameter_succeeds() {
    succeed(&[("extra", "foobar")]).await;
}

#[tokio::test]
async fn oidcc_id_token_hint() {
    let (shared, client, mut browser) = start().await;
    let (tokens, first) = authorize(shared, &client, &mut browser, &[]).await;
    browser.seen.clear();
    let hint = tokens.text("id_token");
    let (_, second) =
        authorize(shared, &client, &mut browser, &[("prompt", "none"), ("id_token_hint", hint)]).await;
    assert_eq!(browser.asked(), []);
    assert_eq!(first["sub"], second["sub"]);
}

#[tokio::test]
async fn oidcc_login_hint() {
    let (shared, client, mut browser) = start().await;
    let page = browser.open(&client.request(&[("login_hint", "ada@example.org")])).await.page();
    let form = page.form();
    assert_eq!(form.find(|control| control.kind == "text").unwrap().value, "ada@example.org");
    authorize(shared, &client, &mut browser, &[("login_hint", "ada@example.org")]).await;
}

#[tokio::test]
async fn oidcc_ui_locales() {
    succeed(&[("ui_locales", "se")]).await;
}

#[tokio::test]
async fn oidcc_claims_locales() {
    succeed(&[("claims_locales", "se")]).await;
}

#[tokio::test]
async fn oidcc_ensure_request_with_acr_values_succeeds() {
    let (_, _, claims) = succeed(&[("acr_values", "1 2")]).await;
    assert!(claims["acr"].is_string());
}

#[tokio::test]
async fn oidcc_codereuse() {
    let (shared, client, mut browser) = start().await;
    let callback = browser.approve(&client.request(&[]), &shared.person).await;
    let tokens = client.redeem(&callback, &[]).await;
    assert_eq!(tokens.status, 200);
    client.redeem(&callback, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn oidcc_codereuse_30seconds() {
    // The module waits so that servers may allow a retry at once. Here the second use is never
    // allowed and voids the tokens of the first; that the wait changes nothing, the domain's test of
    // this name shows by a clock that it turns (node/iam/tests/domain/codes.rs).
    let (shared, client, mut browser) = start().await;
    let callback =
        browser.approve(&client.request(&[("scope", "openid offline_access")]), &shared.person).await;
    let tokens = client.redeem(&callback, &[]).await;
    assert_eq!(client.userinfo(tokens.text("access_token")).await.status, 200);
    client.redeem(&callback, &[]).await.assert_error(400, "invalid_grant");
    let refused = client.userinfo(tokens.text("access_token")).await;
    refused.assert_error(401, "invalid_token");
    assert!(refused.header("www-authenticate").starts_with("Bearer error=\"invalid_token\""));
    client.refresh(tokens.text("refresh_token")).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn oidcc_ensure_registered_redirect_uri() {
    let (_, client, mut browser) = start().await;
    for bad in [
        "https://rp.example.org/callback/other",
        "https://evil.example/callback",
        "https://rp.example.org/callback?x=1",
    ] {
        assert_error_page(&browser.open(&client.request(&[("redirect_uri", bad)])).await.page());
    }
}

#[tokio::test]
async fn oidcc_ensure_post_request_succeeds() {
    let (shared, client, mut browser) = start().await;
    let (_, first) = authorize(shared, &client, &mut browser, &[]).await;
    browser.seen.clear();
    let parameters = client.parameters(&[]);
    let fields: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let callback =
        browser.post_from_elsewhere(client.endpoint("authorization_endpoint"), &fields).await.callback();
    assert_eq!(browser.asked(), [], "the session counts, though the form came without its cookie");
    assert_code(&callback);
    let tokens = client.redeem(&callback, &[]).await;
    let second = assert_tokens(&client, &tokens, Some("no-0123456789")).await;
    assert_eq!(first["sub"], second["sub"]);
}

#[tokio::test]
async fn oidcc_server_client_secret_post() {
    let (shared, basic, mut browser) = start().await;
    let client = RelyingParty::discover(&shared.ready.issuer, &shared.post, Method::Post).await;
    authorize(shared, &client, &mut browser, &[]).await;
    let wrong = RelyingParty::discover(&shared.ready.issuer, &shared.post, Method::Basic).await;
    let refused = wrong.call("token_endpoint", &[("grant_type", "authorization_code"), ("code", "x")]).await;
    refused.assert_error(401, "invalid_client");
    assert!(refused.header("www-authenticate").starts_with("Basic"));
    drop(basic);
}

#[tokio::test]
async fn oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported() {
    let (_, client, mut browser) = start().await;
    let request = client.request(&[("request_uri", "https://rp.example.org/request.jwt")]);
    let callback = browser.open(&request).await.callback();
    assert_eq!(callback.get("error"), "request_uri_not_supported");
    assert_eq!(callback.get("state"), "st-0123456789");
}

#[tokio::test]
async fn oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported() {
    // As the suite sends it: everything is in the object, and `state` and `response_mode` are nowhere else.
    let (_, client, mut browser) = start().await;
    let object = request_object(&client);
    let outside = [("request", object.as_str()), ("state", ""), ("nonce", ""), ("response_mode", "")];
    let callback = browser.open(&client.request(&outside)).await.callback();
    assert_eq!(callback.get("error"), "request_not_supported");
    assert_eq!(callback.get("state"), "st-0123456789");
    let by_form = client.parameters(&[]).iter().any(|(_, value)| value == "form_post");
    assert_eq!(browser.seen.last() == Some(&PageKind::FormPost), by_form, "as the object wants it");
}

#[tokio::test]
async fn oidcc_ensure_request_object_with_redirect_uri() {
    let (_, client, mut browser) = start().await;
    let bad =
        [("request", "eyJhbGciOiJub25lIn0.e30."), ("redirect_uri", "https://rp.example.org/unregistered")];
    assert_error_page(&browser.open(&client.request(&bad)).await.page());
}

#[tokio::test]
async fn oidcc_claims_essential() {
    let (shared, client, mut browser) = start().await;
    let wanted = [("claims", r#"{"userinfo":{"name":{"essential":true}}}"#)];
    let (tokens, claims) = authorize(shared, &client, &mut browser, &wanted).await;
    let info = client.userinfo(tokens.text("access_token")).await;
    assert_eq!(info.body["name"], "Ada King");
    assert_eq!(names(&info.body), ["name", "sub"]);
    assert!(claims.get("name").is_none(), "it was asked for at userinfo");
}

#[tokio::test]
async fn oidcc_refresh_token() {
    let (shared, client, mut browser) = start().await;
    assert!(client.metadata["grant_types_supported"].as_array().unwrap().contains(&json!("refresh_token")));
    let wanted = [("scope", "openid offline_access"), ("prompt", "consent")];
    let (first, claims) = authorize(shared, &client, &mut browser, &wanted).await;
    // The suite names the scope, and waits to see another `iat`.
    next_second(&json!({"auth_time": claims["iat"]})).await;
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", first.text("refresh_token")),
        ("scope", "openid offline_access"),
    ];
    let second = client.call("token_endpoint", &fields).await;
    // OIDC Core §12.2: no nonce, and all else about the user as before.
    let refreshed = assert_tokens(&client, &second, None).await;
    for same in ["iss", "sub", "aud", "auth_time", "azp"] {
        assert_eq!(refreshed[same], claims[same], "{same}");
    }
    assert!(refreshed["iat"].as_u64() > claims["iat"].as_u64());
    assert_ne!(first.text("access_token"), second.text("access_token"));
    assert_eq!(client.userinfo(second.text("access_token")).await.status, 200);
    let other = RelyingParty::discover(&shared.ready.issuer, &shared.other, Method::Basic).await;
    other.refresh(second.text("refresh_token")).await.assert_error(400, "invalid_grant");
    assert_eq!(
        client.refresh(second.text("refresh_token")).await.status,
        200,
        "another client's try burns nothing"
    );
}

#[tokio::test]
async fn oidcc_ensure_request_with_valid_pkce_succeeds() {
    // RFC 7636 appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let (shared, client, mut browser) = start().await;
    let wanted = [("code_challenge", challenge), ("code_challenge_method", "S256")];
    let callback = browser.approve(&client.request(&wanted), &shared.person).await;
    assert_code(&callback);
    client.redeem(&callback, &[]).await.assert_error(400, "invalid_grant");
    let tokens = client.redeem(&callback, &[("code_verifier", verifier)]).await;
    assert_tokens(&client, &tokens, Some("no-0123456789")).await;
}

/// Waits until a login would be later, in seconds, than the one in `claims`.
async fn next_second(claims: &Value) {
    let then = claims["auth_time"].as_u64().unwrap();
    let now = || SystemClock::new().now().seconds();
    let mut poll = tokio::time::interval(std::time::Duration::from_millis(20));
    while now() <= then {
        poll.tick().await;
    }
}

#[tokio::test]
async fn form_post_answers_arrive_as_a_form() {
    let (shared, client, mut browser) = start().await;
    let callback = browser.approve(&client.request(&[("response_mode", "form_post")]), &shared.person).await;
    assert_eq!(browser.seen.last(), Some(&PageKind::FormPost));
    assert_code(&callback);
    let tokens = client.redeem(&callback, &[]).await;
    assert_tokens(&client, &tokens, Some("no-0123456789")).await;
}
