//! Signed answers: introspection (RFC 9701) and userinfo (OpenID Connect Core §5.3.2), and what a resource
//! server needs to ask for a stronger login (RFC 9470), against the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use oidc_support::browser::Browser;
use oidc_support::node::{Admin, CALLBACK, Registered, Shared, shared};
use oidc_support::relying_party::{Method, RelyingParty};
use serde_json::{Value, json};

async fn client(shared: &Shared, more: Value) -> RelyingParty {
    let mut body = json!({
        "client_name": "Signed", "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await
}

async fn access_token(shared: &Shared, client: &RelyingParty, more: &[(&str, &str)]) -> String {
    let callback =
        Browser::new(&shared.ready.public_url).approve(&client.request(more), &shared.person).await;
    client.redeem(&callback, &[]).await.text("access_token").to_owned()
}

/// The claims, once a library of others verified them under the published keys.
async fn verified(client: &RelyingParty, token: &str, algorithm: Algorithm) -> Value {
    let keys = client.http.get(client.endpoint("jwks_uri")).send().await.unwrap();
    let keys: JwkSet = serde_json::from_slice(&keys.bytes().await.unwrap()).unwrap();
    let kid = decode_header(token).unwrap().kid.unwrap();
    let mut rules = Validation::new(algorithm);
    rules.set_audience(&[&client.client.client_id]);
    rules.set_issuer(&[client.endpoint("issuer")]);
    rules.set_required_spec_claims(&["iss", "aud"]);
    rules.validate_exp = false;
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    decode::<Value>(token, &key, &rules).unwrap().claims
}

async fn introspect(client: &RelyingParty, token: &str, accept: &str) -> (String, String) {
    let Registered { client_id, client_secret } = &client.client;
    let request = client.http.post(client.endpoint("introspection_endpoint"));
    let request = request.basic_auth(client_id, Some(client_secret)).header("accept", accept);
    let answer = request.form(&[("token", token)]).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, answer.text().await.unwrap())
}

#[tokio::test]
async fn rfc9701_s5_an_introspection_answer_is_signed_where_that_is_asked_for() {
    const SIGNED: &str = "application/token-introspection+jwt";
    let shared = shared().await;
    for (registered, algorithm) in [(json!({}), Algorithm::RS256), (json!("ES256"), Algorithm::ES256)] {
        let more = match registered.as_str() {
            Some(name) => json!({ "introspection_signed_response_alg": name }),
            None => json!({}),
        };
        let client = client(shared, more).await;
        let token = access_token(shared, &client, &[]).await;
        let (kind, body) = introspect(&client, &token, SIGNED).await;
        assert_eq!(kind, SIGNED);
        let header = decode_header(&body).unwrap();
        assert_eq!(header.typ.as_deref(), Some("token-introspection+jwt"));
        let claims = verified(&client, &body, algorithm).await;
        assert_eq!(claims["token_introspection"]["active"], true);
        assert!(claims["iat"].is_u64() && claims.get("exp").is_none() && claims.get("sub").is_none());
        let (_, body) = introspect(&client, "garbage", SIGNED).await;
        let claims = verified(&client, &body, algorithm).await;
        assert_eq!(claims["token_introspection"], json!({"active": false}));
        for accept in ["application/json", "application/json, application/token-introspection+jwt;q=0.1"] {
            let (kind, body) = introspect(&client, &token, accept).await;
            let plain: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((kind.as_str(), &plain["active"]), ("application/json", &json!(true)), "{accept}");
        }
    }
    let metadata = client(shared, json!({})).await.metadata;
    assert_eq!(metadata["introspection_signing_alg_values_supported"], json!(["RS256", "ES256", "EdDSA"]));
}

#[tokio::test]
async fn oidc_core_s5_3_2_userinfo_is_signed_for_a_client_that_registered_it() {
    let shared = shared().await;
    let client = client(shared, json!({ "userinfo_signed_response_alg": "EdDSA" })).await;
    let token = access_token(shared, &client, &[("scope", "openid email")]).await;
    let answer =
        client.http.get(client.endpoint("userinfo_endpoint")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/jwt");
    let claims = verified(&client, &answer.text().await.unwrap(), Algorithm::EdDSA).await;
    assert_eq!(claims["email"], "ada@example.org");
    assert!(claims["sub"].is_string());
}

#[tokio::test]
async fn rfc9470_s4_a_resource_server_can_ask_for_a_login_and_see_that_it_happened() {
    let shared = shared().await;
    let client = client(shared, json!({})).await;
    let acr = client.metadata["acr_values_supported"][0].as_str().unwrap().to_owned();
    // §4: what a challenge named goes into the authorization request.
    let token = access_token(shared, &client, &[("acr_values", &acr), ("max_age", "600")]).await;
    let seen = client.call("introspection_endpoint", &[("token", &token)]).await;
    assert_eq!(seen.body["acr"], acr.as_str(), "§6.2");
    assert!(seen.body["auth_time"].is_u64(), "§6.2");
    let claims = r#"{"id_token":{"acr":{"essential":true,"values":["urn:example:unreachable"]}}}"#;
    let mut browser = Browser::new(&shared.ready.public_url);
    let refused = browser.approve(&client.request(&[("claims", claims)]), &shared.person).await;
    assert_eq!(refused.get("error"), "unmet_authentication_requirements", "§5");
}
