//! The pages on the way through a login: what they refuse, remember and forget.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, PageKind, Stop};
use oidc_support::html::forms;
use oidc_support::node::{Admin, LOGGED_OUT, Node, Person, Shared, shared};
use oidc_support::relying_party::{Method, RelyingParty};
use serde_json::json;

async fn start() -> (&'static Shared, RelyingParty, Browser) {
    let shared = shared().await;
    let client = RelyingParty::discover(&shared.ready.issuer, &shared.other, Method::Basic).await;
    (shared, client, Browser::new(&shared.ready.public_url))
}

/// A user of their own, so that tests do not see each other's grants.
async fn somebody(shared: &Shared, username: &str) -> Person {
    let person = Person { username: username.to_owned(), password: "a long enough password".to_owned() };
    let body = json!({"username": person.username, "password": person.password});
    Admin::of(&shared.ready).create("users", body).await;
    person
}

#[tokio::test]
async fn a_wrong_password_shows_the_form_again_with_the_name_and_no_session() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "wrong-password").await;
    let page = browser.open(&client.request(&[])).await.page();
    let wrong = Person { password: "not it at all".to_owned(), ..person.clone() };
    let again = browser.log_in(&page, &wrong).await.page();
    assert_eq!((again.status, again.kind), (200, PageKind::Login));
    assert!(again.html.contains("role=\"alert\""), "{}", again.html);
    let typed = again.form().find(|control| control.kind == "text").unwrap().value.clone();
    assert_eq!(typed, person.username);
    assert_eq!(browser.cookies.len(), 1, "only the browser cookie: {:?}", browser.cookies.keys());
    assert_eq!(browser.log_in(&again, &person).await.page().kind, PageKind::Consent);
}

#[tokio::test]
async fn an_unknown_user_sees_what_a_wrong_password_shows() {
    let (_, client, mut browser) = start().await;
    let page = browser.open(&client.request(&[])).await.page();
    let nobody = Person { username: "nobody-at-all".to_owned(), password: "some password".to_owned() };
    let again = browser.log_in(&page, &nobody).await.page();
    assert_eq!((again.status, again.kind), (200, PageKind::Login));
}

#[tokio::test]
async fn tries_at_the_login_form_are_limited_by_name_and_by_address() {
    let dir = tempfile::tempdir().unwrap();
    let few = [("DOMICILE__LIMITS__LOGIN_PER_NAME", "2"), ("DOMICILE__LIMITS__LOGIN_PER_ADDRESS", "4")];
    let node = Node::start_with(dir.path(), "127.0.0.1:0", &few).await;
    let client = Admin::of(&node.ready).client("Limited", "client_secret_basic").await;
    let client = RelyingParty::discover(&node.ready.issuer, &client, Method::Basic).await;
    let mut browser = Browser::new(&node.ready.public_url);
    let mut page = browser.open(&client.request(&[])).await.page();
    let right = Person { username: node.ready.username.clone(), password: node.ready.password.clone() };
    let wrong = Person { password: "not it at all".to_owned(), ..right.clone() };
    let nobody = Person { username: "nobody-at-all".to_owned(), ..wrong.clone() };
    // The fifth is one too many for the address, though not for the name.
    for (tried, person) in [(200, &wrong), (200, &wrong), (429, &right), (200, &nobody), (429, &nobody)] {
        page = browser.log_in(&page, person).await.page();
        assert_eq!((page.status, page.kind), (tried, PageKind::Login), "{}", page.html);
        let wait =
            page.headers.get("retry-after").map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        assert_eq!(wait.is_some_and(|seconds| (1..=60).contains(&seconds)), tried == 429, "{wait:?}");
        assert!(page.html.contains("role=\"alert\""), "{}", page.html);
    }
}

#[tokio::test]
async fn a_form_counts_in_the_browser_that_got_it_only() {
    let (shared, client, mut browser) = start().await;
    let page = browser.open(&client.request(&[])).await.page();
    let mut other = Browser::new(&shared.ready.public_url);
    other.open(&client.request(&[])).await.page();
    let refused = other.log_in(&page, &shared.person).await.page();
    assert_eq!((refused.status, refused.kind), (403, PageKind::Other), "{}", refused.html);
    assert_eq!(other.cookies.len(), 1, "no session");
}

#[tokio::test]
async fn a_form_sent_by_another_site_is_refused() {
    let (shared, client, mut browser) = start().await;
    let page = browser.open(&client.request(&[])).await.page();
    let form = page.form();
    let fields: Vec<(&str, &str)> = form
        .controls
        .iter()
        .map(|control| match control.name.as_str() {
            "login" => ("login", shared.person.username.as_str()),
            "password" => ("password", shared.person.password.as_str()),
            name => (name, control.value.as_str()),
        })
        .collect();
    let action = page.url.join(&form.action).unwrap();
    let refused = browser.post_from_elsewhere(action.as_str(), &fields).await.page();
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn a_form_token_is_needed() {
    let (shared, client, mut browser) = start().await;
    let page = browser.open(&client.request(&[])).await.page();
    let login = [("login", shared.person.username.as_str()), ("password", shared.person.password.as_str())];
    let without = [login[0], login[1], ("csrf", "")];
    assert_eq!(browser.submit(&page, &without, "").await.page().status, 403);
    let damaged = [login[0], login[1], ("interaction", "AAAA")];
    assert_eq!(browser.submit(&page, &damaged, "").await.page().status, 400);
}

#[tokio::test]
async fn consent_is_asked_once_and_remembered() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "consents-once").await;
    let first = browser.approve(&client.request(&[]), &person).await;
    assert!(!first.get("code").is_empty());
    assert_eq!(browser.seen, [PageKind::Login, PageKind::Consent]);
    browser.seen.clear();
    browser.open(&client.request(&[])).await.callback();
    assert_eq!(browser.seen, []);
    let more = browser.open(&client.request(&[("scope", "openid email")])).await.page();
    assert_eq!(more.kind, PageKind::Consent, "a wider request is asked again");
    let asked = browser.open(&client.request(&[("prompt", "consent")])).await.page();
    assert_eq!(asked.kind, PageKind::Consent);
}

#[tokio::test]
async fn who_denies_sends_access_denied_and_grants_nothing() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "denies").await;
    let page = browser.open(&client.request(&[])).await.page();
    let page = browser.log_in(&page, &person).await.page();
    let callback = browser.submit(&page, &[], "deny").await.callback();
    assert_eq!((callback.get("error"), callback.get("state")), ("access_denied", "st-0123456789"));
    assert_eq!(callback.get("iss"), shared.ready.issuer);
    let silent = browser.open(&client.request(&[("prompt", "none")])).await.callback();
    assert_eq!(silent.get("error"), "consent_required");
}

#[tokio::test]
async fn the_consent_page_survives_a_reload_and_no_other_browser_opens_it() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "reloads").await;
    let page = browser.open(&client.request(&[])).await.page();
    let page = browser.log_in(&page, &person).await.page();
    assert!(page.url.query().unwrap().starts_with("interaction="), "shown after a redirect");
    let page = browser.open(page.url.as_str()).await.page();
    assert_eq!(page.kind, PageKind::Consent);
    let mut other = Browser::new(&shared.ready.public_url);
    assert_eq!(other.open(page.url.as_str()).await.page().status, 400);
    assert!(!browser.submit(&page, &[], "allow").await.callback().get("code").is_empty());
}

#[tokio::test]
async fn a_session_cookie_from_before_the_login_is_worth_nothing_after_it() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "renews").await;
    browser.approve(&client.request(&[]), &person).await;
    let before = browser.cookies.clone();
    let page = browser.open(&client.request(&[("prompt", "login")])).await.page();
    browser.log_in(&page, &person).await.callback();
    let mut stolen = Browser::new(&shared.ready.public_url);
    stolen.cookies = before;
    let callback = stolen.open(&client.request(&[("prompt", "none")])).await.callback();
    assert_eq!(callback.get("error"), "login_required");
    let own = browser.open(&client.request(&[("prompt", "none")])).await.callback();
    assert_eq!(own.get("error"), "");
}

#[tokio::test]
async fn select_account_offers_the_present_account() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "selects").await;
    browser.approve(&client.request(&[]), &person).await;
    let page = browser.open(&client.request(&[("prompt", "select_account")])).await.page();
    assert_eq!(page.kind, PageKind::Login);
    assert!(page.html.contains("Continue as <bdi>selects</bdi>"), "{}", page.html);
    let mut chooser = page.clone();
    chooser.kind = PageKind::Other;
    assert!(forms(&chooser.html)[0].action.ends_with("/login/continue"));
    let callback = browser.submit(&chooser, &[], "").await.callback();
    assert!(!callback.get("code").is_empty());
    let other = somebody(shared, "selected").await;
    let Stop::Page(page) = browser.log_in(&page, &other).await else { panic!("consent is due") };
    assert!(page.html.contains("selected"), "another account takes the session's place");
}

#[tokio::test]
async fn pages_say_where_their_forms_may_lead_and_are_never_framed() {
    let (_, client, mut browser) = start().await;
    let page = browser.open(&client.request(&[])).await.page();
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://rp.example.org "), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
}

#[tokio::test]
async fn unknown_tenants_and_clients_end_on_a_page() {
    let (shared, client, mut browser) = start().await;
    let unknown = browser.open(&client.request(&[("client_id", "nobody")])).await.page();
    assert_eq!((unknown.status, unknown.kind), (400, PageKind::Other));
    let tenant = format!("{}/t/no-such-tenant/oauth2/authorize?client_id=x", shared.ready.public_url);
    assert_eq!(browser.open(&tenant).await.page().status, 404);
    let json = client.get(&format!("{}/t/no-such-tenant/oauth2/jwks", shared.ready.public_url)).await;
    assert_eq!(json.status, 404);
    assert_eq!(browser.open(&format!("{}/login", shared.ready.issuer)).await.page().status, 400);
}

#[tokio::test]
async fn logout_without_a_hint_asks_and_stays_if_the_person_wants() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "logs-out").await;
    browser.approve(&client.request(&[]), &person).await;
    let endpoint = client.endpoint("end_session_endpoint").to_owned();
    let page = browser.open(&endpoint).await.page();
    assert_eq!(page.kind, PageKind::Logout);
    browser.submit(&page, &[], "stay").await.page();
    assert_eq!(browser.open(&client.request(&[("prompt", "none")])).await.callback().get("error"), "");
    browser.submit(&page, &[], "logout").await.page();
    let after = browser.open(&client.request(&[("prompt", "none")])).await.callback();
    assert_eq!(after.get("error"), "login_required");
}

#[tokio::test]
async fn another_site_s_form_that_cannot_become_a_link_logs_nobody_out() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "stays").await;
    browser.approve(&client.request(&[]), &person).await;
    let cookies = browser.cookies.clone();
    let endpoint = client.endpoint("end_session_endpoint").to_owned();
    let long = "x".repeat(9_000);
    assert_eq!(browser.post_from_elsewhere(&endpoint, &[("padding", &long)]).await.page().status, 400);
    assert_eq!(browser.cookies, cookies);
    let mut stranger = Browser::new(&shared.ready.public_url);
    let page = stranger.open(&endpoint).await.page();
    assert!(!page.headers.contains_key("set-cookie"), "nothing was sent, so nothing is removed");
}

#[tokio::test]
async fn rfc9110_s9_1_head_is_offered_wherever_get_is() {
    let (shared, client, _) = start().await;
    let http = reqwest::Client::new();
    let page = |path: &str| format!("{}{path}", shared.ready.issuer);
    let logout = client.endpoint("end_session_endpoint").to_owned();
    for url in [client.request(&[]), logout, page("/consent"), page("/login/continue")] {
        let (head, get) = (http.head(&url).send().await.unwrap(), http.get(&url).send().await.unwrap());
        assert_eq!(head.status(), get.status(), "{url}");
        assert_eq!(head.headers()["content-type"], get.headers()["content-type"], "{url}");
        assert!(head.bytes().await.unwrap().is_empty(), "{url}");
        let refused = http.put(&url).send().await.unwrap();
        assert_eq!(refused.headers()["allow"], "GET,HEAD,POST", "{url}");
    }
}

#[tokio::test]
async fn logout_with_a_hint_returns_to_the_registered_address_with_state() {
    let (shared, client, mut browser) = start().await;
    let person = somebody(shared, "returns").await;
    let callback = browser.approve(&client.request(&[]), &person).await;
    let tokens = client.redeem(&callback, &[]).await;
    let endpoint = client.endpoint("end_session_endpoint").to_owned();
    let hint = ("id_token_hint", tokens.text("id_token"));
    let bad = [hint, ("post_logout_redirect_uri", "https://evil.example/")];
    assert_eq!(browser.post_from_elsewhere(&endpoint, &bad).await.page().status, 400);
    let good = [hint, ("post_logout_redirect_uri", LOGGED_OUT), ("state", "s1")];
    let away = browser.post_from_elsewhere(&endpoint, &good).await.callback();
    assert_eq!((away.uri.as_str(), away.get("state")), (LOGGED_OUT, "s1"));
    let after = browser.open(&client.request(&[("prompt", "none")])).await.callback();
    assert_eq!(after.get("error"), "login_required");
    let info = client.userinfo(tokens.text("access_token")).await;
    info.assert_error(401, "invalid_token");
}
