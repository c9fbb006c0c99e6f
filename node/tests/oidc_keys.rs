//! Signing keys seen from outside: every algorithm, rotation, and the end of a key that leaked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod admin_support;
mod oidc_support;

use std::time::Duration;

use admin_support::Caller;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::ids::{Id as _, SigningKeyId};
use domicile_raft::{Clock as _, SystemClock};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use oidc_support::browser::{Browser, PageKind};
use oidc_support::node::{CALLBACK, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty};
use serde_json::{Value, json};

/// A tenant of its own, so that its keys may come and go; with its client's metadata.
struct World {
    shared: &'static Shared,
    caller: Caller,
    slug: &'static str,
    issuer: String,
}

impl World {
    async fn new(slug: &'static str, algorithms: &[&str]) -> Self {
        let caller = Caller::new().await;
        let settings = json!({ "signing_algorithms": algorithms });
        let made =
            caller.post("/v1/tenants", json!({ "slug": slug, "settings": settings })).await.expect(201);
        let shared = shared().await;
        let person = json!({ "username": shared.person.username, "password": shared.person.password });
        caller.post(&format!("/v1/tenants/{slug}/users"), person).await.expect(201);
        let world = Self { shared, caller, slug, issuer: made.text_of("issuer") };
        let signing = async {
            while world.active().await.len() < algorithms.len() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), signing).await.expect("every algorithm has a key");
        world
    }

    fn at(&self, path: &str) -> String {
        format!("/v1/tenants/{}{path}", self.slug)
    }

    /// Algorithm and kid of what signs.
    async fn active(&self) -> Vec<(String, String)> {
        let keys = self.caller.get(&self.at("/keys")).await.expect(200).json;
        let active = keys["items"].as_array().unwrap().iter().filter(|key| key["phase"] == "active");
        let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
        active.map(|key| (text(key, "alg"), text(key, "kid"))).collect()
    }

    async fn client(&self, more: Value) -> RelyingParty {
        let mut body = json!({
            "client_name": "Keys", "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.caller.post(&self.at("/clients"), body).await.expect(201);
        let registered =
            Registered { client_id: made.text_of("client_id"), client_secret: made.text_of("client_secret") };
        RelyingParty::discover(&self.issuer, &registered, Method::Basic).await
    }

    async fn tokens(&self, client: &RelyingParty) -> Answer {
        let mut browser = Browser::new(&self.shared.ready.public_url);
        let wanted = [("scope", "openid offline_access"), ("prompt", "consent")];
        let callback = browser.approve(&client.request(&wanted), &self.shared.person).await;
        client.redeem(&callback, &[]).await
    }
}

/// A library of others verifies an ID token under the published keys.
async fn verified(client: &RelyingParty, token: &str, algorithm: Algorithm) {
    let keys = client.http.get(client.endpoint("jwks_uri")).send().await.unwrap();
    let keys: JwkSet = serde_json::from_slice(&keys.bytes().await.unwrap()).unwrap();
    let kid = decode_header(token).unwrap().kid.unwrap();
    let mut rules = Validation::new(algorithm);
    rules.set_audience(&[&client.client.client_id]);
    rules.set_issuer(&[client.endpoint("issuer")]);
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let claims = decode::<Value>(token, &key, &rules).unwrap().claims;
    assert_eq!(claims["nonce"], "no-0123456789");
}

async fn kids(client: &RelyingParty) -> Vec<String> {
    let jwks = client.get(client.endpoint("jwks_uri")).await;
    assert_eq!(jwks.header("cache-control"), "public, max-age=300");
    let keys = jwks.body["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn ps256_and_es384_sign_id_tokens_access_tokens_userinfo_and_introspection() {
    let world = World::new("all-algorithms", &["RS256", "ES256", "EdDSA", "PS256", "ES384"]).await;
    for (alg, library) in [("PS256", Algorithm::PS256), ("ES384", Algorithm::ES384)] {
        let client = world
            .client(json!({
                "id_token_signed_response_alg": alg, "access_token_signed_response_alg": alg,
                "userinfo_signed_response_alg": alg, "introspection_signed_response_alg": alg,
            }))
            .await;
        for name in ["id_token", "userinfo", "introspection"] {
            let listed = &client.metadata[format!("{name}_signing_alg_values_supported")];
            assert!(listed.as_array().unwrap().contains(&json!(alg)), "{name} {listed}");
        }
        let tokens = world.tokens(&client).await;
        verified(&client, tokens.text("id_token"), library).await;
        let access_token = tokens.text("access_token");
        for token in [tokens.text("id_token"), access_token] {
            assert_eq!(decode_header(token).unwrap().alg, library);
        }
        let request = client.http.get(client.endpoint("userinfo_endpoint")).bearer_auth(access_token);
        let userinfo = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(decode_header(&userinfo).unwrap().alg, library);
        let request = client
            .http
            .post(client.endpoint("introspection_endpoint"))
            .basic_auth(&client.client.client_id, Some(&client.client.client_secret))
            .header("accept", "application/token-introspection+jwt")
            .form(&[("token", access_token)]);
        let introspection = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(decode_header(&introspection).unwrap().alg, library);
    }
}

#[tokio::test]
async fn a_client_cannot_ask_for_an_algorithm_that_its_tenant_does_not_keep() {
    let world = World::new("few-algorithms", &["ES256"]).await;
    let body = json!({
        "client_name": "Wants more", "redirect_uris": [CALLBACK], "id_token_signed_response_alg": "PS256",
    });
    let refused = world.caller.post(&world.at("/clients"), body).await.problem(422, "unprocessable");
    assert_eq!(refused.json["member"], "id_token_signed_response_alg");
    let rotated = world.caller.post(&world.at("/keys/rotate"), json!({ "alg": "PS256" })).await;
    rotated.problem(422, "unprocessable");
}

#[tokio::test]
async fn rfc7591_s3_2_1_a_client_that_names_no_algorithm_has_one_that_the_tenant_keeps() {
    let world = World::new("unnamed", &["ES256", "EdDSA"]).await;
    let body = json!({"client_name": "Job", "grant_types": ["client_credentials"], "response_types": []});
    let client = world.caller.post(&world.at("/clients"), body).await.expect(201);
    for member in ["id_token_signed_response_alg", "access_token_signed_response_alg"] {
        assert_eq!(client.json[member], "ES256", "{member}");
    }
    let client = world.client(json!({})).await;
    let tokens = world.tokens(&client).await;
    assert_eq!(client.userinfo(tokens.text("access_token")).await.status, 200);
}

#[tokio::test]
async fn an_algorithm_that_clients_are_registered_for_is_given_up_by_force_alone() {
    let world = World::new("given-up", &["ES256", "EdDSA"]).await;
    let algorithms =
        json!({"id_token_signed_response_alg": "EdDSA", "access_token_signed_response_alg": "ES256"});
    let client = world.client(algorithms).await;
    let settings = json!({ "signing_algorithms": ["ES256"] });
    let refused = world.caller.patch(&world.at(""), json!({ "settings": settings })).await;
    let refused = refused.problem(409, "algorithm-in-use");
    assert_eq!(
        (&refused.json["count"], &refused.json["clients"][0]),
        (&json!(1), &json!(client.client.client_id))
    );
    world.caller.patch(&world.at(""), json!({ "settings": settings, "force": true })).await.expect(200);
}

#[tokio::test]
async fn a_revoked_key_leaves_the_key_set_at_once_and_nothing_it_signed_counts() {
    let world = World::new("leaked", &["ES256"]).await;
    let alg = json!({"id_token_signed_response_alg": "ES256", "access_token_signed_response_alg": "ES256"});
    let client = world.client(alg).await;
    let tokens = world.tokens(&client).await;
    let (access_token, id_token) = (tokens.text("access_token"), tokens.text("id_token"));
    assert_eq!(client.userinfo(access_token).await.status, 200);
    let leaked = world.active().await.remove(0).1;
    assert_eq!(kids(&client).await, std::slice::from_ref(&leaked));

    let revoked = world.caller.delete(&world.at(&format!("/keys/{leaked}"))).await.expect(200);
    let successor = revoked.text_of("successor");
    assert_eq!(kids(&client).await, std::slice::from_ref(&successor), "at once");
    let seen = client.call("introspection_endpoint", &[("token", access_token)]).await;
    assert_eq!(seen.body, json!({ "active": false }));
    let refused = client.userinfo(access_token).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").contains("invalid_token"), "{refused:?}");

    let mut browser = Browser::new(&world.shared.ready.public_url);
    let hinted = client.request(&[("id_token_hint", id_token), ("prompt", "none")]);
    let answer = browser.open(&hinted).await.callback();
    assert_eq!(answer.get("error"), "invalid_request", "{answer:?}");
    let logout = format!("{}?id_token_hint={id_token}", client.endpoint("end_session_endpoint"));
    let page = browser.open(&logout).await.page();
    assert_eq!((page.status, page.kind), (400, PageKind::Other), "{}", page.html);

    // The session and the refresh token are no matter of the key.
    let refreshed = client.refresh(tokens.text("refresh_token")).await;
    let kid = decode_header(refreshed.text("access_token")).unwrap().kid;
    assert_eq!(kid, Some(successor.clone()));
    assert_eq!(client.userinfo(refreshed.text("access_token")).await.status, 200);
    let again = world.caller.delete(&world.at(&format!("/keys/{leaked}"))).await;
    again.problem(404, "not-found");
}

#[tokio::test]
async fn what_a_rotated_key_signed_still_counts_and_the_schedule_says_until_when() {
    let world = World::new("rotated", &["EdDSA"]).await;
    let alg = json!({"id_token_signed_response_alg": "EdDSA", "access_token_signed_response_alg": "EdDSA"});
    let client = world.client(alg).await;
    let tokens = world.tokens(&client).await;
    let before = world.active().await.remove(0).1;
    let rotated = world.caller.post(&world.at("/keys/rotate"), json!({ "alg": "EdDSA" })).await.expect(201);
    assert_eq!(kids(&client).await, [before, rotated.text_of("kid")]);
    assert_eq!(client.userinfo(tokens.text("access_token")).await.status, 200);
    verified(&client, tokens.text("id_token"), Algorithm::EdDSA).await;

    let shown = world.caller.get(&world.at("/keys")).await.expect(200).json;
    let next: Vec<&str> =
        shown["items"].as_array().unwrap().iter().map(|key| key["next_phase"].as_str().unwrap()).collect();
    assert_eq!(next, ["removed", "retired"]);
    assert!(shown["items"][0]["next_phase_at"].as_str() > shown["items"][0]["phase_since"].as_str());
    assert_eq!(shown["schedule"]["key_set_cache_ms"], 300_000);

    let period = json!({ "settings": { "key_active_ms": 86_400_000 } });
    world.caller.patch(&world.at(""), period).await.expect(200);
    let shown = world.caller.get(&world.at("/keys")).await.expect(200).json;
    assert_eq!(shown["schedule"]["key_active_ms"], 86_400_000);
    for short in [json!({ "key_publish_ahead_ms": 299_999 }), json!({ "key_retired_ms": 600_000 })] {
        let refused = world.caller.patch(&world.at(""), json!({ "settings": short })).await;
        refused.problem(422, "unprocessable");
    }
}

#[tokio::test]
async fn rfc7515_s4_1_4_a_token_that_names_an_unknown_key_is_refused() {
    let world = World::new("unknown-kid", &["ES256"]).await;
    let client = world
        .client(json!({"id_token_signed_response_alg": "ES256", "access_token_signed_response_alg": "ES256"}))
        .await;
    let token = world.tokens(&client).await.text("access_token").to_owned();
    let (_, rest) = token.split_once('.').unwrap();
    // One that could have been made just now, and one that could not.
    let young = SigningKeyId::new(SystemClock::new().now(), [7; 10]).to_string();
    for kid in [young.as_str(), "sig_00000000000000000000000000", "x"] {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}).to_string();
        let header = URL_SAFE_NO_PAD.encode(header);
        let refused = client.userinfo(&format!("{header}.{rest}")).await;
        assert_eq!(refused.status, 401, "{kid}");
    }
}
