//! Opaque access tokens, and the JWT behind them for whom they are meant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use oidc_support::browser::Browser;
use oidc_support::node::{Admin, CALLBACK, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};

async fn register(shared: &Shared, body: Value) -> RelyingParty {
    let answer = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await
}

/// Two resource servers and an app with opaque tokens for the first, and for userinfo if that is said.
struct World {
    api: RelyingParty,
    other: RelyingParty,
    app: RelyingParty,
    issued: Answer,
}

async fn world(name: &str, userinfo: bool) -> World {
    let shared = shared().await;
    let server = |identifier: String| {
        json!({
            "client_name": "API", "grant_types": ["client_credentials"], "response_types": [],
            "resource_identifiers": [identifier],
        })
    };
    let identifier = format!("https://{name}.example.org");
    let api = register(shared, server(identifier.clone())).await;
    let other = register(shared, server(format!("{identifier}/other"))).await;
    let app = json!({
        "client_name": "App", "redirect_uris": [CALLBACK], "access_token_format": "opaque",
        "access_token_signed_response_alg": "ES256", "grant_types": ["authorization_code", "refresh_token"],
    });
    let app = register(shared, app).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let mut wanted =
        vec![("scope", "openid email"), ("resource", identifier.as_str()), ("prompt", "consent")];
    if userinfo {
        wanted.push(("resource", shared.ready.issuer.as_str()));
    }
    let callback = browser.approve(&app.request(&wanted), &shared.person).await;
    let issued = app.redeem(&callback, &[]).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    World { api, other, app, issued }
}

/// Introspection with `Accept`: status, headers and text.
async fn asks(caller: &RelyingParty, accept: &str, token: &str) -> (u16, reqwest::header::HeaderMap, String) {
    let Registered { client_id, client_secret } = &caller.client;
    let request = caller.http.post(caller.endpoint("introspection_endpoint")).header("accept", accept);
    let request = request.basic_auth(client_id, Some(client_secret)).form(&[("token", token)]);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
}

#[tokio::test]
async fn rfc9068_s2_a_gateway_of_the_audience_gets_the_jwt_behind_an_opaque_token() {
    let World { api, other, app, issued } = world("orders", false).await;
    let token = issued.text("access_token");
    assert!(token.starts_with("dat_") && !token.contains('.'), "{token}");
    let (status, headers, jwt) = asks(&api, "application/jwt", token).await;
    assert_eq!((status, headers["content-type"].as_bytes()), (200, &b"application/jwt"[..]));
    assert_eq!(headers["authorization"], format!("Bearer {jwt}"));
    let header = part(&jwt, 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let claims = part(&jwt, 1);
    let subject = part(issued.text("id_token"), 1)["sub"].clone();
    assert_eq!((&claims["sub"], &claims["aud"]), (&subject, &json!(["https://orders.example.org"])));
    assert_eq!(claims["client_id"], app.client.client_id.as_str());
    // RFC 9111 §5.2.2.1: no longer than the bound of 5 s, of which half may have gone by.
    let kept = headers["cache-control"].to_str().unwrap();
    assert!(["max-age=1", "max-age=2"].contains(&kept), "{kept}");
    assert_eq!(headers["vary"], "accept");
    let (status, headers, body) = asks(&other, "application/jwt", token).await;
    assert_eq!((status, body.as_str()), (403, "{\"active\":false}"), "a resource server of another audience");
    assert_eq!(headers["cache-control"], "no-store");
    let (status, _, body) = asks(&api, "application/json", token).await;
    let plain: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &plain["active"], &plain["sub"]), (200, &json!(true), &subject));
    let (_, headers, _) = asks(&api, "application/token-introspection+jwt, application/jwt", token).await;
    assert_eq!(headers["content-type"], "application/token-introspection+jwt");
    let (status, _, _) = asks(&api, "application/jwt", "dat_garbage").await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn rfc7662_s2_2_the_tokens_client_is_never_told_that_an_active_token_is_inactive() {
    let World { api, app, issued, .. } = world("invoices", false).await;
    let token = issued.text("access_token");
    let (status, headers, body) = asks(&app, "application/jwt", token).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"], body.get("active")), (403, &json!("access_denied"), None));
    assert_eq!(headers["cache-control"], "no-store");
    for accept in ["application/json, application/jwt;q=0.1", "application/jwt, application/json", "*/*"] {
        for caller in [&app, &api] {
            let (status, headers, body) = asks(caller, accept, token).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, &body["active"]), (200, &json!(true)), "RFC 9110 §12.5.1 {accept}");
            assert_eq!(headers["content-type"], "application/json", "{accept}");
            assert_eq!(headers["vary"], "accept");
        }
    }
    let (status, headers, _) = asks(&api, "application/jwt, application/json;q=0.9", token).await;
    assert_eq!((status, headers["content-type"].as_bytes()), (200, &b"application/jwt"[..]));
}

#[tokio::test]
async fn an_opaque_token_does_what_a_readable_one_does() {
    let World { api, app, issued, .. } = world("billing", true).await;
    let token = issued.text("access_token");
    let info = app.userinfo(token).await;
    assert_eq!((info.status, info.text("email")), (200, "ada@example.org"), "{}", info.body);
    let next = app.refresh(issued.text("refresh_token")).await;
    assert!(next.text("access_token").starts_with("dat_"), "{}", next.body);
    let seen = app.call("introspection_endpoint", &[("token", token)]).await;
    assert_eq!(seen.body["active"], true, "its client may look at it");
    assert_eq!(app.call("revocation_endpoint", &[("token", token)]).await.status, 200);
    app.userinfo(token).await.assert_error(401, "invalid_token");
    assert_eq!(asks(&api, "application/jwt", token).await.0, 403, "the node that revoked knows at once");
    let cut = &token[..token.len() - 4];
    app.userinfo(cut).await.assert_error(401, "invalid_token");
}

#[tokio::test]
async fn services_and_exchanges_get_opaque_tokens_where_their_client_says_so() {
    let shared = shared().await;
    let World { app, issued, .. } = world("stock", true).await;
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    let service = json!({
        "client_name": "Service", "grant_types": ["client_credentials", grant], "response_types": [],
        "access_token_format": "opaque", "scope": "openid",
        "token_exchange": {"scope": "openid", "subject_clients": [app.client.client_id]},
    });
    let service = register(shared, service).await;
    let own = service.call("token_endpoint", &[("grant_type", "client_credentials")]).await;
    assert!(own.text("access_token").starts_with("dat_"), "{}", own.body);
    let fields = [
        ("grant_type", grant),
        ("subject_token", issued.text("access_token")),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let exchanged = service.call("token_endpoint", &fields).await;
    assert!(exchanged.text("access_token").starts_with("dat_"), "{}", exchanged.body);
    let seen = service.call("introspection_endpoint", &[("token", exchanged.text("access_token"))]).await;
    assert_eq!(seen.body["act"]["sub"], service.client.client_id.as_str());
    let wrong = json!({"client_name": "X", "redirect_uris": [CALLBACK], "access_token_format": "blurry"});
    Admin::of(&shared.ready).refused("clients", wrong).await;
}

#[tokio::test]
async fn a_resource_server_may_want_opaque_tokens_whatever_the_client() {
    let shared = shared().await;
    let server = |identifier: &str, format: &str| {
        json!({
            "client_name": "API", "grant_types": ["client_credentials"], "response_types": [],
            "resource_identifiers": [identifier], "access_token_format": format,
        })
    };
    let [sealed, plain] = ["https://sealed.example.org", "https://plain.example.org"];
    let api = register(shared, server(sealed, "opaque")).await;
    register(shared, server(plain, "jwt")).await;
    let app = json!({
        "client_name": "App", "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
    });
    let app = register(shared, app).await;
    let mut browser = Browser::new(&shared.ready.public_url);
    let wanted = [("scope", "openid"), ("resource", sealed), ("resource", plain), ("prompt", "consent")];
    let callback = browser.approve(&app.request(&wanted), &shared.person).await;
    let both = app.redeem(&callback, &[]).await;
    assert!(both.text("access_token").starts_with("dat_"), "{}", both.body);
    assert_eq!(asks(&api, "application/jwt", both.text("access_token")).await.0, 200);
    let narrowed = async |resource: &str| {
        let token = both.text("refresh_token");
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("resource", resource)];
        app.call("token_endpoint", &fields).await.text("access_token").to_owned()
    };
    assert_eq!(part(&narrowed(plain).await, 0)["typ"], "at+jwt", "it names the other alone");
    let own = [("grant_type", "client_credentials"), ("resource", sealed)];
    assert!(app.call("token_endpoint", &own).await.text("access_token").starts_with("dat_"));
}
