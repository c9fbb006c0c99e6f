//! Dynamic client registration (RFC 7591) and its management (RFC 7592) against the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, Stop};
use oidc_support::node::{Admin, CALLBACK, Node, Ready, Shared, shared};
use oidc_support::registration::{
    Managed, initial_access_token, let_register, let_register_within, register, registered, usual,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Who may register is a setting of the one tenant: one test at a time sets it.
static TENANT: Mutex<()> = Mutex::const_new(());

async fn open() -> (&'static Shared, tokio::sync::MutexGuard<'static, ()>) {
    let guard = TENANT.lock().await;
    let shared = shared().await;
    let_register(&shared.ready, "open").await;
    (shared, guard)
}

async fn discovered(ready: &Ready) -> Value {
    let url = format!("{}/.well-known/openid-configuration", ready.issuer);
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn rfc7591_s3_a_registered_client_signs_people_in() {
    let (shared, _guard) = open().await;
    let endpoint = discovered(&shared.ready).await["registration_endpoint"].clone();
    assert_eq!(endpoint, format!("{}/oauth2/register", shared.ready.issuer));
    let sent = usual(&json!({
        "scope": "openid email", "contacts": ["ops@rp.example"], "software_id": "soft", "unheard_of": {"a": 1},
        "resource_identifiers": ["https://api.example"], "client_uri": "https://rp.example",
    }));
    let answer = register(&shared.ready, None, &sent).await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, "no-store"), "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    for name in
        ["client_name", "redirect_uris", "grant_types", "response_types", "scope", "contacts", "client_uri"]
    {
        assert_eq!(answer.body[name], sent[name], "{name}");
    }
    assert_eq!(answer.body["token_endpoint_auth_method"], "client_secret_basic", "the default is echoed");
    assert_eq!(answer.body["client_secret_expires_at"], 0);
    assert!(answer.body["client_id_issued_at"].as_u64().unwrap() > 1_600_000_000);
    for ignored in ["unheard_of", "resource_identifiers"] {
        assert!(answer.body.get(ignored).is_none(), "{ignored}");
    }
    let client = oidc_support::registration::party(&shared.ready, &answer.body).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let callback = browser.approve(&client.request(&[("scope", "openid email")]), &shared.person).await;
    let tokens = client.redeem(&callback, &[]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
}

#[tokio::test]
async fn rfc7591_s3_2_2_each_fault_has_its_code() {
    let (shared, _guard) = open().await;
    let (uri, metadata) = ("invalid_redirect_uri", "invalid_client_metadata");
    for (more, error) in [
        (json!({"redirect_uris": []}), uri),
        (json!({"redirect_uris": ["https://rp.example/cb#f"]}), uri),
        (json!({"redirect_uris": ["http://rp.example/cb"]}), uri),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), uri),
        (json!({"redirect_uris": "https://rp.example/cb"}), metadata),
        (json!({"token_endpoint_auth_method": "tls_client_auth"}), metadata),
        (json!({"token_endpoint_auth_method": "private_key_jwt"}), metadata),
        (json!({"grant_types": ["implicit"]}), metadata),
        (json!({"grant_types": ["client_credentials"]}), metadata),
        (json!({"response_types": ["token"]}), metadata),
        (json!({"id_token_signed_response_alg": "none"}), metadata),
        (json!({"id_token_encrypted_response_alg": "RSA-OAEP"}), metadata),
        (json!({"jwks": {"keys": []}, "jwks_uri": "https://rp.example/jwks"}), metadata),
        (json!({"jwks_uri": "http://rp.example/jwks"}), metadata),
        (json!({"jwks_uri": "http://10.0.0.7/jwks"}), metadata),
        (json!({"initiate_login_uri": "http://rp.example/start"}), metadata),
        (json!({"logo_uri": "nowhere"}), metadata),
        (json!({"client_name": "App\u{202e}"}), metadata),
        (json!({"client_name#ar": "\u{2067}App"}), metadata),
        (json!({"software_statement": "no.jwt"}), "invalid_software_statement"),
        (
            json!({"software_statement": "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.AA"}),
            "unapproved_software_statement",
        ),
    ] {
        let refused = register(&shared.ready, None, &usual(&more)).await;
        refused.assert_error(400, error);
    }
    let url = format!("{}/oauth2/register", shared.ready.issuer);
    let http = reqwest::Client::new();
    for request in [
        http.post(&url).body("{}"),
        http.post(&url).header("content-type", "application/json").body("[]"),
        http.post(&url).header("content-type", "application/json").body("x".repeat(70 * 1024)),
        http.post(&url).form(&[("redirect_uris", CALLBACK)]),
    ] {
        let refused = oidc_support::relying_party::Answer::of(request.send().await.unwrap()).await;
        refused.assert_error(400, metadata);
    }
    assert_eq!(http.get(&url).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn rfc7592_s2_a_registration_is_read_replaced_and_deleted() {
    let (shared, _guard) = open().await;
    let (client, body) = registered(&shared.ready, &json!({"contacts": ["ops@rp.example"]})).await;
    let first = Managed::of(&body);
    let read = first.send(Method::GET, None).await;
    assert_eq!((read.status, read.header("cache-control")), (200, "no-store"), "{}", read.body);
    assert_eq!(read.body["registration_access_token"], first.token, "§3: the one that was sent");
    assert_eq!(read.body["client_name"], "Registered");
    assert!(read.body.get("client_secret").is_none(), "only its hash is kept");

    let mut wanted = usual(&json!({"client_name": "Renamed", "client_id": client.client.client_id}));
    wanted["client_secret"] = json!(client.client.client_secret);
    let updated = first.send(Method::PUT, Some(&wanted)).await;
    assert_eq!(updated.status, 200, "{}", updated.body);
    assert_eq!(updated.body["client_name"], "Renamed");
    assert!(updated.body.get("contacts").is_none(), "§2.2: what is absent is removed");
    let second = Managed::of(&updated.body);
    assert_ne!(second.token, first.token);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let refused = first.send(method, Some(&wanted)).await;
        assert_eq!(refused.status, 401, "the token before counts no more");
        assert!(refused.header("www-authenticate").contains("invalid_token"));
    }
    for (more, name) in [
        (json!({"client_id": "another"}), "another id"),
        (json!({"client_secret": "another"}), "another secret"),
        (json!({"registration_access_token": "x"}), "of ours"),
        (json!({"redirect_uris": ["nowhere"]}), "a bad redirect URI"),
        (json!({"token_endpoint_auth_method": "none"}), "public now"),
    ] {
        let mut body = wanted.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(second.send(Method::PUT, Some(&body)).await.status, 400, "{name}");
    }
    assert_eq!(second.send(Method::GET, None).await.status, 200, "a refused update rotates nothing");
    let other = Managed {
        url: second.url.clone(),
        token: Managed::of(&registered(&shared.ready, &json!({})).await.1).token,
    };
    assert_eq!(other.send(Method::DELETE, None).await.status, 401, "§4: a token is for one client");
    assert_eq!(second.send(Method::DELETE, None).await.status, 204);
    assert_eq!(second.send(Method::GET, None).await.status, 401, "§2.1: gone, and its token with it");
    let own = client.call("token_endpoint", &[("grant_type", "refresh_token"), ("refresh_token", "x")]).await;
    own.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn rfc7591_s1_2_an_initial_access_token_is_needed_where_the_tenant_says_so() {
    let _guard = TENANT.lock().await;
    let shared = shared().await;
    let_register(&shared.ready, "initial_access_token").await;
    let none = register(&shared.ready, None, &usual(&json!({}))).await;
    assert_eq!((none.status, none.body), (401, Value::Null), "RFC 6750 §3.1: no code without a token");
    let wrong = register(&shared.ready, Some("dom_iat_x"), &usual(&json!({}))).await;
    wrong.assert_error(401, "invalid_token");
    let policy = json!({"redirect_uri_hosts": ["*.example.org"], "dpop_bound_access_tokens": true});
    let made = initial_access_token(&shared.ready, json!({"uses_max": 1, "policy": policy})).await;
    let token = made["token"].as_str().unwrap();
    let outside = json!({"redirect_uris": ["https://rp.example.com/cb"]});
    register(&shared.ready, Some(token), &usual(&outside)).await.assert_error(400, "invalid_redirect_uri");
    let answer = register(&shared.ready, Some(token), &usual(&json!({}))).await;
    assert_eq!(
        (answer.status, &answer.body["dpop_bound_access_tokens"]),
        (201, &json!(true)),
        "{}",
        answer.body
    );
    register(&shared.ready, Some(token), &usual(&json!({}))).await.assert_error(401, "invalid_token");

    let admin =
        format!("{}/v1/tenants/{}/initial-access-tokens", shared.ready.admin_url, shared.ready.tenant);
    let http = reqwest::Client::new();
    let list: Value =
        http.get(&admin).bearer_auth(&shared.ready.admin_token).send().await.unwrap().json().await.unwrap();
    let shown = list["items"].as_array().unwrap().iter().find(|item| item["id"] == made["id"]).unwrap();
    assert_eq!((&shown["uses"], &shown["uses_max"], shown.get("token")), (&json!(1), &json!(1), None));
    let one = format!("{admin}/{}", made["id"].as_str().unwrap());
    let revoke =
        async || http.delete(&one).bearer_auth(&shared.ready.admin_token).send().await.unwrap().status();
    assert_eq!((revoke().await.as_u16(), revoke().await.as_u16()), (204, 404));
    Admin::of(&shared.ready).refused("initial-access-tokens", json!({"uses_max": 0})).await;
    Admin::of(&shared.ready).refused("initial-access-tokens", json!({"policy": {"scope": []}})).await;

    let_register(&shared.ready, "closed").await;
    register(&shared.ready, None, &usual(&json!({}))).await.assert_error(403, "access_denied");
    assert!(discovered(&shared.ready).await.get("registration_endpoint").is_none());
    let managed = Managed::of(&answer.body);
    assert_eq!(managed.send(Method::GET, None).await.status, 200, "what is registered stays managed");
}

#[tokio::test]
async fn a_policy_bounds_what_is_registered_and_how_long_its_tokens_live() {
    let _guard = TENANT.lock().await;
    let shared = shared().await;
    let policy = json!({
        "grant_types": ["authorization_code"], "scopes": ["openid"], "require_pkce": true,
        "token_endpoint_auth_methods": ["client_secret_basic"], "access_token_lifetime_max_s": 77,
        "trust_redirect_uris": true,
    });
    let_register_within(&shared.ready, "open", policy).await;
    let basic = json!({"scope": "openid email profile"});
    let (client, body) = registered(&shared.ready, &basic).await;
    assert_eq!(body["grant_types"], json!(["authorization_code"]));
    assert_eq!((&body["scope"], &body["require_pkce"]), (&json!("openid"), &json!(true)));
    let post = json!({"token_endpoint_auth_method": "client_secret_post"});
    register(&shared.ready, None, &usual(&post)).await.assert_error(400, "invalid_client_metadata");
    let mut browser = Browser::new(&shared.ready.public_url);
    let refused = browser.open(&client.request(&[])).await.callback();
    assert_eq!(refused.get("error"), "invalid_request", "PKCE is forced");
    let challenge = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let callback = browser.approve(&client.request(&challenge), &shared.person).await;
    let verifier = [("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")];
    let tokens = client.redeem(&callback, &verifier).await;
    assert_eq!((tokens.status, &tokens.body["expires_in"]), (200, &json!(77)), "{}", tokens.body);
}

/// A request that is refused before anybody is asked.
const BOGUS: [(&str, &str); 1] = [("response_type", "token")];
const SILENT: [(&str, &str); 1] = [("prompt", "none")];

/// The page that names an address and leaves it to the person to go there with `error`.
fn leaves(stop: Stop, error: &str) {
    let page = stop.page();
    assert_eq!(page.status, 200, "{}", page.html);
    assert!(page.html.contains(&format!("<a href=\"{CALLBACK}?error={error}&#38;")), "{}", page.html);
    assert!(page.html.contains(">rp.example.org<"), "it names the host: {}", page.html);
    assert!(!page.html.contains("Registered") && !page.html.contains("http-equiv"), "{}", page.html);
}

#[tokio::test]
async fn rfc9700_s4_11_2_nobody_is_sent_on_to_a_client_that_nobody_vouches_for() {
    let (shared, _guard) = open().await;
    let (client, _) = registered(&shared.ready, &json!({"scope": "openid"})).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    leaves(browser.open(&client.request(&BOGUS)).await, "unsupported_response_type");
    leaves(browser.open(&client.request(&SILENT)).await, "login_required");
    leaves(browser.open(&client.request(&[("resource", "https://nobody.example")])).await, "invalid_target");
    let posted = [SILENT[0], ("response_mode", "form_post")];
    let page = browser.open(&client.request(&posted)).await.page();
    assert_eq!(page.form_post().uri, CALLBACK);
    assert!(!page.html.contains("<script"), "it does not send itself: {}", page.html);

    // Logged in, but to nobody's client; then a no, after which the address is no better than before.
    let login = browser.open(&client.request(&[])).await.page();
    let consent = browser.log_in(&login, &shared.person).await.page();
    leaves(browser.open(&client.request(&SILENT)).await, "consent_required");
    leaves(browser.submit(&consent, &[], "deny").await, "access_denied");
    // Who let it in is sent to it.
    assert!(!browser.approve(&client.request(&[]), &shared.person).await.get("code").is_empty());
    let told = browser.open(&client.request(&BOGUS)).await.callback();
    assert_eq!((told.uri.as_str(), told.get("error")), (CALLBACK, "unsupported_response_type"));
    leaves(Browser::new(&shared.ready.public_url).open(&client.request(&SILENT)).await, "login_required");

    // An operator says that all are good; it counts for those that are there, too.
    let_register_within(&shared.ready, "open", json!({"trust_redirect_uris": true})).await;
    let told = Browser::new(&shared.ready.public_url).open(&client.request(&SILENT)).await.callback();
    assert_eq!(told.get("error"), "login_required");
}

#[tokio::test]
async fn rfc9700_s4_11_2_an_operators_word_stands_behind_an_initial_access_token() {
    let (shared, _guard) = open().await;
    let given = initial_access_token(&shared.ready, json!({})).await;
    let made = register(&shared.ready, given["token"].as_str(), &usual(&json!({"scope": "openid"}))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let client = oidc_support::registration::party(&shared.ready, &made.body).await;
    let told = Browser::new(&shared.ready.public_url).open(&client.request(&SILENT)).await.callback();
    assert_eq!(told.get("error"), "login_required");
}

#[tokio::test]
async fn rfc9700_s4_11_2_a_logout_of_nobody_leads_nowhere_by_itself() {
    let (shared, _guard) = open().await;
    let bye = "https://rp.example.org/bye";
    let more = json!({"scope": "openid", "post_logout_redirect_uris": [bye]});
    let (client, _) = registered(&shared.ready, &more).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let callback = browser.approve(&client.request(&[]), &shared.person).await;
    let tokens = client.redeem(&callback, &[]).await;
    let pairs = [("id_token_hint", tokens.text("id_token")), ("post_logout_redirect_uri", bye)];
    let url = url::Url::parse_with_params(client.endpoint("end_session_endpoint"), pairs).unwrap();
    let page = Browser::new(&shared.ready.public_url).open(url.as_str()).await.page();
    assert!(page.html.contains(&format!("<a href=\"{bye}\"")), "{}", page.html);
    assert_eq!(browser.open(url.as_str()).await.callback().uri, bye, "whose session it is goes there");
}

#[tokio::test]
async fn the_tenant_of_operators_is_never_open() {
    let shared = shared().await;
    let settings = json!({"settings": {"registration": "open"}});
    let url = format!("{}/v1/tenants/system", shared.ready.admin_url);
    let http = reqwest::Client::new();
    let known = http.get(&url).bearer_auth(&shared.ready.admin_token).send().await.unwrap().status();
    let answer = http.patch(url).bearer_auth(&shared.ready.admin_token).json(&settings).send().await.unwrap();
    let expected = if known.is_success() { 422 } else { 404 };
    assert_eq!(answer.status().as_u16(), expected);
}

#[tokio::test]
async fn rfc7591_s5_self_made_clients_are_limited_by_address() {
    let dir = tempfile::tempdir().unwrap();
    let few = [("DOMICILE__LIMITS__REGISTRATION_PER_ADDRESS", "2")];
    let node = Node::start_with(dir.path(), "127.0.0.1:0", &few).await;
    let_register(&node.ready, "open").await;
    for _ in 0..2 {
        registered(&node.ready, &json!({})).await;
    }
    let over = register(&node.ready, None, &usual(&json!({}))).await;
    assert_eq!(over.status, 429, "{}", over.body);
    assert!(over.header("retry-after").parse::<u64>().unwrap() >= 1);
    let token = initial_access_token(&node.ready, json!({})).await["token"].as_str().unwrap().to_owned();
    let held = register(&node.ready, Some(&token), &usual(&json!({}))).await;
    assert_eq!(held.status, 201, "who holds a token is not anybody: {}", held.body);
}
