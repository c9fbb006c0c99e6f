//! Pushed authorization requests (RFC 9126) against the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, PageKind, Stop};
use oidc_support::node::{Admin, CALLBACK, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty};
use serde_json::json;
use url::Url;

async fn start() -> (&'static Shared, RelyingParty) {
    let shared = shared().await;
    (shared, RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await)
}

async fn push(client: &RelyingParty, given: &[(&str, &str)]) -> Answer {
    let parameters = client.parameters(given);
    let fields: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    client.call("pushed_authorization_request_endpoint", &fields).await
}

/// The authorization request of a pushed one: with `client_id` and nothing else (RFC 9126 §4).
fn link(client: &RelyingParty, client_id: &str, pushed: &Answer) -> String {
    let pairs = [("client_id", client_id), ("request_uri", pushed.text("request_uri"))];
    Url::parse_with_params(client.endpoint("authorization_endpoint"), pairs).unwrap().to_string()
}

#[tokio::test]
async fn rfc9126_s2_2_and_s4_a_pushed_request_leads_to_a_code_once() {
    let (shared, client) = start().await;
    let pushed = push(&client, &[("scope", "openid email"), ("login_hint", "ada")]).await;
    assert_eq!((pushed.status, pushed.header("cache-control")), (201, "no-store"), "{}", pushed.body);
    assert!(pushed.text("request_uri").starts_with("urn:ietf:params:oauth:request_uri:"));
    assert!((5..=600).contains(&pushed.body["expires_in"].as_u64().unwrap()));
    let url = link(&client, &client.client.client_id, &pushed);
    let mut browser = Browser::new(&shared.ready.public_url);
    // Opened twice, as by a reload: only a code takes it.
    assert_eq!(browser.open(&url).await.page().kind, PageKind::Login);
    let callback = browser.approve(&url, &shared.person).await;
    assert_eq!(callback.get("state"), "st-0123456789");
    let tokens = client.redeem(&callback, &[]).await;
    assert_eq!(tokens.text("scope"), "email openid");
    let again = browser.open(&url).await.page();
    assert_eq!((again.status, again.kind), (400, PageKind::Other));
    assert!(again.html.contains("invalid_request_uri"), "{}", again.html);
}

#[tokio::test]
async fn rfc9126_s4_a_page_that_stayed_open_gives_no_second_code() {
    let (shared, client) = start().await;
    let pushed = push(&client, &[("prompt", "consent")]).await;
    let url = link(&client, &client.client.client_id, &pushed);
    let mut browser = Browser::new(&shared.ready.public_url);
    let login = browser.open(&url).await.page();
    let consent = browser.log_in(&login, &shared.person).await.page();
    assert_eq!(consent.kind, PageKind::Consent);
    let first = browser.submit(&consent, &[], "allow").await.callback();
    assert!(!first.get("code").is_empty());
    let second = browser.submit(&consent, &[], "allow").await.callback();
    assert_eq!((second.get("error"), second.get("code")), ("invalid_request_uri", ""));
}

#[tokio::test]
async fn rfc9126_s2_1_and_s2_3_what_cannot_be_pushed_is_refused_directly() {
    let (shared, client) = start().await;
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("request_uri", "urn:ietf:params:oauth:request_uri:x")], "invalid_request"),
        (&[("redirect_uri", "https://evil.example/cb")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("client_id", "somebody-else")], "invalid_request"),
    ];
    for (given, error) in cases {
        push(&client, given).await.assert_error(400, error);
    }
    let wrong = Registered { client_secret: "wrong".to_owned(), ..shared.basic.clone() };
    let wrong = RelyingParty::discover(&shared.ready.issuer, &wrong, Method::Basic).await;
    push(&wrong, &[]).await.assert_error(401, "invalid_client");
    assert_eq!(client.get(client.endpoint("pushed_authorization_request_endpoint")).await.status, 405);
}

#[tokio::test]
async fn rfc9126_s2_2_and_s7_1_a_reference_is_of_its_client_and_cannot_be_guessed() {
    let (shared, client) = start().await;
    let pushed = push(&client, &[]).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let stolen = link(&client, &shared.other.client_id, &pushed);
    let mut guessed = pushed.clone();
    guessed.body = json!({"request_uri": format!("urn:ietf:params:oauth:request_uri:{}", "A".repeat(43))});
    for url in [stolen, link(&client, &client.client.client_id, &guessed)] {
        assert_eq!(browser.open(&url).await.page().status, 400);
    }
    let stop = browser.open(&link(&client, &client.client.client_id, &pushed)).await;
    assert!(matches!(stop, Stop::Page(page) if page.kind == PageKind::Login));
}

#[tokio::test]
async fn rfc9126_s4_parameters_beside_the_reference_count_for_nothing() {
    let (shared, client) = start().await;
    let pushed = push(&client, &[("scope", "openid")]).await;
    let url = link(&client, &client.client.client_id, &pushed);
    let url = format!("{url}&scope=openid+email+phone&state=other&redirect_uri=https%3A%2F%2Fevil.example");
    let callback = Browser::new(&shared.ready.public_url).approve(&url, &shared.person).await;
    assert_eq!((callback.uri.as_str(), callback.get("state")), (CALLBACK, "st-0123456789"));
    assert_eq!(client.redeem(&callback, &[]).await.text("scope"), "openid");
}

#[tokio::test]
async fn rfc9126_s6_a_client_that_must_push_is_refused_otherwise_public_or_not() {
    let (shared, client) = start().await;
    for method in ["none", "client_secret_post"] {
        let body = json!({
            "client_name": "Strict", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": method,
            "require_pushed_authorization_requests": true,
        });
        let strict = Admin::of(&shared.ready).create("clients", body).await;
        assert_eq!(strict["require_pushed_authorization_requests"], true);
        let id = strict["client_id"].as_str().unwrap();
        let secret = strict["client_secret"].as_str().unwrap_or_default();
        let challenge = [
            ("client_id", id),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ];
        let mut browser = Browser::new(&shared.ready.public_url);
        let direct = browser.open(&client.request(&challenge)).await.callback();
        assert_eq!(direct.get("error"), "invalid_request");
        let mut fields = client.parameters(&challenge);
        fields.extend((!secret.is_empty()).then(|| ("client_secret".to_owned(), secret.to_owned())));
        let endpoint = client.endpoint("pushed_authorization_request_endpoint");
        let answer = Answer::of(client.http.post(endpoint).form(&fields).send().await.unwrap()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let url = link(&client, id, &answer);
        let callback = browser.approve(&url, &shared.person).await;
        assert!(!callback.get("code").is_empty());
        assert_eq!(browser.open(&url).await.page().status, 400, "{method}: taken");
    }
}
