//! Pairwise subjects (OpenID Connect Core §8) against the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, Callback};
use oidc_support::node::{Admin, CALLBACK, LOGGED_OUT, Registered, Shared, shared};
use oidc_support::relying_party::{Method, RelyingParty, part};
use serde_json::json;

async fn client(shared: &Shared, redirect_uri: &str, subject_type: &str) -> RelyingParty {
    let body = json!({
        "client_name": "Sector", "redirect_uris": [redirect_uri], "subject_type": subject_type,
        "post_logout_redirect_uris": [LOGGED_OUT],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let made = Admin::of(&shared.ready).create("clients", body).await;
    assert_eq!(made["subject_type"], subject_type);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await
}

async fn log_in(shared: &Shared, client: &RelyingParty, redirect_uri: &str) -> (Browser, Callback) {
    let mut browser = Browser::new(&shared.ready.public_url);
    let wanted = [("redirect_uri", redirect_uri), ("scope", "openid offline_access")];
    let callback = browser.approve(&client.request(&wanted), &shared.person).await;
    (browser, callback)
}

#[tokio::test]
async fn oidc_core_s8_1_sectors_know_a_user_by_different_subjects() {
    const OTHER: &str = "https://other.example.org/callback";
    let shared = shared().await;
    let mut subjects = Vec::new();
    for (redirect_uri, kind) in
        [(CALLBACK, "public"), (CALLBACK, "pairwise"), (CALLBACK, "pairwise"), (OTHER, "pairwise")]
    {
        let client = client(shared, redirect_uri, kind).await;
        let (_, callback) = log_in(shared, &client, redirect_uri).await;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", callback.get("code")),
            ("redirect_uri", redirect_uri),
        ];
        let issued = client.call("token_endpoint", &fields).await;
        assert_eq!(issued.status, 200, "{}", issued.body);
        let subject = part(issued.text("id_token"), 1)["sub"].clone();
        let (access, refresh) = (issued.text("access_token"), issued.text("refresh_token"));
        assert_eq!(part(access, 1)["sub"], subject);
        assert_eq!(client.userinfo(access).await.body["sub"], subject, "§5.3.2");
        for token in [access, refresh] {
            assert_eq!(client.call("introspection_endpoint", &[("token", token)]).await.body["sub"], subject);
        }
        assert_eq!(part(client.refresh(refresh).await.text("id_token"), 1)["sub"], subject, "§12.2");
        subjects.push(subject.as_str().unwrap().to_owned());
    }
    assert_eq!(subjects[1], subjects[2], "one sector, one subject");
    assert!(subjects[0] != subjects[1] && subjects[1] != subjects[3] && subjects[0] != subjects[3]);
}

#[tokio::test]
async fn oidc_core_s3_1_2_1_a_hint_with_a_pairwise_subject_is_understood() {
    let shared = shared().await;
    let client = client(shared, CALLBACK, "pairwise").await;
    let (mut browser, callback) = log_in(shared, &client, CALLBACK).await;
    let id_token = client.redeem(&callback, &[]).await.text("id_token").to_owned();
    let silent = [("prompt", "none"), ("id_token_hint", id_token.as_str())];
    let again = browser.open(&client.request(&silent)).await.callback();
    assert!(!again.get("code").is_empty(), "{again:?}");
    let pairs = [("id_token_hint", id_token.as_str()), ("post_logout_redirect_uri", LOGGED_OUT)];
    let url = url::Url::parse_with_params(client.endpoint("end_session_endpoint"), pairs).unwrap();
    assert_eq!(browser.open(url.as_str()).await.callback().uri, LOGGED_OUT, "no page asks");
}
