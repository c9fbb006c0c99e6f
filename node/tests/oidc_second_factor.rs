//! A second factor at the pages, in tokens, and in what clients ask for (RFC 6238, RFC 9470, docs/adr/0026).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::assertion::seconds;
use oidc_support::browser::{Browser, Callback, Page, PageKind, Stop};
use oidc_support::node::{Admin, Node, Person, Ready, Registered, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};

const TWO: &str = "urn:domicile:acr:two-factors";
const ONE: &str = "urn:domicile:acr:password";
const STEP_S: u64 = 30;

/// An authenticator app. It shows each code once.
struct App {
    totp: totp_rs::Totp,
    last: u64,
}

impl App {
    fn new(secret: &str) -> Self {
        let secret = totp_rs::Secret::try_from_base32(secret.replace(' ', "")).unwrap();
        Self { totp: totp_rs::Builder::new().with_secret(secret).build().unwrap(), last: 0 }
    }

    /// The next code that counts: of this step, or of the one after it.
    fn code(&mut self) -> String {
        let now = seconds() / STEP_S;
        self.last = now.max(self.last + 1);
        assert!(self.last <= now + 1, "a test may show two codes in a row, not three");
        self.totp.generate(self.last * STEP_S).to_string()
    }
}

/// A user of their own, who may set an app up.
struct User {
    ready: Ready,
    person: Person,
    id: String,
}

impl User {
    async fn new(ready: &Ready, name: &str) -> Self {
        let person = Person { username: name.to_owned(), password: "correct horse battery".to_owned() };
        let body = json!({ "username": person.username, "password": person.password });
        let made = Admin::of(ready).create("users", body).await;
        Self { ready: ready.clone(), person, id: made["id"].as_str().unwrap().to_owned() }
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.ready.public_url)
    }

    fn account(&self) -> String {
        format!("{}/account", self.ready.issuer)
    }

    /// Logs in at the account page, by password.
    async fn at_account(&self, browser: &mut Browser) -> Page {
        let login = browser.open(&self.account()).await.page();
        browser.log_in(&login, &self.person).await.page()
    }

    /// Sets an app up and gives it, with the recovery codes.
    async fn set_up(&self, browser: &mut Browser) -> (App, Vec<String>) {
        let account = self.at_account(browser).await;
        assert!(account.html.contains("/account/second-factor"), "{}", account.html);
        let page = browser.open(&format!("{}/second-factor", self.account())).await.page();
        let mut app = App::new(secret(&page));
        let wrong = browser.submit(&page, &[("code", "000000")], "").await.page();
        assert!(wrong.html.contains("role=\"alert\"") && secret(&wrong) == secret(&page), "{}", wrong.html);
        let done = browser.submit(&wrong, &[("code", &app.code())], "").await.page();
        let codes = recovery_codes(&done);
        assert_eq!((done.status, codes.len()), (200, 10), "{}", done.html);
        (app, codes)
    }

    async fn shown(&self) -> Value {
        Admin::of(&self.ready).get(&format!("users/{}", self.id)).await
    }
}

fn between<'a>(html: &'a str, start: &str, end: &str) -> &'a str {
    html.split_once(start).unwrap_or_else(|| panic!("no {start} in {html}")).1.split_once(end).unwrap().0
}

fn secret(page: &Page) -> &str {
    between(&page.html, "<code id=\"secret\">", "</code>")
}

fn recovery_codes(page: &Page) -> Vec<String> {
    page.html.split("<li><code>").skip(1).map(|rest| rest.split_once('<').unwrap().0.to_owned()).collect()
}

fn asks_for_code(page: &Page) -> bool {
    page.html.contains("autocomplete=\"one-time-code\"") && !page.html.contains("id=\"secret\"")
}

async fn relying_party(ready: &Ready, more: Value) -> RelyingParty {
    let mut body = json!({
        "client_name": "App", "redirect_uris": [oidc_support::node::CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = Admin::of(ready).create("clients", body).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&ready.issuer, &registered, Method::Basic).await
}

/// On from a page to the client, allowing where asked.
async fn allowed(browser: &mut Browser, stop: Stop) -> Callback {
    match stop {
        Stop::Page(page) if page.kind == PageKind::Consent => {
            browser.submit(&page, &[], "allow").await.callback()
        }
        Stop::Page(_) | Stop::Callback(_) => stop.callback(),
    }
}

/// What ID token, access token and introspection say of a login, which must be the same.
async fn said(client: &RelyingParty, tokens: &Answer) -> (String, Value, u64) {
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let id_token = part(tokens.text("id_token"), 1);
    let access_token = part(tokens.text("access_token"), 1);
    let seen = client.call("introspection_endpoint", &[("token", tokens.text("access_token"))]).await;
    for name in ["acr", "amr"] {
        assert_eq!(id_token[name], access_token[name], "{name}");
    }
    assert_eq!(
        (&seen.body["acr"], &seen.body["auth_time"]),
        (&access_token["acr"], &access_token["auth_time"])
    );
    let acr = id_token["acr"].as_str().unwrap().to_owned();
    (acr, id_token["amr"].clone(), access_token["auth_time"].as_u64().unwrap())
}

#[tokio::test]
async fn owasp_asvs_v5_s6_3_3_who_has_an_app_shows_its_code_at_each_login_and_each_code_once() {
    let shared = shared().await;
    let user = User::new(&shared.ready, "bea").await;
    assert!(user.shown().await.get("second_factor").is_none());
    let (mut app, _) = user.set_up(&mut user.browser()).await;
    assert_eq!(user.shown().await["second_factor"]["recovery_codes_left"], 10);
    let client = relying_party(&shared.ready, json!({})).await;
    let mut browser = user.browser();
    let login = browser.open(&client.request(&[("max_age", "600")])).await.page();
    let page = browser.log_in(&login, &user.person).await.page();
    assert!(asks_for_code(&page), "never before the password: {}", page.html);
    let code = app.code();
    let wrong = browser.submit(&page, &[("code", "000000")], "").await.page();
    assert!(asks_for_code(&wrong) && wrong.html.contains("role=\"alert\""), "{}", wrong.html);
    let stop = browser.submit(&wrong, &[("code", &code)], "").await;
    let callback = allowed(&mut browser, stop).await;
    let (acr, amr, _) = said(&client, &client.redeem(&callback, &[]).await).await;
    assert_eq!((acr.as_str(), amr), (TWO, json!(["mfa", "otp", "pwd"])));

    let mut other = user.browser();
    let login = other.open(&client.request(&[])).await.page();
    let page = other.log_in(&login, &user.person).await.page();
    let refused = other.submit(&page, &[("code", &code)], "").await.page();
    assert!(asks_for_code(&refused), "RFC 6238 §5.2: {}", refused.html);
    let silent = other.open(&client.request(&[("prompt", "none")])).await.callback();
    assert_eq!(silent.get("error"), "login_required");
    let somebody_else = other.press(&refused, "other_account", "1").await.page();
    assert_eq!(somebody_else.kind, PageKind::Login, "{}", somebody_else.html);
}

#[tokio::test]
async fn the_account_page_is_seen_with_the_second_factor_only_and_recovery_codes_work_once() {
    let shared = shared().await;
    let user = User::new(&shared.ready, "cleo").await;
    let (mut app, codes) = user.set_up(&mut user.browser()).await;
    let mut browser = user.browser();
    let page = user.at_account(&mut browser).await;
    assert!(asks_for_code(&page) && !page.html.contains("name=\"end\""), "{}", page.html);
    let direct = browser.open(&format!("{}/second-factor", user.account())).await.page();
    assert!(asks_for_code(&direct) && !direct.html.contains("name=\"remove\""), "{}", direct.html);
    let account = browser.submit(&page, &[("recovery_code", &codes[0])], "").await.page();
    assert!(account.html.contains("name=\"end\""), "{}", account.html);
    assert_eq!(user.shown().await["second_factor"]["recovery_codes_left"], 9);

    let mut other = user.browser();
    let page = user.at_account(&mut other).await;
    let refused = other.submit(&page, &[("recovery_code", &codes[0])], "").await.page();
    assert!(refused.html.contains("role=\"alert\""), "{}", refused.html);
    let account = other.submit(&refused, &[("code", &app.code())], "").await.page();
    assert!(account.html.contains("name=\"end\""), "{}", account.html);
    let manage = other.open(&format!("{}/second-factor", user.account())).await.page();
    let replaced = recovery_codes(&other.press(&manage, "replace", "1").await.page());
    assert!(replaced.len() == 10 && !replaced.contains(&codes[1]));
    let account = other.press(&manage, "remove", "1").await.page();
    assert!(account.html.contains("name=\"end\""), "{}", account.html);
    assert!(user.shown().await.get("second_factor").is_none());
    let mut third = user.browser();
    assert!(user.at_account(&mut third).await.html.contains("name=\"end\""), "the password alone again");
}

#[tokio::test]
async fn rfc9470_s5_acr_values_ask_for_the_second_factor_and_not_for_the_password_again() {
    let shared = shared().await;
    let user = User::new(&shared.ready, "dora").await;
    let client = relying_party(&shared.ready, json!({})).await;
    assert!(client.metadata["acr_values_supported"].as_array().unwrap().contains(&json!(TWO)));
    let mut browser = user.browser();
    let first = browser.approve(&client.request(&[("max_age", "600")]), &user.person).await;
    let (acr, amr, auth_time) = said(&client, &client.redeem(&first, &[]).await).await;
    assert_eq!((acr.as_str(), amr), (ONE, json!(["pwd"])));
    let insists = json!({"id_token": {"acr": {"essential": true, "values": [TWO]}}}).to_string();
    let unmet = browser.open(&client.request(&[("claims", &insists)])).await.callback();
    assert_eq!(unmet.get("error"), "unmet_authentication_requirements", "who has none cannot reach it");
    let likes = browser.open(&client.request(&[("acr_values", TWO)])).await.callback();
    let (acr, ..) = said(&client, &client.redeem(&likes, &[]).await).await;
    assert_eq!(acr, ONE, "asked for as voluntary");

    let (_, codes) = user.set_up(&mut user.browser()).await;
    let page = browser.open(&client.request(&[("claims", &insists), ("max_age", "600")])).await.page();
    assert!(asks_for_code(&page) && page.kind != PageKind::Login, "{}", page.html);
    let stepped_up = browser.submit(&page, &[("recovery_code", &codes[0])], "").await.callback();
    let (acr, amr, same) = said(&client, &client.redeem(&stepped_up, &[]).await).await;
    assert_eq!((acr.as_str(), amr, same), (TWO, json!(["mfa", "otp", "pwd"]), auth_time));
    let again = browser.open(&client.request(&[("acr_values", TWO), ("prompt", "none")])).await.callback();
    assert!(!again.get("code").is_empty(), "{again:?}");
    let login = browser.open(&client.request(&[("acr_values", TWO), ("prompt", "login")])).await.page();
    assert_eq!(login.kind, PageKind::Login, "a new login asks for both");
    assert!(asks_for_code(&browser.log_in(&login, &user.person).await.page()));
}

#[tokio::test]
async fn an_operator_sees_and_removes_the_second_factor_of_who_lost_it() {
    let shared = shared().await;
    let user = User::new(&shared.ready, "edda").await;
    user.set_up(&mut user.browser()).await;
    assert_eq!(user.shown().await["second_factor"]["kind"], "totp");
    let admin = Admin::of(&shared.ready);
    admin.delete(&format!("users/{}/second-factor", user.id)).await;
    assert!(user.shown().await.get("second_factor").is_none());
    let account = user.at_account(&mut user.browser()).await;
    assert!(account.html.contains("name=\"end\""), "{}", account.html);
}

#[tokio::test]
async fn rfc4226_s7_3_tries_of_codes_are_limited_by_address_and_user() {
    let dir = tempfile::tempdir().unwrap();
    let node =
        Node::start_with(dir.path(), "127.0.0.1:0", &[("DOMICILE__LIMITS__LOGIN_PER_NAME", "4")]).await;
    let user = User::new(&node.ready, "fay").await;
    user.set_up(&mut user.browser()).await;
    let mut browser = user.browser();
    let page = user.at_account(&mut browser).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(browser.submit(&page, &[("code", "000000")], "").await.page().status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
}

#[tokio::test]
async fn a_tenant_asks_everybody_or_only_where_a_client_asks() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "127.0.0.1:0").await;
    let admin = Admin::of(&node.ready);
    let user = User::new(&node.ready, "gil").await;
    let plain = relying_party(&node.ready, json!({})).await;
    let strict = relying_party(&node.ready, json!({ "default_acr_values": [TWO] })).await;

    admin.settings(json!({ "second_factor": "required" })).await;
    let mut browser = user.browser();
    let login = browser.open(&plain.request(&[])).await.page();
    let page = browser.log_in(&login, &user.person).await.page();
    let mut app = App::new(secret(&page));
    let done = browser.submit(&page, &[("code", &app.code())], "").await.page();
    let codes = recovery_codes(&done);
    let stop = browser.submit(&done, &[], "").await;
    let callback = allowed(&mut browser, stop).await;
    let (acr, ..) = said(&plain, &plain.redeem(&callback, &[]).await).await;
    assert_eq!(acr, TWO, "set up on the way");
    let newcomer = User::new(&node.ready, "hal").await;
    let page = newcomer.at_account(&mut newcomer.browser()).await;
    assert!(page.html.contains("id=\"secret\""), "also at the account page: {}", page.html);

    admin.settings(json!({ "second_factor": "when_asked" })).await;
    let mut browser = user.browser();
    let callback = browser.approve(&plain.request(&[]), &user.person).await;
    let (acr, ..) = said(&plain, &plain.redeem(&callback, &[]).await).await;
    assert_eq!(acr, ONE);
    let page = browser.open(&strict.request(&[])).await.page();
    assert!(asks_for_code(&page), "OpenID Connect Registration §2: {}", page.html);
    let stop = browser.submit(&page, &[("recovery_code", &codes[1])], "").await;
    let callback = allowed(&mut browser, stop).await;
    let (acr, ..) = said(&strict, &strict.redeem(&callback, &[]).await).await;
    assert_eq!(acr, TWO);
}
