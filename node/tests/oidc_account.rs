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
    assert_eq!(page.html.matches("From 127.0.0.1").count(), 2, "{}", page.html);
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

#[tokio::test]
async fn a_person_sees_from_where_each_login_was_and_nobody_else_does() {
    let shared = shared().await;
    let (one, other) = (person(shared, "ines").await, person(shared, "jana").await);
    let mut phone = Browser::new(&shared.ready.public_url);
    phone.agent = Some(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
         Version/17.5 Mobile/15E148 Safari/604.1",
    );
    let login = phone.open(&account_url(shared)).await.page();
    phone.log_in(&login, &one).await.page();
    let (_, page) = signed_in(shared, &one).await;
    assert_eq!(page.html.matches("From 127.0.0.1, Safari, iPhone").count(), 1, "{}", page.html);
    assert_eq!(page.html.matches("From 127.0.0.1").count(), 2, "a browser without a name: {}", page.html);
    let (_, page) = signed_in(shared, &other).await;
    assert!(!page.html.contains("iPhone"), "{}", page.html);
}

#[tokio::test]
async fn who_has_many_sessions_sees_them_page_by_page() {
    let shared = shared().await;
    let person = person(shared, "lena").await;
    let (mut first, page) = signed_in(shared, &person).await;
    let oldest = buttons(&page, "end")[0].clone();
    for _ in 0..21 {
        signed_in(shared, &person).await;
    }
    let page = first.open(&account_url(shared)).await.page();
    let newest = buttons(&page, "end");
    assert_eq!((newest.len(), &newest[0]), (21, &oldest), "this one, and the twenty that began last");
    let after = page.html.split_once("?after=").unwrap().1.split_once('"').unwrap().0;
    let older = first.open(&format!("{}?after={after}", account_url(shared))).await.page();
    let rest = buttons(&older, "end");
    assert_eq!(rest.len(), 1, "{}", older.html);
    assert!(!newest.contains(&rest[0]) && !older.html.contains("This browser"), "{}", older.html);
    let made_up = first.open(&format!("{}?after=made-up", account_url(shared))).await.page();
    assert_eq!((made_up.status, buttons(&made_up, "end")), (200, newest.clone()));
    // A session that stands on another page than the first is ended like any.
    let page = first.press(&older, "end", &rest[0]).await.page();
    assert_eq!(buttons(&page, "end"), newest);
    let page = first.press(&page, "end_others", "1").await.page();
    assert_eq!(buttons(&page, "end"), [oldest]);
}

/// The form on which a password is changed, filled in and sent.
async fn change(browser: &mut Browser, page: &Page, current: &str, new: &str, again: &str) -> Page {
    let fields = [("current_password", current), ("password", new), ("password_again", again)];
    browser.submit(page, &fields, "").await.page()
}

#[tokio::test]
async fn owasp_asvs_v5_s6_2_3_a_changed_password_signs_out_everywhere_else() {
    let shared = shared().await;
    let (before, party) = (person(shared, "klara").await, party(shared).await);
    let mut elsewhere = Browser::new(&shared.ready.public_url);
    let request = party.request(&[("scope", "openid offline_access"), ("prompt", "consent")]);
    let tokens = party.redeem(&elsewhere.approve(&request, &before).await, &[]).await;
    let (access, refresh) = (tokens.text("access_token"), tokens.text("refresh_token"));
    let (mut browser, account) = signed_in(shared, &before).await;
    let url = format!("{}/password", account_url(shared));
    let path = url::Url::parse(&url).unwrap().path().to_owned();
    assert!(account.html.contains(&format!("href=\"{path}\"")), "{}", account.html);
    let page = browser.open(&url).await.page();
    let (old, new) = (before.password.as_str(), "a quite different password");
    for (current, wanted, again, field) in [
        ("wrong", new, new, "current_password"),
        (old, new, "not the same", "password_again"),
        (old, "short", "short", "password"),
        (old, &"long".repeat(1_100), &"long".repeat(1_100), "password"),
    ] {
        let refused = change(&mut browser, &page, current, wanted, again).await;
        assert_eq!(refused.status, 200);
        assert!(refused.html.contains(&format!("<a href=\"#{field}\">")), "{field}: {}", refused.html);
        assert_eq!(party.userinfo(access).await.status, 200, "nothing was changed");
    }
    let foreign = [("current_password", old), ("password", new), ("password_again", new)];
    assert_eq!(browser.post_from_elsewhere(&url, &foreign).await.page().status, 403);

    let stolen = browser.cookies.clone();
    let done = change(&mut browser, &page, old, new, new).await;
    assert!(done.html.contains("<h1>Your password was changed</h1>"), "{}", done.html);
    let account = browser.open(&account_url(shared)).await.page();
    assert_eq!(buttons(&account, "end").len(), 1, "this one goes on, alone: {}", account.html);
    let silent = elsewhere.open(&party.request(&[("prompt", "none")])).await.callback();
    assert_eq!(silent.get("error"), "login_required");
    assert_eq!(party.userinfo(access).await.status, 401);
    party.refresh(refresh).await.assert_error(400, "invalid_grant");
    // The page that is still open belongs to a session that is over, and so does its cookie.
    let again = change(&mut browser, &page, new, old, old).await;
    assert!(!again.html.contains("was changed"), "{}", again.html);
    let mut thief = Browser::new(&shared.ready.public_url);
    thief.cookies = stolen;
    let login = thief.open(&account_url(shared)).await.page();
    assert_eq!(login.kind, PageKind::Login);
    let refused = thief.log_in(&login, &before).await.page();
    assert!(refused.html.contains("role=\"alert\""), "{}", refused.html);
    let after = Person { password: new.to_owned(), ..before };
    assert_eq!(thief.log_in(&refused, &after).await.page().url.as_str(), account_url(shared));
}

#[tokio::test]
async fn owasp_asvs_v5_s6_3_1_wrong_passwords_there_lock_the_account_as_at_a_login() {
    let shared = shared().await;
    let person = person(shared, "mona").await;
    let (mut browser, _) = signed_in(shared, &person).await;
    let url = format!("{}/password", account_url(shared));
    let page = browser.open(&url).await.page();
    let new = "a quite different password";
    let mut tries = 0;
    let locked = loop {
        let refused = change(&mut browser, &page, "a guess", new, new).await;
        tries += 1;
        assert!(tries < 50, "nothing stops who guesses");
        if refused.status != 200 {
            break refused;
        }
    };
    assert_eq!(locked.status, 429, "{}", locked.html);
    let right = change(&mut browser, &page, &person.password, new, new).await;
    assert_eq!(right.status, 429, "{}", right.html);
    let mut other = Browser::new(&shared.ready.public_url);
    let login = other.open(&account_url(shared)).await.page();
    assert_eq!(other.log_in(&login, &person).await.page().status, 429);
}
