//! Accounts that people make for themselves (Initiating User Registration via OpenID Connect 1.0), against the
//! real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, Page, PageKind, Stop};
use oidc_support::html::forms;
use oidc_support::node::{Admin, Person, Shared, shared};
use oidc_support::relying_party::{Method, RelyingParty, part};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

const TERMS: &str = "https://acme.example/terms";

/// The tests here change settings of the tenant that they share.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn open(terms: Option<&str>) -> (&'static Shared, RelyingParty, MutexGuard<'static, ()>) {
    let alone = ALONE.lock().await;
    let shared = shared().await;
    let change = json!({ "self_registration": true, "terms_uri": terms });
    Admin::of(&shared.ready).settings(change).await;
    (shared, RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await, alone)
}

/// Fills in the page's form: name, password, the same again, and the box where there is one.
async fn register(browser: &mut Browser, page: &Page, person: &Person, again: &str, agrees: bool) -> Stop {
    let form = forms(&page.html).into_iter().find(|form| form.find(|c| c.kind == "password").is_some());
    let form = form.expect("a form");
    let mut fields: Vec<(String, String)> = Vec::new();
    for control in form.controls.iter().filter(|control| control.tag == "input") {
        let value = match control.name.as_str() {
            "username" => person.username.clone(),
            "password" => person.password.clone(),
            "password_again" => again.to_owned(),
            "terms" if !agrees => continue,
            _ => control.value.clone(),
        };
        fields.push((control.name.clone(), value));
    }
    browser.send_form(page, &form.action, fields).await
}

#[tokio::test]
async fn oidc_prompt_create_s4_a_person_makes_an_account_and_comes_back_logged_in() {
    let (shared, party, _alone) = open(Some(TERMS)).await;
    let values = party.metadata["prompt_values_supported"].as_array().unwrap();
    assert!(values.contains(&json!("create")), "{values:?}");
    let mut browser = Browser::new(&shared.ready.public_url);
    let page = browser.open(&party.request(&[("prompt", "create")])).await.page();
    assert_eq!(page.status, 200);
    assert!(page.html.contains("Create an account") && page.html.contains(TERMS), "{}", page.html);
    let person = Person { username: "newcomer".to_owned(), password: "correct horse battery".to_owned() };
    for (again, agrees, blamed) in [("another", true, "password_again"), (&*person.password, false, "terms")]
    {
        let refused = register(&mut browser, &page, &person, again, agrees).await.page();
        assert!(refused.html.contains(&format!("href=\"#{blamed}\"")), "{}", refused.html);
        assert!(refused.html.contains("value=\"newcomer\"") && !refused.html.contains("correct horse"));
    }
    let consent = register(&mut browser, &page, &person, &person.password, true).await.page();
    assert_eq!(consent.kind, PageKind::Consent, "{}", consent.html);
    let callback = browser.submit(&consent, &[], "allow").await.callback();
    let tokens = party.redeem(&callback, &[]).await;
    let claims = part(tokens.text("id_token"), 1);
    assert_eq!((&claims["amr"], claims["sid"].is_string()), (&json!(["pwd"]), true));
    // The account stays: its owner logs in elsewhere, and the name is taken.
    let elsewhere = Browser::new(&shared.ready.public_url).approve(&party.request(&[]), &person).await;
    assert!(!elsewhere.get("code").is_empty());
    let mut other = Browser::new(&shared.ready.public_url);
    let page = other.open(&party.request(&[("prompt", "create")])).await.page();
    let taken = register(&mut other, &page, &person, &person.password, true).await.page();
    assert!(taken.html.contains("This username is taken."), "{}", taken.html);
    let short = Person { username: "short".to_owned(), password: "short".to_owned() };
    let refused = register(&mut other, &page, &short, "short", true).await.page();
    assert!(refused.html.contains("at least this many characters: 8"), "{}", refused.html);
}

#[tokio::test]
async fn the_login_page_offers_an_account_and_the_way_back() {
    let (shared, party, _alone) = open(None).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let login = browser.open(&party.request(&[])).await.page();
    let page = browser.press(&login, "create", "1").await.page();
    assert!(page.html.contains("Create an account") && !page.html.contains(TERMS), "{}", page.html);
    let login = browser.press(&page, "sign_in", "1").await.page();
    assert_eq!(login.kind, PageKind::Login);
    let consent = browser.log_in(&login, &shared.person).await.page();
    let callback = browser.submit(&consent, &[], "allow").await.callback();
    assert!(!callback.get("code").is_empty());
    // Whoever is logged in: `create` shows the page, and the new account takes the browser over.
    let page = browser.open(&party.request(&[("prompt", "create")])).await.page();
    let person = Person { username: "second".to_owned(), password: "correct horse battery".to_owned() };
    let consent = register(&mut browser, &page, &person, &person.password, true).await.page();
    assert!(consent.kind == PageKind::Consent && consent.html.contains("second"), "{}", consent.html);
}

#[tokio::test]
async fn oidc_prompt_create_s4_1_a_tenant_that_makes_accounts_itself_does_not_know_the_value() {
    let (shared, party, _alone) = open(None).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let page = browser.open(&party.request(&[("prompt", "create")])).await.page();
    Admin::of(&shared.ready).settings(json!({ "self_registration": null, "terms_uri": null })).await;
    let metadata = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await.metadata;
    assert!(!metadata["prompt_values_supported"].as_array().unwrap().contains(&json!("create")));
    let refused = browser.open(&party.request(&[("prompt", "create")])).await.callback();
    assert_eq!(refused.get("error"), "invalid_request");
    // A page from before makes none either: the login page comes instead.
    let person = Person { username: "late".to_owned(), password: "correct horse battery".to_owned() };
    let login = register(&mut browser, &page, &person, &person.password, true).await.page();
    assert!(!login.html.contains("Create an account") && login.kind == PageKind::Login, "{}", login.html);
}

#[tokio::test]
async fn owasp_asvs_v5_s3_5_an_account_is_not_made_by_another_site() {
    let (shared, party, _alone) = open(None).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    browser.open(&party.request(&[("prompt", "create")])).await.page();
    let url = format!("{}/register", shared.ready.issuer);
    let fields = [("username", "planted"), ("password", "correct horse battery"), ("csrf", "x")];
    assert_eq!(browser.post_from_elsewhere(&url, &fields).await.page().status, 403);
}
