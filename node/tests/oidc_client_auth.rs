//! Clients that prove themselves by assertions (RFC 7523 §2.2, OpenID Connect Core §9), over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::assertion::{ASSERTION_TYPE, Key, KeyServer, claims, hs256, seconds};
use oidc_support::browser::Browser;
use oidc_support::node::{Admin, CALLBACK, Node, Ready, Registered, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty};
use serde_json::{Value, json};

/// A client with these members besides its method, found by discovery.
async fn register(ready: &Ready, method: &str, more: Value) -> (RelyingParty, Value) {
    let mut body = json!({
        "client_name": method, "redirect_uris": [CALLBACK], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_method": method,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = Admin::of(ready).create("clients", body).await;
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    (RelyingParty::discover(&ready.issuer, &registered, Method::Post).await, answer)
}

async fn with_keys(ready: &Ready, keys: &[&Key]) -> RelyingParty {
    let set: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    register(ready, "private_key_jwt", json!({"jwks": {"keys": set}})).await.0
}

/// What a good assertion says.
fn good(client: &RelyingParty) -> Value {
    claims(&client.client.client_id, client.endpoint("issuer"))
}

async fn call(client: &RelyingParty, endpoint: &str, assertion: &str, fields: &[(&str, &str)]) -> Answer {
    let mut all = vec![("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
    all.extend(fields);
    client.post(endpoint, &all).await
}

/// A token for the client itself.
async fn token(client: &RelyingParty, assertion: &str) -> Answer {
    call(client, "token_endpoint", assertion, &[("grant_type", "client_credentials")]).await
}

#[tokio::test]
async fn rfc7523_s2_2_a_key_proves_a_client_at_every_endpoint_for_clients() {
    let shared = shared().await;
    let key = Key::new("k1");
    let client = with_keys(&shared.ready, &[&key]).await;
    let signed = || key.sign(&good(&client));
    let mut browser = Browser::new(&shared.ready.public_url);
    let wanted = [("scope", "openid offline_access"), ("prompt", "consent")];
    let callback = browser.approve(&client.request(&wanted), &shared.person).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", callback.get("code")),
        ("redirect_uri", CALLBACK),
        ("client_id", &client.client.client_id),
    ];
    let issued = call(&client, "token_endpoint", &signed(), &fields).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", issued.text("refresh_token"))];
    let next = call(&client, "token_endpoint", &signed(), &fields).await;
    assert_eq!(next.status, 200, "{}", next.body);
    let fields = [("token", next.text("access_token"))];
    let seen = call(&client, "introspection_endpoint", &signed(), &fields).await;
    assert_eq!((seen.status, &seen.body["active"]), (200, &json!(true)), "{}", seen.body);
    assert_eq!(call(&client, "revocation_endpoint", &signed(), &fields).await.status, 200);
    let seen = call(&client, "introspection_endpoint", &signed(), &fields).await;
    assert_eq!(seen.body, json!({"active": false}));
}

#[tokio::test]
async fn rfc7523_s3_an_assertion_is_used_once() {
    let shared = shared().await;
    let key = Key::new("k1");
    let client = with_keys(&shared.ready, &[&key]).await;
    let signed = key.sign(&good(&client));
    assert_eq!(token(&client, &signed).await.status, 200);
    token(&client, &signed).await.assert_error(401, "invalid_client");
    let fields = [("token", "x")];
    call(&client, "introspection_endpoint", &signed, &fields).await.assert_error(401, "invalid_client");
    // A request that failed for another reason has used it all the same.
    let signed = key.sign(&good(&client));
    let refused = call(&client, "token_endpoint", &signed, &[("grant_type", "password")]).await;
    refused.assert_error(400, "unsupported_grant_type");
    token(&client, &signed).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn rfc7523_s3_what_is_not_for_here_and_now_is_refused() {
    let shared = shared().await;
    let key = Key::new("k1");
    let client = with_keys(&shared.ready, &[&key]).await;
    let other = with_keys(&shared.ready, &[&key]).await;
    let with = |name: &str, value: Value| {
        let mut claims = good(&client);
        claims[name] = value;
        key.sign(&claims)
    };
    let token_endpoint = client.endpoint("token_endpoint");
    for (rfc, assertion) in [
        ("7523 §3 (3)", with("aud", json!("https://other.example"))),
        ("9700 §2.5", with("aud", json!(token_endpoint))),
        ("9700 §2.5", with("aud", json!([client.endpoint("issuer"), token_endpoint]))),
        ("7523 §3 (1)", with("iss", json!(other.client.client_id))),
        ("7523 §3 (4)", with("exp", json!(seconds() - 60))),
        ("7523 §3 (4)", with("exp", json!(seconds() + 86_400))),
        ("7523 §3 (5)", with("nbf", json!(seconds() + 120))),
        ("OIDC Core §9", with("jti", Value::Null)),
        ("7523 §3 (9)", Key::new("k1").sign(&good(&client))),
        ("7523 §3 (9)", key.sign_as(&json!({"alg": "ES256", "kid": "unknown"}), &good(&client))),
        ("8725 §3.1", key.sign_as(&json!({"alg": "none"}), &good(&client))),
        ("8725 §3.2", hs256(&key.jwk().to_string(), &good(&client))),
        ("8725 §3.11", key.sign_as(&json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"}), &good(&client))),
        ("7523 §2.2", "not.a.jwt".to_owned()),
    ] {
        let answer = token(&client, &assertion).await;
        assert_eq!((answer.status, &answer.body["error"]), (401, &json!("invalid_client")), "RFC {rfc}");
        assert_eq!(answer.body["error_description"], "client authentication failed", "RFC {rfc}");
    }
    let fields = [("grant_type", "client_credentials"), ("client_id", other.client.client_id.as_str())];
    let mixed = call(&client, "token_endpoint", &key.sign(&good(&client)), &fields).await;
    mixed.assert_error(400, "invalid_request");
    assert_eq!(token(&client, &key.sign(&good(&client))).await.status, 200, "the client itself is fine");
}

#[tokio::test]
async fn rfc9700_s2_5_the_token_endpoint_is_an_audience_only_where_it_is_registered() {
    let shared = shared().await;
    let key = Key::new("k1");
    let more = json!({"jwks": {"keys": [key.jwk()]}, "token_endpoint_auth_audience": "token_endpoint"});
    let (client, _) = register(&shared.ready, "private_key_jwt", more).await;
    let at = |audience: &str| key.sign(&claims(&client.client.client_id, audience));
    assert_eq!(token(&client, &at(client.endpoint("token_endpoint"))).await.status, 200);
    assert_eq!(token(&client, &at(client.endpoint("issuer"))).await.status, 200);
    token(&client, &at(client.endpoint("revocation_endpoint"))).await.assert_error(401, "invalid_client");
    let list = |audiences: Value| {
        let mut claims = good(&client);
        claims["aud"] = audiences;
        key.sign(&claims)
    };
    let both = json!([client.endpoint("issuer"), client.endpoint("token_endpoint")]);
    assert_eq!(token(&client, &list(both)).await.status, 200, "RFC 7523 §3 (3): it is named");
    let strangers = json!(["https://other.example", client.endpoint("revocation_endpoint")]);
    token(&client, &list(strangers)).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn oidc_core_s9_client_secret_jwt_is_an_hmac_under_each_live_secret() {
    let shared = shared().await;
    let (client, document) = register(&shared.ready, "client_secret_jwt", json!({})).await;
    let signed = |secret: &str| hs256(secret, &good(&client));
    assert_eq!(token(&client, &signed(&client.client.client_secret)).await.status, 200);
    token(&client, &signed(&"x".repeat(43))).await.assert_error(401, "invalid_client");
    let own = client.call("token_endpoint", &[("grant_type", "client_credentials")]).await;
    own.assert_error(401, "invalid_client");
    let path = format!("clients/{}/secret", document["id"].as_str().unwrap());
    let rotated = Admin::of(&shared.ready).create(&path, json!({})).await;
    let new = rotated["client_secret"].as_str().unwrap();
    for secret in [new, client.client.client_secret.as_str()] {
        assert_eq!(token(&client, &signed(secret)).await.status, 200, "two overlap");
    }
}

#[tokio::test]
async fn oidc_registration_s2_only_the_registered_algorithm_counts() {
    let shared = shared().await;
    let key = Key::new("k1");
    let more = json!({"jwks": {"keys": [key.jwk()]}, "token_endpoint_auth_signing_alg": "PS256"});
    let (client, _) = register(&shared.ready, "private_key_jwt", more).await;
    token(&client, &key.sign(&good(&client))).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn rfc7591_s2_keys_are_fetched_from_jwks_uri_once_and_not_at_anybodys_word() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "127.0.0.1:0").await;
    let key = Key::new("k1");
    let keys = KeyServer::start(&[&key]).await;
    let more = json!({ "jwks_uri": keys.url });
    let (client, document) = register(&node.ready, "private_key_jwt", more).await;
    assert_eq!(document["jwks_uri"], keys.url.as_str());
    assert_eq!(keys.asked(), 0, "registration fetches nothing");
    for _ in 0..3 {
        assert_eq!(token(&client, &key.sign(&good(&client))).await.status, 200);
    }
    assert_eq!(keys.asked(), 1);
    for number in 0..5 {
        let header = json!({"alg": "ES256", "kid": format!("forged-{number}")});
        token(&client, &key.sign_as(&header, &good(&client))).await.assert_error(401, "invalid_client");
    }
    assert!(keys.asked() <= 2, "unknown keys cause one more request at most");
    let expired = {
        let mut claims = good(&client);
        claims["exp"] = json!(seconds() - 60);
        key.sign_as(&json!({"alg": "ES256", "kid": "another"}), &claims)
    };
    let before = keys.asked();
    token(&client, &expired).await.assert_error(401, "invalid_client");
    assert_eq!(keys.asked(), before, "what is over causes none");
}

#[tokio::test]
async fn a_node_connects_to_nothing_private_that_a_client_names() {
    let dir = tempfile::tempdir().unwrap();
    // In `dev` loopback is reached unless the settings say otherwise.
    let closed = [("DOMICILE__EGRESS__ALLOW_NETWORKS", "")];
    let node = Node::start_with(dir.path(), "127.0.0.1:0", &closed).await;
    let key = Key::new("k1");
    let keys = KeyServer::start(&[&key]).await;
    for uri in [keys.url.clone(), keys.url.replace("127.0.0.1", "localhost")] {
        let (client, _) = register(&node.ready, "private_key_jwt", json!({ "jwks_uri": uri })).await;
        let refused = token(&client, &key.sign(&good(&client))).await;
        refused.assert_error(503, "temporarily_unavailable");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(keys.asked(), 0);
}

#[tokio::test]
async fn rfc7591_s3_2_2_a_client_with_keys_must_have_public_ones() {
    let shared = shared().await;
    let admin = Admin::of(&shared.ready);
    let mut private = Key::new("k1").jwk();
    private["d"] = json!("AAAA");
    for more in [json!({}), json!({"jwks": {"keys": [private]}}), json!({"jwks_uri": "ftp://x.example/"})] {
        let mut body = json!({
            "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt",
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = admin.refused("clients", body).await;
        assert_eq!(refused["error"], "invalid_client_metadata", "{more} {refused}");
    }
}
