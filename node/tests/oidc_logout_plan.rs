//! The OpenID Foundation's RP-Initiated Logout certification plan, module by module: each test bears the name of its
//! module and makes the module's assertions about the node (docs/conformance.md). Where the suite wants a picture of
//! a page, the page is looked at, and whether somebody is logged in after it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oidc_support::assertion::{Key, seconds};
use oidc_support::browser::{Browser, PageKind, Stop};
use oidc_support::node::{LOGGED_OUT, shared};
use oidc_support::relying_party::{Method, RelyingParty, part};
use serde_json::{Value, json};
use url::Url;

/// Somebody who is logged in at a client.
struct Given {
    client: RelyingParty,
    browser: Browser,
    id_token: String,
    /// As long as the suite's.
    state: String,
}

async fn logged_in() -> Given {
    let shared = shared().await;
    let client = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let callback = browser.approve(&client.request(&[]), &shared.person).await;
    let tokens = client.redeem(&callback, &[]).await;
    let id_token = tokens.text("id_token").to_owned();
    Given { client, browser, id_token, state: "aZ09".repeat(32) }
}

impl Given {
    /// The end session endpoint, with these in place of the usual parameters; an empty one is left out.
    async fn ends_session(&mut self, changes: &[(&str, &str)]) -> Stop {
        let usual = [
            ("id_token_hint", self.id_token.as_str()),
            ("post_logout_redirect_uri", LOGGED_OUT),
            ("state", self.state.as_str()),
        ];
        let rest = usual.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let pairs: Vec<(&str, &str)> =
            changes.iter().chain(rest).copied().filter(|(_, value)| !value.is_empty()).collect();
        let mut url = Url::parse(self.client.endpoint("end_session_endpoint")).unwrap();
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        self.browser.open(url.as_str()).await
    }

    async fn is_logged_in(&mut self) -> bool {
        let silent = self.browser.open(&self.client.request(&[("prompt", "none")])).await.callback();
        let error = silent.get("error");
        assert!(["", "login_required"].contains(&error), "{error}");
        error.is_empty()
    }

    /// An error page of ours, and nothing happened.
    async fn is_refused(&mut self, changes: &[(&str, &str)]) {
        let page = self.ends_session(changes).await.page();
        assert_eq!((page.status, page.kind), (400, PageKind::Other), "{}", page.html);
        assert!(self.is_logged_in().await);
    }

    /// The page asks; who agrees is logged out, and stays with us.
    async fn is_asked(&mut self, changes: &[(&str, &str)]) {
        let page = self.ends_session(changes).await.page();
        assert_eq!((page.status, page.kind), (200, PageKind::Logout), "{}", page.html);
        assert!(self.is_logged_in().await, "until they agree");
        let done = self.browser.submit(&page, &[], "logout").await.page();
        assert_eq!((done.status, done.kind), (200, PageKind::Other), "{}", done.html);
        assert!(!self.is_logged_in().await);
    }
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_discovery_endpoint_verification() {
    let given = logged_in().await;
    let public_url = &shared().await.ready.public_url;
    let endpoints: Vec<(&String, &Value)> = given
        .client
        .metadata
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri")
        .collect();
    assert!(endpoints.iter().any(|(name, _)| *name == "end_session_endpoint"), "{endpoints:?}");
    for (name, url) in endpoints {
        assert!(url.as_str().unwrap().starts_with(public_url), "{name}: {url}");
    }
}

#[tokio::test]
async fn oidcc_rp_initiated_logout() {
    let mut given = logged_in().await;
    let back = given.ends_session(&[]).await.callback();
    assert_eq!((back.uri.as_str(), back.get("state")), (LOGGED_OUT, given.state.as_str()));
    assert_eq!(back.parameters.len(), 1, "{back:?}");
    assert!(!given.is_logged_in().await);
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_post_logout_redirect_uri() {
    let mut given = logged_in().await;
    given.is_refused(&[("post_logout_redirect_uri", "https://rp.example.org/elsewhere")]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_modified_id_token_hint() {
    let mut given = logged_in().await;
    // What the suite makes of it: the same claims under `none`, without a signature.
    let header = json!({"alg": "none", "kid": part(&given.id_token, 0)["kid"]});
    let [header, claims] = [header, part(&given.id_token, 1)].map(|part| encoded(&part));
    given.is_refused(&[("id_token_hint", &format!("{header}.{claims}."))]).await;
    // And one claim changed under its signature.
    let mut claims = part(&given.id_token, 1);
    claims["sub"] = json!("somebody else");
    let parts: Vec<&str> = given.id_token.split('.').collect();
    let changed = format!("{}.{}.{}", parts[0], encoded(&claims), parts[2]);
    given.is_refused(&[("id_token_hint", &changed)]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_id_token_hint() {
    let mut given = logged_in().await;
    given.is_asked(&[("id_token_hint", "")]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_params() {
    let mut given = logged_in().await;
    given.is_asked(&[("id_token_hint", ""), ("post_logout_redirect_uri", ""), ("state", "")]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_post_logout_redirect_uri() {
    let mut given = logged_in().await;
    let page = given.ends_session(&[("post_logout_redirect_uri", "")]).await.page();
    assert_eq!((page.status, page.kind), (200, PageKind::Other), "{}", page.html);
    assert!(!given.is_logged_in().await);
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_state() {
    let mut given = logged_in().await;
    let back = given.ends_session(&[("state", "")]).await.callback();
    assert_eq!((back.uri.as_str(), back.parameters.len()), (LOGGED_OUT, 0), "{back:?}");
    assert!(!given.is_logged_in().await);
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_only_state() {
    let mut given = logged_in().await;
    given.is_asked(&[("id_token_hint", ""), ("post_logout_redirect_uri", "")]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri() {
    let mut given = logged_in().await;
    given.is_refused(&[("post_logout_redirect_uri", &format!("{LOGGED_OUT}?foo=bar"))]).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_id_token_hint() {
    let mut given = logged_in().await;
    // The suite signs one of its own, issuer and audience the wrong way round; and one that only the key betrays.
    let (issuer, client) = (given.client.endpoint("issuer"), given.client.client.client_id.as_str());
    let times = json!({"iat": seconds(), "exp": seconds() + 300, "nonce": "flibble"});
    let fake = |iss: &str, sub: &Value, aud: &str| {
        let mut claims = times.clone();
        for (name, value) in [("iss", json!(iss)), ("sub", sub.clone()), ("aud", json!(aud))] {
            claims[name] = value;
        }
        Key::new("k1").sign(&claims)
    };
    let subject = part(&given.id_token, 1)["sub"].clone();
    let hints = [fake(client, &json!("SubjectID"), issuer), fake(issuer, &subject, client)];
    for hint in hints {
        given.is_refused(&[("id_token_hint", &hint)]).await;
    }
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
