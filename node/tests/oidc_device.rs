//! Device authorization (RFC 8628) over HTTP: a device without a browser, and its user with one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::assertion::Key;
use oidc_support::browser::{Browser, Page, PageKind};
use oidc_support::dpop;
use oidc_support::node::{Admin, Node, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::json;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A public client of devices.
async fn device(shared: &Shared) -> RelyingParty {
    let body = json!({
        "client_name": "Television", "grant_types": [GRANT, "refresh_token"], "response_types": [],
        "token_endpoint_auth_method": "none", "scope": "openid email offline_access",
    });
    let answer = Admin::of(&shared.ready).create("clients", body).await;
    let client_id = answer["client_id"].as_str().unwrap().to_owned();
    let registered = Registered { client_id, client_secret: String::new() };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Post).await
}

async fn start(device: &RelyingParty) -> Answer {
    let fields = [("client_id", device.client.client_id.as_str()), ("scope", "openid email offline_access")];
    let answer = device.post("device_authorization_endpoint", &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

async fn poll(device: &RelyingParty, device_code: &str) -> Answer {
    let fields = [
        ("grant_type", GRANT),
        ("client_id", device.client.client_id.as_str()),
        ("device_code", device_code),
    ];
    device.post("token_endpoint", &fields).await
}

/// Types the code and logs in, up to the consent page.
async fn asked(shared: &Shared, url: &str, user_code: &str) -> (Browser, Page) {
    let mut browser = Browser::new(&shared.ready.public_url);
    let page = browser.open(url).await.page();
    let login = browser.submit(&page, &[("user_code", user_code)], "").await.page();
    let consent = browser.log_in(&login, &shared.person).await.page();
    assert_eq!(consent.kind, PageKind::Consent, "{}", consent.html);
    (browser, consent)
}

async fn answered(shared: &Shared, started: &Answer, button: &str) -> Page {
    let url = started.text("verification_uri");
    let (mut browser, consent) = asked(shared, url, started.text("user_code")).await;
    let done = browser.submit(&consent, &[], button).await.page();
    assert_eq!((done.status, done.kind), (200, PageKind::Other), "{}", done.html);
    done
}

#[tokio::test]
async fn rfc8628_s3_a_device_gets_the_tokens_that_its_user_allowed() {
    let shared = shared().await;
    let device = device(shared).await;
    let started = start(&device).await;
    assert_eq!(started.header("cache-control"), "no-store");
    assert_eq!(started.text("verification_uri"), format!("{}/device", shared.ready.issuer));
    assert_eq!((&started.body["interval"], &started.body["expires_in"]), (&json!(5), &json!(600)));
    let done = answered(shared, &started, "allow").await;
    assert!(done.html.contains("<h1>Your device is connected</h1>"), "{}", done.html);
    let tokens = poll(&device, started.text("device_code")).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    assert_eq!(tokens.text("scope"), "email offline_access openid");
    let id_token = part(tokens.text("id_token"), 1);
    assert_eq!(id_token["aud"], device.client.client_id.as_str());
    let info = device.userinfo(tokens.text("access_token")).await;
    assert_eq!(info.body["sub"], id_token["sub"]);
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", device.client.client_id.as_str()),
        ("refresh_token", tokens.text("refresh_token")),
    ];
    assert_eq!(device.post("token_endpoint", &fields).await.status, 200);
    poll(&device, started.text("device_code")).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn rfc8628_s3_5_a_device_that_asks_twice_at_once_has_one_refresh_token_that_works() {
    let shared = shared().await;
    let device = device(shared).await;
    let started = start(&device).await;
    answered(shared, &started, "allow").await;
    let first = poll(&device, started.text("device_code")).await;
    let again = poll(&device, started.text("device_code")).await;
    assert_eq!((first.status, again.status), (200, 200), "{} {}", first.body, again.body);
    assert_eq!(first.text("refresh_token"), again.text("refresh_token"));
    assert_ne!(first.text("access_token"), again.text("access_token"));
    for access_token in [first.text("access_token"), again.text("access_token")] {
        assert_eq!(device.userinfo(access_token).await.status, 200);
    }
    poll(&device, &started.text("device_code").replace('.', ".x")).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn rfc8628_s3_5_a_device_waits_and_is_told_to_wait_more_if_it_asks_too_soon() {
    let shared = shared().await;
    let device = device(shared).await;
    let started = start(&device).await;
    poll(&device, started.text("device_code")).await.assert_error(400, "authorization_pending");
    poll(&device, started.text("device_code")).await.assert_error(400, "slow_down");
}

#[tokio::test]
async fn rfc8628_s3_5_a_no_is_access_denied() {
    let shared = shared().await;
    let device = device(shared).await;
    let started = start(&device).await;
    let done = answered(shared, &started, "deny").await;
    assert!(done.html.contains("<h1>Your device is not connected</h1>"), "{}", done.html);
    poll(&device, started.text("device_code")).await.assert_error(400, "access_denied");
}

#[tokio::test]
async fn rfc8628_s3_3_a_code_is_typed_by_a_person_and_answered_once() {
    let shared = shared().await;
    let device = device(shared).await;
    let started = start(&device).await;
    let complete = started.text("verification_uri_complete");
    let mut browser = Browser::new(&shared.ready.public_url);
    let page = browser.open(complete).await.page();
    let typed = page.form().find(|control| control.name == "user_code").unwrap().value.clone();
    assert_eq!(typed, started.text("user_code"), "§3.3.1: shown, and not sent by itself");
    for wrong in ["BBBB-BBBB", "not a code", ""] {
        let again = browser.submit(&page, &[("user_code", wrong)], "").await.page();
        assert_eq!(again.status, 200);
        assert!(again.html.contains("role=\"alert\""), "{wrong}: {}", again.html);
    }
    let lenient = started.text("user_code").to_lowercase().replace('-', " ");
    let (mut browser, consent) = asked(shared, started.text("verification_uri"), &lenient).await;
    assert!(consent.html.contains("Television"), "§5.4: the user sees whose device it is");
    browser.submit(&consent, &[], "allow").await.page();
    let mut other = Browser::new(&shared.ready.public_url);
    let page = other.open(complete).await.page();
    let again = other.submit(&page, &[("user_code", started.text("user_code"))], "").await.page();
    assert!(again.html.contains("role=\"alert\""), "{}", again.html);
}

#[tokio::test]
async fn rfc8628_s3_4_a_device_code_is_its_clients_and_its_grants() {
    let shared = shared().await;
    let (device, other) = (device(shared).await, device(shared).await);
    let started = start(&device).await;
    poll(&other, started.text("device_code")).await.assert_error(400, "invalid_grant");
    poll(&device, "never-issued.1").await.assert_error(400, "expired_token");
    poll(&device, "never-issued").await.assert_error(400, "invalid_grant");
    let none = [("grant_type", GRANT), ("client_id", device.client.client_id.as_str())];
    device.post("token_endpoint", &none).await.assert_error(400, "invalid_request");
    let web = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await;
    let fields = [("scope", "openid")];
    let elsewhere = [
        ("client_id", device.client.client_id.as_str()),
        ("scope", "openid"),
        ("resource", "https://nobody.example"),
    ];
    device.post("device_authorization_endpoint", &elsewhere).await.assert_error(400, "invalid_target");
    web.call("device_authorization_endpoint", &fields).await.assert_error(400, "unauthorized_client");
    let unknown = [("client_id", "nobody"), ("scope", "openid")];
    device.post("device_authorization_endpoint", &unknown).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn the_last_page_speaks_to_the_browser_that_was_asked_and_to_nobody_else() {
    let shared = shared().await;
    let device = device(shared).await;
    let started = start(&device).await;
    let done = answered(shared, &started, "allow").await;
    assert!(done.url.path().ends_with("/device/done"), "a reload repeats nothing: {}", done.url);
    let mut stranger = Browser::new(&shared.ready.public_url);
    for url in [done.url.as_str(), &format!("{}/device/done", shared.ready.issuer)] {
        let page = stranger.open(url).await.page();
        assert_eq!(page.status, 400, "{}", page.html);
        assert!(!page.html.contains("is connected"));
    }
}

#[tokio::test]
async fn rfc8628_s5_4_a_page_that_was_answered_in_the_meantime_changes_nothing() {
    let shared = shared().await;
    let device = device(shared).await;
    let started = start(&device).await;
    let (url, user_code) = (started.text("verification_uri"), started.text("user_code"));
    let (mut first, yes) = asked(shared, url, user_code).await;
    let (mut second, no) = asked(shared, url, user_code).await;
    let done = first.submit(&yes, &[], "allow").await.page();
    assert!(done.html.contains("is connected"), "{}", done.html);
    for button in ["deny", "allow"] {
        let late = second.submit(&no, &[], button).await.page();
        assert!(late.html.contains("role=\"alert\""), "{button}: {}", late.html);
    }
    assert_eq!(poll(&device, started.text("device_code")).await.status, 200);
}

#[tokio::test]
async fn rfc9449_s5_a_devices_tokens_are_bound_to_the_key_it_shows() {
    let shared = shared().await;
    let device = device(shared).await;
    let started = start(&device).await;
    answered(shared, &started, "allow").await;
    let key = Key::new("device");
    let url = device.endpoint("token_endpoint");
    let fields = [
        ("grant_type", GRANT),
        ("client_id", device.client.client_id.as_str()),
        ("device_code", started.text("device_code")),
    ];
    let send = async |more: serde_json::Value| {
        let request = device.http.post(url).form(&fields);
        Answer::of(request.header("dpop", dpop::proof(&key, "POST", url, &more)).send().await.unwrap()).await
    };
    let asked = send(json!({})).await;
    asked.assert_error(400, "use_dpop_nonce");
    let tokens = send(json!({ "nonce": asked.header("dpop-nonce") })).await;
    assert_eq!((tokens.status, tokens.text("token_type")), (200, "DPoP"), "{}", tokens.body);
    assert_eq!(part(tokens.text("access_token"), 1)["cnf"]["jkt"], dpop::thumbprint(&key));
}

#[tokio::test]
async fn rfc8628_s5_1_guesses_of_user_codes_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let node =
        Node::start_with(dir.path(), "127.0.0.1:0", &[("DOMICILE__LIMITS__LOGIN_PER_ADDRESS", "3")]).await;
    let mut browser = Browser::new(&node.ready.public_url);
    let page = browser.open(&format!("{}/device", node.ready.issuer)).await.page();
    let mut statuses = Vec::new();
    for letter in ["B", "C", "D", "F"] {
        let guess = letter.repeat(8);
        statuses.push(browser.submit(&page, &[("user_code", &guess)], "").await.page().status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}
