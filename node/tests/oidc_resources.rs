//! Resource indicators (RFC 8707) and what they make of access tokens (RFC 9068), against the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::{Browser, PageKind};
use oidc_support::node::{Admin, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};

struct Given {
    shared: &'static Shared,
    client: RelyingParty,
    server: RelyingParty,
    api: String,
}

/// A client, and a resource server of its own for each test.
async fn start(name: &str) -> Given {
    let shared = shared().await;
    let client = RelyingParty::discover(&shared.ready.issuer, &shared.basic, Method::Basic).await;
    let api = format!("https://{name}.example/");
    let body = json!({
        "client_name": name, "grant_types": ["client_credentials"], "response_types": [],
        "resource_identifiers": [api],
    });
    let server = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| server[name].as_str().unwrap().to_owned();
    let server = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    let server = RelyingParty::discover(&shared.ready.issuer, &server, Method::Basic).await;
    Given { shared, client, server, api }
}

impl Given {
    async fn tokens(&self, more: &[(&str, &str)]) -> Answer {
        let wanted =
            [("scope", "openid offline_access"), ("resource", self.api.as_str()), ("prompt", "consent")];
        let mut browser = Browser::new(&self.shared.ready.public_url);
        let callback = browser.approve(&self.client.request(&wanted), &self.shared.person).await;
        self.client.redeem(&callback, more).await
    }
}

#[tokio::test]
async fn rfc8707_s2_and_rfc9068_s3_a_token_is_for_the_resource_that_was_asked_for() {
    let given = start("one").await;
    let issued = given.tokens(&[]).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    let token = issued.text("access_token");
    assert_eq!(part(token, 1)["aud"], json!([given.api]));
    let seen = given.server.call("introspection_endpoint", &[("token", token)]).await;
    assert_eq!((&seen.body["active"], &seen.body["aud"]), (&json!(true), &json!([given.api])));
    let stranger = start("stranger").await;
    let seen = stranger.server.call("introspection_endpoint", &[("token", token)]).await;
    assert_eq!(seen.body, json!({"active": false}), "of another resource server");
    // RFC 9068 §4: it is not for the issuer's own endpoints.
    given.client.userinfo(token).await.assert_error(401, "invalid_token");
}

#[tokio::test]
async fn rfc8707_s2_2_a_token_request_may_ask_for_less_and_not_for_more() {
    let given = start("two").await;
    let other = start("other").await;
    let issuer = given.client.endpoint("issuer");
    given.tokens(&[("resource", &other.api)]).await.assert_error(400, "invalid_target");
    let both = [("scope", "openid offline_access"), ("resource", &given.api), ("resource", issuer)];
    let mut browser = Browser::new(&given.shared.ready.public_url);
    let callback = browser.approve(&given.client.request(&both), &given.shared.person).await;
    let tokens = given.client.redeem(&callback, &[("resource", issuer)]).await;
    assert_eq!(part(tokens.text("access_token"), 1)["aud"], json!([issuer]));
    assert_eq!(given.client.userinfo(tokens.text("access_token")).await.status, 200);
    let refresh = |resource| {
        [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens.text("refresh_token")),
            ("resource", resource),
        ]
    };
    let refused = given.client.call("token_endpoint", &refresh(other.api.as_str())).await;
    refused.assert_error(400, "invalid_target");
    let next = given.client.call("token_endpoint", &refresh(given.api.as_str())).await;
    assert_eq!(part(next.text("access_token"), 1)["aud"], json!([given.api]));
    // RFC 9068 §2.2.3: our scopes mean nothing there; the grant has them still.
    assert!(part(next.text("access_token"), 1)["scope"].is_null() && next.body.get("scope").is_none());
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", next.text("refresh_token")),
        ("resource", issuer),
    ];
    let back = given.client.call("token_endpoint", &fields).await;
    assert_eq!(back.text("scope"), "offline_access openid");
    assert_eq!(given.client.userinfo(back.text("access_token")).await.status, 200);
}

#[tokio::test]
async fn rfc8707_s2_what_is_not_registered_is_refused_and_what_is_new_is_asked() {
    let given = start("three").await;
    let mut browser = Browser::new(&given.shared.ready.public_url);
    for bad in ["https://nobody.example/", "relative", "https://three.example/#x"] {
        let refused = browser.open(&given.client.request(&[("resource", bad)])).await.callback();
        assert_eq!(refused.get("error"), "invalid_target", "{bad}");
    }
    let code = browser.approve(&given.client.request(&[("prompt", "consent")]), &given.shared.person).await;
    assert!(!code.get("code").is_empty());
    let asked = browser.open(&given.client.request(&[("resource", &given.api)])).await.page();
    assert_eq!(asked.kind, PageKind::Consent);
    assert!(asked.html.contains("three.example"), "the page names it");
}

#[tokio::test]
async fn rfc8707_s2_2_a_client_gets_a_token_of_its_own_for_a_resource() {
    let given = start("four").await;
    let ask = async |resource| {
        let fields = [("grant_type", "client_credentials"), ("resource", resource)];
        given.server.call("token_endpoint", &fields).await
    };
    assert_eq!(part(ask(&given.api).await.text("access_token"), 1)["aud"], json!([given.api]));
    ask("https://nobody.example/").await.assert_error(400, "invalid_target");
}

#[tokio::test]
async fn rfc9068_s2_2_an_access_token_has_the_claims_and_the_type_of_the_profile() {
    let given = start("five").await;
    // For us too, so that our scopes are in it.
    let both = [("resource", given.api.as_str()), ("resource", given.client.endpoint("issuer"))];
    let mut browser = Browser::new(&given.shared.ready.public_url);
    let callback = browser.approve(&given.client.request(&both), &given.shared.person).await;
    let issued = given.client.redeem(&callback, &[]).await;
    let token = issued.text("access_token");
    assert_eq!(part(token, 0)["typ"], "at+jwt", "§2.1");
    let claims = part(token, 1);
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope", "auth_time", "acr", "amr"] {
        assert!(!claims[name].is_null(), "§2.2 {name}: {claims}");
    }
    assert_eq!(claims["iss"], given.client.endpoint("issuer"));
    assert_eq!(claims["client_id"], given.client.client.client_id.as_str());
    assert_eq!(claims["amr"], json!(["pwd"]), "§2.2.1");
}

#[tokio::test]
async fn rfc9068_s2_2_3_a_resource_server_that_lists_its_scopes_gets_no_other() {
    let shared = shared().await;
    let [shop, any] = ["https://shop.example/", "https://any.example/"];
    let server = |api: &str, scopes: Value| {
        json!({
            "client_name": "API", "grant_types": ["client_credentials"], "response_types": [],
            "resource_identifiers": [api], "resource_scopes": scopes,
        })
    };
    let admin = Admin::of(&shared.ready);
    let made = admin.create("clients", server(shop, json!(["orders:read", "orders:list"]))).await;
    assert_eq!(made["resource_scopes"], json!(["orders:read", "orders:list"]));
    admin.create("clients", server(any, Value::Null)).await;
    admin.refused("clients", server("https://wrong.example/", json!("orders:read"))).await;
    let client = json!({
        "client_name": "Service", "grant_types": ["client_credentials"], "response_types": [],
        "scope": "orders:read orders:write stock:read",
    });
    let client = admin.create("clients", client).await;
    let text = |name: &str| client[name].as_str().unwrap().to_owned();
    let client = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    let client = RelyingParty::discover(&shared.ready.issuer, &client, Method::Basic).await;
    let issuer = client.endpoint("issuer").to_owned();
    let all = "orders:read orders:write stock:read";
    for (resources, scope) in [
        (&[shop][..], "orders:read"),
        (&[shop, issuer.as_str()], "orders:read"),
        (&[shop, any], all),
        (&[any], all),
        (&[issuer.as_str()], all),
        (&[], all),
    ] {
        let mut fields = vec![("grant_type", "client_credentials")];
        fields.extend(resources.iter().map(|resource| ("resource", *resource)));
        let given = client.call("token_endpoint", &fields).await;
        assert_eq!((given.status, given.text("scope")), (200, scope), "{resources:?}");
        assert_eq!(part(given.text("access_token"), 1)["scope"], scope, "{resources:?}");
    }
}
