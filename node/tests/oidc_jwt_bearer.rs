//! The JWT bearer grant (RFC 7523 §2.1) over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::assertion::{Key, claims, seconds};
use oidc_support::node::{Admin, Person, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const IDP: &str = "https://idp.example.org";

/// A client that trusts `key` to name users by `subject`.
async fn trusting(shared: &Shared, key: &Key, subject: &str) -> RelyingParty {
    let body = json!({
        "client_name": "Trades assertions", "grant_types": [GRANT], "response_types": [],
        "scope": "read write", "trusted_assertion_issuers": [{
            "issuer": IDP, "jwks": {"keys": [key.jwk()]}, "subject": subject, "scope": "read admin",
        }],
    });
    let answer = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await
}

/// What the issuer says about `user`.
fn word(client: &RelyingParty, user: &str) -> Value {
    let mut claims = claims(IDP, client.endpoint("issuer"));
    claims["sub"] = json!(user);
    claims
}

async fn trade(client: &RelyingParty, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![("grant_type", GRANT), ("assertion", assertion)];
    fields.extend(more);
    client.call("token_endpoint", &fields).await
}

#[tokio::test]
async fn rfc7523_s2_1_a_trusted_issuers_word_gives_a_token_for_its_user() {
    let shared = shared().await;
    let key = Key::new("idp-1");
    let client = trusting(shared, &key, "username").await;
    let answer = trade(&client, &key.sign(&word(&client, &shared.person.username)), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((answer.text("token_type"), answer.text("scope")), ("Bearer", "read"));
    assert!(answer.body.get("refresh_token").is_none(), "RFC 7521 §4.1");
    let token = answer.text("access_token");
    let said = part(token, 1);
    assert_eq!(said["client_id"], client.client.client_id.as_str());
    assert_ne!(said["sub"], client.client.client_id.as_str());
    let seen = client.call("introspection_endpoint", &[("token", token)]).await;
    assert_eq!((&seen.body["active"], &seen.body["sub"]), (&json!(true), &said["sub"]));
    client.userinfo(token).await.assert_error(403, "insufficient_scope");

    let by_subject = trusting(shared, &key, "subject").await;
    let subject = said["sub"].as_str().unwrap();
    let again = trade(&by_subject, &key.sign(&word(&by_subject, subject)), &[("scope", "read")]).await;
    assert_eq!(part(again.text("access_token"), 1)["sub"], said["sub"]);
}

#[tokio::test]
async fn rfc7523_s3_1_what_does_not_hold_is_invalid_grant() {
    let shared = shared().await;
    let key = Key::new("idp-1");
    let client = trusting(shared, &key, "username").await;
    let ada = shared.person.username.as_str();
    let with = |name: &str, value: Value| {
        let mut claims = word(&client, ada);
        claims[name] = value;
        key.sign(&claims)
    };
    for (rfc, assertion) in [
        ("7523 §3 (1)", with("iss", json!("https://other.example"))),
        ("7523 §3 (2)", with("sub", json!("nobody"))),
        ("7523 §3 (3)", with("aud", json!("https://other.example"))),
        ("7523 §3 (4)", with("exp", json!(seconds() - 60))),
        ("7523 §3 (5)", with("nbf", json!(seconds() + 120))),
        ("7523 §3 (9)", Key::new("idp-1").sign(&word(&client, ada))),
        ("8725 §3.1", key.sign_as(&json!({"alg": "none"}), &word(&client, ada))),
        ("7523 §3", "not.a.jwt".to_owned()),
    ] {
        let answer = trade(&client, &assertion, &[]).await;
        assert_eq!((answer.status, &answer.body["error"]), (400, &json!("invalid_grant")), "RFC {rfc}");
    }
    let once = key.sign(&word(&client, ada));
    assert_eq!(trade(&client, &once, &[]).await.status, 200);
    trade(&client, &once, &[]).await.assert_error(400, "invalid_grant");
    let fresh = || key.sign(&word(&client, ada));
    trade(&client, &fresh(), &[("scope", "admin")]).await.assert_error(400, "invalid_scope");
    client.call("token_endpoint", &[("grant_type", GRANT)]).await.assert_error(400, "invalid_request");
    let other = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await;
    trade(&other, &fresh(), &[]).await.assert_error(400, "unauthorized_client");
    let wrong = Registered { client_secret: "wrong".to_owned(), ..client.client.clone() };
    let wrong = RelyingParty::discover(&shared.ready.issuer, &wrong, Method::Basic).await;
    trade(&wrong, &fresh(), &[]).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn a_disabled_user_gets_no_token_and_loses_those_there_are() {
    let shared = shared().await;
    let key = Key::new("idp-1");
    let client = trusting(shared, &key, "username").await;
    let person = Person { username: "grace".to_owned(), password: "a long enough password".to_owned() };
    let admin = Admin::of(&shared.ready);
    let profile = json!({"username": person.username, "password": person.password});
    let user = admin.create("users", profile).await;
    let issued = trade(&client, &key.sign(&word(&client, "grace")), &[]).await;
    let token = issued.text("access_token");
    admin.change(&format!("users/{}", user["id"].as_str().unwrap()), json!({"disabled": true})).await;
    let seen = client.call("introspection_endpoint", &[("token", token)]).await;
    assert_eq!(seen.body, json!({"active": false}));
    trade(&client, &key.sign(&word(&client, "grace")), &[]).await.assert_error(400, "invalid_grant");
}
