//! The page on which users register clients of their own (docs/adr/0027).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, Page, PageKind};
use oidc_support::node::{Admin, CALLBACK, Person, Ready, Registered, shared};
use oidc_support::relying_party::{Method, RelyingParty};
use serde_json::json;

async fn open(ready: &Ready) -> Admin {
    let admin = Admin::of(ready);
    admin.settings(json!({ "developer_clients_max": 2 })).await;
    admin
}

/// A user of their own, logged in at the account page.
async fn developer(ready: &Ready, name: &str) -> (Browser, String) {
    let person = Person { username: name.to_owned(), password: "correct horse battery".to_owned() };
    let body = json!({ "username": person.username, "password": person.password });
    let made = Admin::of(ready).create("users", body).await;
    let mut browser = Browser::new(&ready.public_url);
    let login = browser.open(&format!("{}/account", ready.issuer)).await.page();
    let account = browser.log_in(&login, &person).await.page();
    assert!(account.html.contains("/account/clients"), "{}", account.html);
    (browser, made["id"].as_str().unwrap().to_owned())
}

fn list(ready: &Ready) -> String {
    format!("{}/account/clients", ready.issuer)
}

fn text<'a>(page: &'a Page, id: &str) -> &'a str {
    let start = format!("<code id=\"{id}\">");
    let rest = page.html.split_once(&start).unwrap_or_else(|| panic!("no {id} in {}", page.html)).1;
    rest.split_once('<').unwrap().0
}

/// Sends the fields of the page's form that has this button, with `fill` in place of its own.
async fn send(browser: &mut Browser, page: &Page, fill: &[(&str, &str)], button: &str) -> Page {
    let forms = oidc_support::html::forms(&page.html);
    let form = forms.into_iter().find(|form| form.has_button(button)).expect("a form with the button");
    let mut fields: Vec<(String, String)> = form
        .controls
        .iter()
        .filter(|control| control.kind == "hidden")
        .map(|control| (control.name.clone(), control.value.clone()))
        .collect();
    fields.extend(fill.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    fields.push((button.to_owned(), "1".to_owned()));
    browser.send_form(page, &form.action, fields).await.page()
}

#[tokio::test]
async fn a_user_registers_a_client_changes_it_and_people_sign_in_to_it() {
    let shared = shared().await;
    let admin = open(&shared.ready).await;
    let (mut browser, user) = developer(&shared.ready, "dev-ada").await;
    let page = browser.open(&list(&shared.ready)).await.page();
    let refused =
        send(&mut browser, &page, &[("name", "Shop"), ("redirect_uris", "http://evil.example/")], "register");
    let refused = refused.await;
    assert!(
        refused.html.contains("role=\"alert\"") && refused.html.contains("value=\"Shop\""),
        "{}",
        refused.html
    );
    let fields = [("name", "Shop"), ("redirect_uris", CALLBACK), ("scope", "openid email")];
    let made = send(&mut browser, &refused, &fields, "register").await;
    let registered = Registered {
        client_id: text(&made, "client_id").to_owned(),
        client_secret: text(&made, "client_secret").to_owned(),
    };
    let again = browser.open(made.url.as_str()).await.page();
    assert!(!again.html.contains(&registered.client_secret), "shown once");
    let seen = format!("clients/{}", registered.client_id);
    assert_eq!(admin.get(&seen).await["delegation"]["by"]["developer"], user.as_str());

    let client = RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await;
    let pkce = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let mut visitor = Browser::new(&shared.ready.public_url);
    let login = visitor.open(&client.request(&pkce)).await.page();
    assert!(login.html.contains("Nobody checked"), "RFC 7591 §5: {}", login.html);
    let consent = visitor.log_in(&login, &shared.person).await.page();
    let callback = visitor.submit(&consent, &[], "allow").await.callback();
    let verifier = [("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")];
    assert_eq!(client.redeem(&callback, &verifier).await.status, 200);

    let page = format!("{}/{}", list(&shared.ready), registered.client_id);
    let own = browser.open(&page).await.page();
    let renamed = [("name", "Better shop"), ("redirect_uris", CALLBACK), ("scope", "openid")];
    let saved = send(&mut browser, &own, &renamed, "save").await;
    assert!(saved.html.contains("<h1>Better shop</h1>"), "{}", saved.html);
    let (many, before) = (format!("{CALLBACK} ").repeat(400), admin.get(&seen).await);
    let lost = send(&mut browser, &saved, &[("name", "Other"), ("redirect_uris", &many)], "save").await;
    assert_eq!(lost.status, 400, "what cannot be kept is not left out: {}", lost.html);
    assert_eq!(admin.get(&seen).await, before);
    let rotated = send(&mut browser, &saved, &[], "rotate").await;
    assert_ne!(text(&rotated, "client_secret"), registered.client_secret);
    let kept = send(&mut browser, &rotated, &[], "delete").await;
    assert!(kept.html.contains("<h1>Better shop</h1>"), "only who is sure: {}", kept.html);
    let gone = send(&mut browser, &kept, &[("sure", "1")], "delete").await;
    assert!(!gone.html.contains("Better shop"), "{}", gone.html);
    client.refresh("x").await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn owasp_asvs_v5_s8_2_2_a_users_clients_are_nobody_elses_to_see_or_change() {
    let shared = shared().await;
    open(&shared.ready).await;
    let (mut ada, _) = developer(&shared.ready, "dev-bea").await;
    let (mut eve, _) = developer(&shared.ready, "dev-eve").await;
    let page = ada.open(&list(&shared.ready)).await.page();
    let fields = [("name", "Private plans"), ("redirect_uris", CALLBACK)];
    let made = send(&mut ada, &page, &fields, "register").await;
    let address = format!("{}/{}", list(&shared.ready), text(&made, "client_id"));
    for address in [address.as_str(), &format!("{}/{}", list(&shared.ready), shared.basic.client_id)] {
        let seen = eve.open(address).await.page();
        assert!(seen.url.path().ends_with("/account/clients"), "{}", seen.url);
        assert!(!seen.html.contains("Private plans"), "{}", seen.html);
    }
    let own = ada.open(&address).await.page();
    let form = own.form();
    let stolen: Vec<_> =
        form.controls.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
    let forged = eve.send_form(&own, &form.action, stolen).await.page();
    assert!(matches!(forged.status, 400 | 403), "another browser's form: {}", forged.status);
    let mut elsewhere = Browser::new(&shared.ready.public_url);
    let from_elsewhere =
        elsewhere.post_from_elsewhere(&address, &[("delete", "1"), ("sure", "1")]).await.page();
    assert_eq!(from_elsewhere.status, 403, "{}", from_elsewhere.html);
    let login = Browser::new(&shared.ready.public_url).open(&address).await.page();
    assert_eq!(login.kind, PageKind::Login, "who is not logged in");
}

#[tokio::test]
async fn there_are_only_so_many_and_none_of_a_user_who_is_disabled() {
    let shared = shared().await;
    let admin = open(&shared.ready).await;
    let (mut browser, user) = developer(&shared.ready, "dev-cleo").await;
    let mut ids = Vec::new();
    for name in ["One", "Two"] {
        let page = browser.open(&list(&shared.ready)).await.page();
        let fields = [("name", name), ("redirect_uris", CALLBACK), ("public", "1")];
        let made = send(&mut browser, &page, &fields, "register").await;
        assert!(!made.html.contains("id=\"client_secret\""), "a public client has none: {}", made.html);
        ids.push(text(&made, "client_id").to_owned());
    }
    let page = browser.open(&list(&shared.ready)).await.page();
    assert!(!page.html.contains("name=\"register\""), "{}", page.html);
    admin.change(&format!("users/{user}"), json!({ "disabled": true })).await;
    for id in ids {
        assert_eq!(admin.get(&format!("clients/{id}")).await["disabled"], true);
    }
}
