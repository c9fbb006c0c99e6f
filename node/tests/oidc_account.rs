//! The account page against the real binary: what a person sees and ends, and who may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, Page, PageKind};
use oidc_support::html::forms;
use oidc_support::node::{Admin, Person, Shared, shared};
use oidc_support::relying_party::{Method, RelyingParty};
use serde_json::json;

/// Somebody of this test alone, so that sessions can be counted.
async fn person(shared: &Shared, name: &str) -> Person {
    let person = Person { username: name.to_owned(), password: "correct horse battery".to_owned() };
    let body = json!({ "username": person.username, "password": person.password });
    Admin::of(&shared.ready).create("users", body).await;
    person
}

async fn party(shared: &Shared) -> RelyingParty {
    RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await
}

fn account_url(shared: &Shared) -> String {
    format!("{}/account", shared.ready.issuer)
}

/// Logs in on the way to the account page.
async fn signed_in(shared: &Shared, person: &Person) -> (Browser, Page) {
    let mut browser = Browser::new(&shared.ready.public_url);
    let login = browser.open(&account_url(shared)).await.page();
    let account = browser.log_in(&login, person).await.page();
    (browser, account)
}

/// Values of the buttons of this name.
fn buttons(page: &Page, name: &str) -> Vec<String> {
    let controls = forms(&page.html).into_iter().flat_map(|form| form.controls);
    controls.filter(|c| c.tag == "button" && c.name == name).map(|c| c.value).collect()
}

#[tokio::test]
async fn a_person_sees_and_ends_logins_and_grants() {
    let shared = shared().await;
    let (person, party) = (person(shared, "carla").await, party(shared).await);
    let mut elsewhere = Browser::new(&shared.ready.public_url);
    let request = party.request(&[("scope", "openid offline_access"), ("prompt", "consent")]);
    let callback = elsewhere.approve(&request, &person).await;
    let tokens = party.redeem(&callback, &[]).await;
    let (access, refresh) = (tokens.text("access_token"), tokens.text("refresh_token").to_owned());

    let (mut browser, page) = signed_in(shared, &person).await;
    assert_eq!(
        (page.status, page.url.as_str()),
        (200, account_url(shared).as_str()),
        "a reload repeats nothing"
    );
    assert!(page.html.contains("carla") && page.html.contains("Basic client"), "{}", page.html);
    assert_eq!(page.html.matches("This browser").count(), 1, "{}", page.html);
    assert!(!page.html.contains("127.0.0.1"), "no address is shown");
    let sessions = buttons(&page, "end");
    assert_eq!(sessions.len(), 2);
    // The other login first: this one is marked and stands on top.
    let page = browser.press(&page, "end", &sessions[1]).await.page();
    assert_eq!(buttons(&page, "end"), sessions[..1]);
    let silent = elsewhere.open(&party.request(&[("prompt", "none")])).await.callback();
    assert_eq!(silent.get("error"), "login_required");
    // `offline_access` outlives the session, and not the consent.
    assert_eq!(party.userinfo(access).await.status, 200);
    let clients = buttons(&page, "revoke");
    assert_eq!(clients.len(), 1);
    let page = browser.press(&page, "revoke", &clients[0]).await.page();
    assert!(buttons(&page, "revoke").is_empty() && page.html.contains("No application has access."));
    assert_eq!(party.userinfo(access).await.status, 401);
    party.refresh(&refresh).await.assert_error(400, "invalid_grant");
    // At last this login.
    let page = browser.press(&page, "end", &sessions[0]).await.page();
    assert!(page.html.contains("You are signed out"), "{}", page.html);
    assert_eq!(browser.open(&account_url(shared)).await.page().kind, PageKind::Login);
}

#[tokio::test]
async fn everywhere_else_is_ended_at_once() {
    let shared = shared().await;
    let person = person(shared, "dora").await;
    let (mut first, _) = signed_in(shared, &person).await;
    let (mut second, _) = signed_in(shared, &person).await;
    let (mut third, page) = signed_in(shared, &person).await;
    assert_eq!(buttons(&page, "end").len(), 3);
    let page = third.press(&page, "end_others", "1").await.page();
    assert_eq!(buttons(&page, "end").len(), 1);
    for browser in [&mut first, &mut second] {
        assert_eq!(browser.open(&account_url(shared)).await.page().kind, PageKind::Login);
    }
}

#[tokio::test]
async fn owasp_asvs_v5_s4_2_only_own_sessions_can_be_ended() {
    let shared = shared().await;
    let (one, other) = (person(shared, "emma").await, person(shared, "frida").await);
    let (mut victim, page) = signed_in(shared, &one).await;
    let victims = buttons(&page, "end")[0].clone();
    let (mut attacker, page) = signed_in(shared, &other).await;
    let own = buttons(&page, "end")[0].clone();
    let forged = Page { html: page.html.replace(&own, &victims), ..page };
    let page = attacker.press(&forged, "end", &victims).await.page();
    assert_eq!(buttons(&page, "end"), [own]);
    assert_eq!(buttons(&victim.open(&account_url(shared)).await.page(), "end"), [victims]);
}

#[tokio::test]
async fn owasp_asvs_v5_s3_5_a_form_of_another_site_or_browser_changes_nothing() {
    let shared = shared().await;
    let person = person(shared, "gerda").await;
    let (mut browser, page) = signed_in(shared, &person).await;
    let id = buttons(&page, "end")[0].clone();
    let url = account_url(shared);
    let refused = browser.post_from_elsewhere(&url, &[("end", &id)]).await.page();
    assert_eq!(refused.status, 403, "{}", refused.html);
    // Another browser's form, sent from our own site with this browser's cookies.
    let (mut other, _) = signed_in(shared, &person).await;
    let stolen = other.press(&page, "end", &id).await.page();
    assert_ne!(stolen.status, 200, "{}", stolen.html);
    assert!(buttons(&browser.open(&url).await.page(), "end").contains(&id));
}

#[tokio::test]
async fn the_account_page_is_a_person_s_own_and_linked_where_they_are_signed_in() {
    let shared = shared().await;
    let (person, party) = (person(shared, "hanna").await, party(shared).await);
    let mut browser = Browser::new(&shared.ready.public_url);
    let login = browser.open(&account_url(shared)).await.page();
    assert_eq!((login.kind, login.status), (PageKind::Login, 200));
    let wrong = Person { password: "wrong".to_owned(), ..person.clone() };
    let refused = browser.log_in(&login, &wrong).await.page();
    assert!(refused.html.contains("role=\"alert\"") && refused.html.contains("value=\"hanna\""));
    browser.log_in(&refused, &person).await.page();
    let consent = browser.open(&party.request(&[("prompt", "consent")])).await.page();
    assert_eq!(consent.kind, PageKind::Consent);
    let path = url::Url::parse(&account_url(shared)).unwrap().path().to_owned();
    assert!(consent.html.contains(&format!("href=\"{path}\"")), "{}", consent.html);
    let logout = browser.open(party.endpoint("end_session_endpoint")).await.page();
    assert!(logout.html.contains(&format!("href=\"{path}\"")), "{}", logout.html);
}
