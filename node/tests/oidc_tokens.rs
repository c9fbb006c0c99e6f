//! The token, introspection, revocation and userinfo endpoints, and what they refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, Callback};
use oidc_support::node::{Admin, CALLBACK, Node, Person, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::json;

async fn start() -> (&'static Shared, RelyingParty) {
    let shared = shared().await;
    (shared, RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await)
}

async fn code(shared: &Shared, client: &RelyingParty, given: &[(&str, &str)]) -> Callback {
    Browser::new(&shared.ready.public_url).approve(&client.request(given), &shared.person).await
}

async fn tokens(shared: &Shared, client: &RelyingParty, scope: &str) -> Answer {
    client.redeem(&code(shared, client, &[("scope", scope)]).await, &[]).await
}

async fn active(client: &RelyingParty, token: &str) -> bool {
    let answer = client.call("introspection_endpoint", &[("token", token)]).await;
    assert_eq!(answer.status, 200, "RFC 7662 §2.2: {}", answer.body);
    if answer.body["active"] == false {
        assert_eq!(answer.body, json!({"active": false}), "nothing else is said");
    }
    answer.body["active"].as_bool().unwrap()
}

#[tokio::test]
async fn rfc6749_s4_4_a_client_gets_a_token_for_itself() {
    let shared = shared().await;
    let demo = Registered {
        client_id: shared.ready.client_id.clone(),
        client_secret: shared.ready.client_secret.clone(),
    };
    let client = RelyingParty::discover(&shared.ready.issuer, &demo, Method::Basic).await;
    let answer = client.call("token_endpoint", &[("grant_type", "client_credentials")]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.get("refresh_token").is_none() && answer.body.get("id_token").is_none());
    let token = answer.text("access_token");
    assert_eq!(part(token, 0)["typ"], "at+jwt");
    assert_eq!(part(token, 1)["sub"], demo.client_id.as_str());
    assert!(active(&client, token).await);
    client.userinfo(token).await.assert_error(403, "insufficient_scope");
}

#[tokio::test]
async fn rfc9700_s4_14_2_a_refresh_token_that_stays_is_used_again_until_it_is_revoked() {
    let shared = shared().await;
    let admin = Admin::of(&shared.ready);
    let body = |method: &str| {
        json!({
            "client_name": "Backend", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token"], "refresh_token_mode": "static",
        })
    };
    let made = admin.create("clients", body("client_secret_basic")).await;
    assert_eq!(made["refresh_token_mode"], "static");
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    let client = RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await;
    let issued = tokens(shared, &client, "openid offline_access").await;
    let refresh_token = issued.text("refresh_token");
    for _ in 0..3 {
        let next = client.refresh(refresh_token).await;
        assert_eq!(next.text("refresh_token"), refresh_token);
        assert!(active(&client, next.text("access_token")).await && active(&client, refresh_token).await);
    }
    let revoked = client.call("revocation_endpoint", &[("token", refresh_token)]).await;
    assert_eq!(revoked.status, 200);
    client.refresh(refresh_token).await.assert_error(400, "invalid_grant");
    assert!(!active(&client, refresh_token).await);
    let refused = admin.refused("clients", body("none")).await;
    assert_eq!(refused["member"], "refresh_token_mode", "{refused}");
}

#[tokio::test]
async fn rfc6749_s5_2_errors_have_their_codes() {
    let (shared, client) = start().await;
    let grant = |name| [("grant_type", name)];
    client.call("token_endpoint", &grant("password")).await.assert_error(400, "unsupported_grant_type");
    client
        .call("token_endpoint", &grant("client_credentials"))
        .await
        .assert_error(400, "unauthorized_client");
    client.call("token_endpoint", &[]).await.assert_error(400, "invalid_request");
    client.refresh("no-such-token").await.assert_error(400, "invalid_grant");
    let wrong = Registered { client_secret: "wrong".to_owned(), ..shared.basic.clone() };
    let wrong = RelyingParty::discover(&shared.ready.issuer, &wrong, Method::Basic).await;
    wrong.refresh("x").await.assert_error(401, "invalid_client");
    let unknown = Registered { client_id: "nobody".to_owned(), client_secret: "x".to_owned() };
    let unknown = RelyingParty::discover(&shared.ready.issuer, &unknown, Method::Post).await;
    unknown.refresh("x").await.assert_error(401, "invalid_client");
    let both = [("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_secret", "x")];
    client.call("token_endpoint", &both).await.assert_error(400, "invalid_request");
    assert_eq!(client.get(client.endpoint("token_endpoint")).await.status, 405);
}

#[tokio::test]
async fn rfc6749_s4_1_3_a_code_is_bound_to_client_redirect_uri_and_verifier_and_survives_wrong_ones() {
    let (shared, client) = start().await;
    let other = RelyingParty::discover(&shared.ready.issuer, &shared.other, Method::Basic).await;
    let callback = code(shared, &client, &[]).await;
    other.redeem(&callback, &[]).await.assert_error(400, "invalid_grant");
    let elsewhere = [("grant_type", "authorization_code"), ("code", callback.get("code"))];
    client.call("token_endpoint", &elsewhere).await.assert_error(400, "invalid_grant");
    // RFC 9700 §2.1.1: a verifier for a request without a challenge shows a stripped challenge.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    client.redeem(&callback, &[("code_verifier", verifier)]).await.assert_error(400, "invalid_grant");
    assert_eq!(client.redeem(&callback, &[]).await.status, 200);
}

#[tokio::test]
async fn rfc7636_public_clients_must_use_pkce() {
    let (shared, client) = start().await;
    let body = json!({
        "client_name": "App", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"], "response_types": ["code"],
    });
    let app = Admin::of(&shared.ready).create("clients", body).await;
    let app = app["client_id"].as_str().unwrap();
    let mut browser = Browser::new(&shared.ready.public_url);
    let refused = browser.open(&client.request(&[("client_id", app)])).await.callback();
    assert_eq!(refused.get("error"), "invalid_request");
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let wanted = [("client_id", app), ("code_challenge", challenge), ("code_challenge_method", "S256")];
    let callback = browser.approve(&client.request(&wanted), &shared.person).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", app),
        ("code", callback.get("code")),
        ("redirect_uri", CALLBACK),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ];
    let answer = client.http.post(client.endpoint("token_endpoint")).form(&fields).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn rfc7662_s2_2_only_the_tokens_client_learns_that_it_is_active() {
    let (shared, client) = start().await;
    let other = RelyingParty::discover(&shared.ready.issuer, &shared.other, Method::Basic).await;
    let issued = tokens(shared, &client, "openid offline_access").await;
    for token in [issued.text("access_token"), issued.text("refresh_token")] {
        assert!(active(&client, token).await);
        assert!(!active(&other, token).await);
    }
    let id_token = issued.text("id_token");
    let damaged = format!("{}A", issued.text("access_token"));
    for none in ["garbage", "a.b.c", id_token, damaged.as_str()] {
        assert!(!active(&client, none).await, "{none}");
    }
    client.userinfo(&damaged).await.assert_error(401, "invalid_token");
    client.userinfo(id_token).await.assert_error(401, "invalid_token");
}

#[tokio::test]
async fn rfc7009_an_access_token_is_revoked_alone_and_a_refresh_token_with_its_family() {
    let (shared, client) = start().await;
    let other = RelyingParty::discover(&shared.ready.issuer, &shared.other, Method::Basic).await;
    let issued = tokens(shared, &client, "openid offline_access").await;
    let (access, refresh) = (issued.text("access_token"), issued.text("refresh_token"));
    for token in [access, refresh, "unknown"] {
        assert_eq!(other.call("revocation_endpoint", &[("token", token)]).await.status, 200);
    }
    assert!(active(&client, access).await && active(&client, refresh).await, "others revoke nothing");
    assert_eq!(client.call("revocation_endpoint", &[("token", access)]).await.status, 200);
    assert!(!active(&client, access).await);
    let next = client.refresh(refresh).await;
    assert_eq!(next.status, 200);
    assert_eq!(
        client.call("revocation_endpoint", &[("token", next.text("refresh_token"))]).await.status,
        200
    );
    assert!(!active(&client, next.text("access_token")).await);
    client.refresh(next.text("refresh_token")).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn rfc6749_s6_a_retry_gets_the_same_successor_and_a_refresh_may_narrow_the_scope() {
    let (shared, client) = start().await;
    let issued = tokens(shared, &client, "openid email offline_access").await;
    let refresh = issued.text("refresh_token");
    let (once, again) = (client.refresh(refresh).await, client.refresh(refresh).await);
    assert_eq!(once.text("refresh_token"), again.text("refresh_token"));
    let fields = |scope| {
        [("grant_type", "refresh_token"), ("refresh_token", once.text("refresh_token")), ("scope", scope)]
    };
    client.call("token_endpoint", &fields("openid phone")).await.assert_error(400, "invalid_scope");
    let narrow = client.call("token_endpoint", &fields("openid")).await;
    assert_eq!(narrow.text("scope"), "openid");
    let info = client.userinfo(narrow.text("access_token")).await;
    assert!(info.body.get("email").is_none());
}

#[tokio::test]
async fn rfc6750_s3_1_userinfo_without_a_token_names_the_scheme_and_no_error() {
    let (_, client) = start().await;
    let bare = client.get(client.endpoint("userinfo_endpoint")).await;
    assert_eq!(
        (bare.status, bare.header("www-authenticate")),
        (401, "Bearer realm=\"domicile\", DPoP algs=\"RS256 PS256 ES256 ES384 EdDSA\"")
    );
}

#[tokio::test]
async fn rfc9110_s13_1_2_the_key_set_is_not_sent_twice() {
    let (_, client) = start().await;
    let first = client.get(client.endpoint("jwks_uri")).await;
    let request = client.http.get(client.endpoint("jwks_uri")).header("if-none-match", first.header("etag"));
    assert_eq!(request.send().await.unwrap().status(), 304);
}

#[tokio::test]
async fn token_requests_over_the_limit_are_429_in_oauths_form() {
    let dir = tempfile::tempdir().unwrap();
    let node =
        Node::start_with(dir.path(), "127.0.0.1:0", &[("DOMICILE__LIMITS__TOKEN_PER_CLIENT", "2")]).await;
    let demo = Registered {
        client_id: node.ready.client_id.clone(),
        client_secret: node.ready.client_secret.clone(),
    };
    let client = RelyingParty::discover(&node.ready.issuer, &demo, Method::Basic).await;
    let fields = [("grant_type", "client_credentials")];
    for _ in 0..2 {
        assert_eq!(client.call("token_endpoint", &fields).await.status, 200);
    }
    let refused = client.call("token_endpoint", &fields).await;
    refused.assert_error(429, "temporarily_unavailable");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn rfc6749_s2_3_1_guesses_of_a_secret_use_up_the_tries_of_where_they_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let limits = [("DOMICILE__LIMITS__TOKEN_PER_ADDRESS", "3")];
    let node = Node::start_with(dir.path(), "127.0.0.1:0", &limits).await;
    let party = async |secret: &str| {
        let client = Registered { client_id: node.ready.client_id.clone(), client_secret: secret.to_owned() };
        RelyingParty::discover(&node.ready.issuer, &client, Method::Basic).await
    };
    let fields = [("grant_type", "client_credentials")];
    for guess in ["secret", "admin", "0123456789abcdef"] {
        party(guess).await.call("token_endpoint", &fields).await.assert_error(401, "invalid_client");
    }
    // The tries are over before a secret is looked at: the right one is no answer to the guesser any more.
    for secret in [node.ready.client_secret.as_str(), "secret"] {
        let refused = party(secret).await.call("token_endpoint", &fields).await;
        refused.assert_error(429, "temporarily_unavailable");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
}

#[tokio::test]
async fn oidc_core_s5_2_claims_locales_choose_the_language_and_a_refresh_keeps_it() {
    let (shared, client) = start().await;
    let person = Person { username: "kana".to_owned(), password: "a long enough password".to_owned() };
    let profile = json!({
        "username": person.username, "password": person.password, "given_name": "Ada",
        "family_name": "King", "family_name#ja-Kana-JP": "キング", "family_name#de": "König",
    });
    Admin::of(&shared.ready).create("users", profile).await;
    let kana = json!("キング");
    let given = async |locales: &str| {
        let wanted = [
            ("claims_locales", locales),
            ("scope", "openid profile offline_access"),
            ("claims", r#"{"id_token":{"family_name":null}}"#),
            ("prompt", "consent"),
        ];
        let mut browser = Browser::new(&shared.ready.public_url);
        let callback = browser.approve(&client.request(&wanted), &person).await;
        client.redeem(&callback, &[]).await
    };
    let tokens = given("ja").await;
    assert_eq!(part(tokens.text("id_token"), 1)["family_name"], kana);
    let refreshed = client.refresh(tokens.text("refresh_token")).await;
    for tokens in [tokens, refreshed] {
        let info = client.userinfo(tokens.text("access_token")).await.body;
        assert_eq!((&info["family_name"], &info["given_name"]), (&kana, &json!("Ada")), "{info}");
        assert!(info.as_object().unwrap().keys().all(|name| !name.contains('#')), "{info}");
    }
    let several = client.userinfo(given("ja de").await.text("access_token")).await.body;
    assert_eq!(several["family_name"], "King");
    assert_eq!((&several["family_name#ja-Kana-JP"], &several["family_name#de"]), (&kana, &json!("König")));
}
