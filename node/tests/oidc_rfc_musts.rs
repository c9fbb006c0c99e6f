//! What the RFCs demand of a server and no other file shows: docs/rfc-coverage.md names these tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, Callback, PageKind};
use oidc_support::node::{Admin, CALLBACK, Person, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};

async fn start() -> (&'static Shared, RelyingParty) {
    let shared = shared().await;
    (shared, RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await)
}

async fn tokens(shared: &Shared, client: &RelyingParty) -> Answer {
    let wanted = [("scope", "openid offline_access"), ("prompt", "consent")];
    let callback =
        Browser::new(&shared.ready.public_url).approve(&client.request(&wanted), &shared.person).await;
    client.redeem(&callback, &[]).await
}

#[tokio::test]
async fn rfc6749_s3_2_the_token_endpoint_takes_post_alone_and_nothing_from_the_query() {
    let (_, client) = start().await;
    let endpoint = client.endpoint("token_endpoint").to_owned();
    for method in [reqwest::Method::GET, reqwest::Method::PUT, reqwest::Method::DELETE] {
        let answer = client.http.request(method.clone(), &endpoint).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["allow"].as_bytes()),
            (405, &b"POST,OPTIONS"[..])
        );
    }
    let query = format!("{endpoint}?grant_type=client_credentials");
    let request =
        client.http.post(query).basic_auth(&client.client.client_id, Some(&client.client.client_secret));
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    Answer::of(answer).await.assert_error(400, "invalid_request");
    let secret = format!(
        "{endpoint}?client_id={}&client_secret={}",
        client.client.client_id, client.client.client_secret
    );
    let answer = client.http.post(secret).form(&[("grant_type", "client_credentials")]).send().await.unwrap();
    Answer::of(answer).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn rfc6749_s5_1_answers_with_tokens_or_errors_are_json_that_nobody_keeps() {
    let (shared, client) = start().await;
    let good = tokens(shared, &client).await;
    let bad = client.refresh("nothing").await;
    for answer in [&good, &bad] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    }
    assert_eq!(good.body["token_type"], "Bearer");
    assert!(good.body["expires_in"].is_u64() && good.body["scope"].is_string());
}

#[tokio::test]
async fn rfc6749_s5_2_who_used_the_header_is_answered_with_its_scheme() {
    let (_, client) = start().await;
    let request = client.http.post(client.endpoint("token_endpoint"));
    let request = request.basic_auth(&client.client.client_id, Some("wrong"));
    let answer =
        Answer::of(request.form(&[("grant_type", "client_credentials")]).send().await.unwrap()).await;
    answer.assert_error(401, "invalid_client");
    assert!(answer.header("www-authenticate").starts_with("Basic"), "{answer:?}");
}

#[tokio::test]
async fn rfc7009_s2_1_and_rfc7662_s2_1_a_wrong_hint_hides_no_token() {
    let (shared, client) = start().await;
    let issued = tokens(shared, &client).await;
    let active = async |token: &str, hint: &str| {
        let fields = [("token", token), ("token_type_hint", hint)];
        client.call("introspection_endpoint", &fields).await.body["active"].as_bool().unwrap()
    };
    let pairs = [
        (issued.text("access_token"), "refresh_token"),
        (issued.text("refresh_token"), "access_token"),
        (issued.text("access_token"), "saml2"),
    ];
    for (token, hint) in pairs {
        assert!(active(token, hint).await, "{hint}");
    }
    for (token, hint) in [pairs[2], pairs[1]] {
        let fields = [("token", token), ("token_type_hint", hint)];
        assert_eq!(client.call("revocation_endpoint", &fields).await.status, 200);
        assert!(!active(token, hint).await, "{hint}");
    }
}

#[tokio::test]
async fn rfc8414_s3_metadata_is_found_with_the_issuers_path_behind_the_well_known_one() {
    let (shared, client) = start().await;
    let issuer = client.endpoint("issuer");
    let path = issuer.strip_prefix(&shared.ready.public_url).unwrap();
    let url = format!("{}/.well-known/oauth-authorization-server{path}", shared.ready.public_url);
    let answer = client.get(&url).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.body["issuer"], issuer, "§3.3");
    assert_eq!(answer.body, client.metadata, "one document for both");
    for (name, value) in answer.body.as_object().unwrap() {
        assert!(!value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()), "§3.2: {name}");
    }
}

#[tokio::test]
async fn rfc7662_s2_1_nobody_asks_about_tokens_without_saying_who_asks() {
    let (shared, client) = start().await;
    let issued = tokens(shared, &client).await;
    let token = [("token", issued.text("access_token"))];
    client.post("introspection_endpoint", &token).await.assert_error(401, "invalid_client");
    let named = [token[0], ("client_id", client.client.client_id.as_str())];
    client.post("introspection_endpoint", &named).await.assert_error(401, "invalid_client");
    let seen = client.call("introspection_endpoint", &token).await;
    assert_eq!(seen.header("cache-control"), "no-store");
}

#[tokio::test]
async fn rfc8252_s8_4_and_s8_6_native_clients_are_public_and_keep_their_exact_addresses() {
    let (shared, _) = start().await;
    let body = serde_json::json!({
        "client_name": "Native", "redirect_uris": ["http://127.0.0.1/cb", "com.example.app:/cb"],
        "application_type": "native", "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    });
    let made = oidc_support::node::Admin::of(&shared.ready).create("clients", body).await;
    assert!(made.get("client_secret").is_none_or(serde_json::Value::is_null), "§8.5: {made}");
    let registered = oidc_support::node::Registered {
        client_id: made["client_id"].as_str().unwrap().to_owned(),
        client_secret: String::new(),
    };
    let app = RelyingParty::discover(&shared.ready.issuer, &registered, Method::Post).await;
    let pkce = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let open = async |uri: &str| {
        let wanted: Vec<(&str, &str)> = pkce.into_iter().chain([("redirect_uri", uri)]).collect();
        Browser::new(&shared.ready.public_url).open(&app.request(&wanted)).await.page().status
    };
    for good in ["http://127.0.0.1:51004/cb", "http://127.0.0.1/cb", "com.example.app:/cb"] {
        assert_eq!(open(good).await, 200, "{good}: the login");
    }
    for wrong in ["http://127.0.0.1:51004/other", "http://192.0.2.1:51004/cb", "com.example.other:/cb"] {
        assert_eq!(open(wrong).await, 400, "{wrong}");
    }
}

/// A client with these members.
async fn registered(shared: &Shared, more: Value) -> RelyingParty {
    let mut body = json!({
        "client_name": "Particular", "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await
}

/// The claims of the ID token that a code gives.
async fn id_token(client: &RelyingParty, callback: &Callback) -> Value {
    part(client.redeem(callback, &[]).await.text("id_token"), 1)
}

/// A request that no page may be shown for.
async fn silent(client: &RelyingParty, browser: &mut Browser, more: (&str, &str)) -> Callback {
    browser.open(&client.request(&[more, ("prompt", "none")])).await.callback()
}

#[tokio::test]
async fn oidc_core_s5_5_1_where_a_sub_is_asked_for_nobody_else_is_answered_for() {
    let (shared, client) = start().await;
    let bob = Person { username: "bob".to_owned(), password: "a long enough password".to_owned() };
    let profile = json!({ "username": bob.username, "password": bob.password });
    Admin::of(&shared.ready).create("users", profile).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let theirs = Browser::new(&shared.ready.public_url).approve(&client.request(&[]), &bob).await;
    let hers = browser.approve(&client.request(&[]), &shared.person).await;
    let (theirs, hers) = (id_token(&client, &theirs).await, id_token(&client, &hers).await);
    let asks = |sub: &Value| json!({ "id_token": { "sub": { "value": sub } } }).to_string();
    let (for_bob, for_ada) = (asks(&theirs["sub"]), asks(&hers["sub"]));

    let answer = silent(&client, &mut browser, ("claims", &for_ada)).await;
    assert_eq!(id_token(&client, &answer).await["sub"], hers["sub"]);
    let either = json!({ "id_token": { "sub": { "values": [theirs["sub"], hers["sub"]] } } }).to_string();
    let answer = silent(&client, &mut browser, ("claims", &either)).await;
    assert_eq!(id_token(&client, &answer).await["sub"], hers["sub"]);
    let refused = silent(&client, &mut browser, ("claims", &for_bob)).await;
    assert_eq!((refused.get("error"), refused.get("code")), ("login_required", ""));

    // With pages: she is asked to log in as the other, and if she does not there is no answer either.
    let wanted = client.request(&[("claims", &for_bob)]);
    let page = browser.open(&wanted).await.page();
    assert_eq!(page.kind, PageKind::Login);
    let refused = browser.log_in(&page, &shared.person).await.callback();
    assert_eq!((refused.get("error"), refused.get("code")), ("login_required", ""));
    let answer = browser.approve(&wanted, &bob).await;
    assert_eq!(id_token(&client, &answer).await["sub"], theirs["sub"]);
}

#[tokio::test]
async fn oidc_registration_s2_what_is_registered_of_logins_counts_where_a_request_is_silent() {
    let (shared, plain) = start().await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let answer = browser.approve(&plain.request(&[]), &shared.person).await;
    assert!(id_token(&plain, &answer).await.get("auth_time").is_none(), "nobody asked for it");
    let told = registered(shared, json!({ "require_auth_time": true })).await;
    let answer = browser.approve(&told.request(&[]), &shared.person).await;
    assert!(id_token(&told, &answer).await["auth_time"].is_u64(), "require_auth_time");

    let strict = registered(shared, json!({ "default_max_age": 0 })).await;
    browser.seen.clear();
    let answer = browser.approve(&strict.request(&[]), &shared.person).await;
    assert!(browser.seen.contains(&PageKind::Login), "she was logged in, but not just now");
    assert!(id_token(&strict, &answer).await["auth_time"].is_u64(), "default_max_age");
    let refused = silent(&strict, &mut browser, ("state", "again")).await;
    assert_eq!(refused.get("error"), "login_required");
    let answer = silent(&strict, &mut browser, ("max_age", "10000")).await;
    assert!(id_token(&strict, &answer).await["auth_time"].is_u64(), "what the request says goes before");
}
