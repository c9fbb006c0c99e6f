//! Pairwise subjects (OpenID Connect Core §8) against the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, Callback};
use oidc_support::node::{Admin, CALLBACK, LOGGED_OUT, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};

/// In another sector than [`CALLBACK`].
const OTHER: &str = "https://other.example.org/callback";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

async fn register(shared: &Shared, body: Value) -> RelyingParty {
    let made = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await
}

/// A client that may exchange its own tokens; `format` is that of its access tokens.
async fn client_of(shared: &Shared, redirect_uri: &str, subject_type: &str, format: &str) -> RelyingParty {
    let body = json!({
        "client_name": "Sector", "redirect_uris": [redirect_uri], "subject_type": subject_type,
        "post_logout_redirect_uris": [LOGGED_OUT], "access_token_format": format,
        "grant_types": ["authorization_code", "refresh_token", EXCHANGE],
        "token_exchange": {"scope": "openid"},
    });
    register(shared, body).await
}

async fn client(shared: &Shared, redirect_uri: &str, subject_type: &str) -> RelyingParty {
    client_of(shared, redirect_uri, subject_type, "jwt").await
}

async fn log_in(shared: &Shared, client: &RelyingParty, redirect_uri: &str) -> (Browser, Callback) {
    let mut browser = Browser::new(&shared.ready.public_url);
    let wanted = [("redirect_uri", redirect_uri), ("scope", "openid offline_access")];
    let callback = browser.approve(&client.request(&wanted), &shared.person).await;
    (browser, callback)
}

/// Tokens for the person of `browser`, who logs in if that was not done.
async fn tokens(
    shared: &Shared,
    browser: &mut Browser,
    client: &RelyingParty,
    redirect_uri: &str,
    more: &[(&str, &str)],
) -> Answer {
    let mut wanted = vec![("redirect_uri", redirect_uri), ("scope", "openid email")];
    wanted.extend(more);
    let callback = browser.approve(&client.request(&wanted), &shared.person).await;
    redeemed(client, redirect_uri, callback.get("code")).await
}

async fn redeemed(client: &RelyingParty, redirect_uri: &str, code: &str) -> Answer {
    let fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)];
    let issued = client.call("token_endpoint", &fields).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    issued
}

async fn exchanged(client: &RelyingParty, subject: &str) -> Answer {
    let fields = [("grant_type", EXCHANGE), ("subject_token", subject), ("subject_token_type", ACCESS_TOKEN)];
    let answer = client.call("token_endpoint", &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// What an `at+jwt` may say alike to two sectors: who issued it, what it is for, and how and when a login was.
const ALIKE: [&str; 8] = ["iss", "aud", "exp", "iat", "scope", "auth_time", "acr", "amr"];
/// What ids of ours begin with, but for a client's and a token's own.
const IDS: [&str; 4] = ["usr_", "ses_", "gra_", "fam_"];

/// Asserts that neither token can be seen to be of the other's user.
fn assert_strangers(one: &str, two: &str) {
    let (one, two) = (part(one, 1), part(two, 1));
    for (claims, others) in [(&one, two.to_string()), (&two, one.to_string())] {
        for (name, value) in claims.as_object().unwrap() {
            let shared = others.contains(&value.to_string());
            assert!(!shared || ALIKE.contains(&name.as_str()), "{name} is {value} in both");
            assert!(!name.starts_with("dom_") || name == "dom_ref", "{name} is in the clear");
        }
        let text = claims.to_string();
        assert!(IDS.iter().all(|id| !text.contains(&format!("\"{id}"))), "{text}");
    }
}

#[tokio::test]
async fn oidc_core_s8_1_sectors_know_a_user_by_different_subjects() {
    let shared = shared().await;
    let mut subjects = Vec::new();
    for (redirect_uri, kind) in
        [(CALLBACK, "public"), (CALLBACK, "pairwise"), (CALLBACK, "pairwise"), (OTHER, "pairwise")]
    {
        let client = client(shared, redirect_uri, kind).await;
        let (_, callback) = log_in(shared, &client, redirect_uri).await;
        let issued = redeemed(&client, redirect_uri, callback.get("code")).await;
        let subject = part(issued.text("id_token"), 1)["sub"].clone();
        let (access, refresh) = (issued.text("access_token"), issued.text("refresh_token"));
        assert_eq!(part(access, 1)["sub"], subject);
        assert_eq!(client.userinfo(access).await.body["sub"], subject, "§5.3.2");
        for token in [access, refresh] {
            assert_eq!(client.call("introspection_endpoint", &[("token", token)]).await.body["sub"], subject);
        }
        assert_eq!(part(client.refresh(refresh).await.text("id_token"), 1)["sub"], subject, "§12.2");
        subjects.push(subject.as_str().unwrap().to_owned());
    }
    assert_eq!(subjects[1], subjects[2], "one sector, one subject");
    assert!(subjects[0] != subjects[1] && subjects[1] != subjects[3] && subjects[0] != subjects[3]);
}

#[tokio::test]
async fn oidc_core_s3_1_2_1_a_hint_with_a_pairwise_subject_is_understood() {
    let shared = shared().await;
    let client = client(shared, CALLBACK, "pairwise").await;
    let (mut browser, callback) = log_in(shared, &client, CALLBACK).await;
    let id_token = client.redeem(&callback, &[]).await.text("id_token").to_owned();
    let silent = [("prompt", "none"), ("id_token_hint", id_token.as_str())];
    let again = browser.open(&client.request(&silent)).await.callback();
    assert!(!again.get("code").is_empty(), "{again:?}");
    let pairs = [("id_token_hint", id_token.as_str()), ("post_logout_redirect_uri", LOGGED_OUT)];
    let url = url::Url::parse_with_params(client.endpoint("end_session_endpoint"), pairs).unwrap();
    assert_eq!(browser.open(url.as_str()).await.callback().uri, LOGGED_OUT, "no page asks");
}

#[tokio::test]
async fn oidc_core_s8_1_and_rfc9068_s6_tokens_of_two_sectors_share_nothing_of_their_user() {
    let shared = shared().await;
    // One login: also the session must not be known again.
    let mut browser = Browser::new(&shared.ready.public_url);
    let mut given = Vec::new();
    for redirect_uri in [CALLBACK, OTHER] {
        let client = client(shared, redirect_uri, "pairwise").await;
        let issued = tokens(shared, &mut browser, &client, redirect_uri, &[]).await;
        let second = exchanged(&client, issued.text("access_token")).await;
        given.push([issued.text("access_token").to_owned(), second.text("access_token").to_owned()]);
        let id_token = part(issued.text("id_token"), 1).to_string();
        assert!(!id_token.contains("dom_") && IDS.iter().all(|id| !id_token.contains(&format!("\"{id}"))));
    }
    let jti = part(&given[0][0], 1)["jti"].to_string();
    assert!(!part(&given[0][1], 1).to_string().contains(&jti), "what it was exchanged for is not told");
    for place in [0, 1] {
        assert_strangers(&given[0][place], &given[1][place]);
    }
    assert_strangers(&given[0][0], &given[1][1]);
}

#[tokio::test]
async fn oidc_core_s8_1_and_rfc9068_s6_the_jwt_behind_an_opaque_token_tells_no_more() {
    const API: &str = "https://strangers.example.org";
    let shared = shared().await;
    let body = json!({
        "client_name": "API", "grant_types": ["client_credentials"], "response_types": [],
        "resource_identifiers": [API],
    });
    let api = register(shared, body).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let mut given = Vec::new();
    for redirect_uri in [CALLBACK, OTHER] {
        let client = client_of(shared, redirect_uri, "pairwise", "opaque").await;
        let issued = tokens(shared, &mut browser, &client, redirect_uri, &[("resource", API)]).await;
        let second = exchanged(&client, issued.text("access_token")).await;
        for token in [issued.text("access_token"), second.text("access_token")] {
            assert!(token.starts_with("dat_"), "{token}");
            let jwt = the_jwt(&api, token).await;
            let seen = api.call("introspection_endpoint", &[("token", &jwt)]).await;
            assert_eq!((&seen.body["active"], &seen.body["aud"]), (&json!(true), &json!([API])));
            assert_eq!(part(&jwt, 1)["sub"], part(issued.text("id_token"), 1)["sub"]);
            given.push(jwt);
        }
    }
    for (one, two) in [(0, 2), (1, 3), (0, 3)] {
        assert_strangers(&given[one], &given[two]);
    }
}

/// The `at+jwt` that introspection gives a resource server for a token.
async fn the_jwt(api: &RelyingParty, token: &str) -> String {
    let Registered { client_id, client_secret } = &api.client;
    let request = api.http.post(api.endpoint("introspection_endpoint")).header("accept", "application/jwt");
    let request = request.basic_auth(client_id, Some(client_secret)).form(&[("token", token)]);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.text().await.unwrap()
}

#[tokio::test]
async fn oidc_core_s8_1_a_public_client_s_token_does_not_tell_the_pairwise_one_it_stands_on() {
    let shared = shared().await;
    let app = client(shared, CALLBACK, "pairwise").await;
    let gateway = async |of: &RelyingParty| {
        let body = json!({
            "client_name": "Gateway", "grant_types": [EXCHANGE], "response_types": [],
            "token_exchange": {"scope": "openid", "subject_clients": [of.client.client_id]},
        });
        register(shared, body).await
    };
    let first = gateway(&app).await;
    let last = gateway(&first).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let issued = tokens(shared, &mut browser, &app, CALLBACK, &[]).await;
    let hidden = part(issued.text("access_token"), 1);
    let mut token = issued.text("access_token").to_owned();
    for gateway in [&first, &last] {
        token = exchanged(gateway, &token).await.text("access_token").to_owned();
        let said = part(&token, 1);
        assert_ne!(said["sub"], hidden["sub"]);
        for name in ["sub", "jti", "client_id"] {
            assert!(!said.to_string().contains(&hidden[name].to_string()), "{name}");
        }
        let names: Vec<&String> = said.as_object().unwrap().keys().collect();
        assert!(names.iter().all(|name| !name.starts_with("dom_") || *name == "dom_ref"), "{names:?}");
    }
    // What it stands on is known to us all the same.
    let active = async || {
        last.call("introspection_endpoint", &[("token", token.as_str())]).await.body["active"].clone()
    };
    assert_eq!(active().await, true);
    let fields = [("token", issued.text("access_token"))];
    assert_eq!(app.call("revocation_endpoint", &fields).await.status, 200);
    assert_eq!(active().await, false);
}

#[tokio::test]
async fn tokens_with_sealed_members_do_what_others_do_and_end_as_they_do() {
    let shared = shared().await;
    let client = client(shared, CALLBACK, "pairwise").await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let issued = tokens(shared, &mut browser, &client, CALLBACK, &[]).await;
    let first = issued.text("access_token");
    let second = exchanged(&client, first).await;
    let second = second.text("access_token");
    let subject = part(issued.text("id_token"), 1)["sub"].clone();
    let seen = async |token: &str| client.call("introspection_endpoint", &[("token", token)]).await.body;
    for token in [first, second] {
        let info = client.userinfo(token).await;
        assert_eq!((info.status, &info.body["sub"]), (200, &subject), "{}", info.body);
        let body = seen(token).await;
        assert_eq!((&body["active"], &body["sub"]), (&json!(true), &subject));
        assert!(!body.to_string().contains("dom_"), "{body}");
    }
    let info = client.userinfo(first).await;
    assert_eq!(info.text("email"), "ada@example.org", "what its scopes give");

    assert_eq!(client.call("revocation_endpoint", &[("token", first)]).await.status, 200);
    for token in [first, second] {
        client.userinfo(token).await.assert_error(401, "invalid_token");
        assert_eq!(seen(token).await, json!({"active": false}));
    }

    let next = tokens(shared, &mut browser, &client, CALLBACK, &[]).await;
    let next = next.text("access_token");
    assert_eq!(client.userinfo(next).await.status, 200);
    // The session that nobody can read in them ends them.
    let out = client.endpoint("end_session_endpoint");
    let pairs = [("id_token_hint", issued.text("id_token")), ("post_logout_redirect_uri", LOGGED_OUT)];
    let url = url::Url::parse_with_params(out, pairs).unwrap();
    assert_eq!(browser.open(url.as_str()).await.callback().uri, LOGGED_OUT);
    client.userinfo(next).await.assert_error(401, "invalid_token");
    assert_eq!(seen(next).await, json!({"active": false}));
}
