//! Device authorization (RFC 8628).

use reqwest::StatusCode;
use serde_json::json;

use crate::cluster_guest::Reply;
use crate::oidc_support::browser::PageKind;
use crate::world::{App, World, refused};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A public client of devices.
pub async fn television(world: &World, host: usize) -> App {
    let metadata = json!({
        "client_name": "Television", "grant_types": [GRANT, "refresh_token"], "response_types": [],
        "token_endpoint_auth_method": "none", "scope": "openid email offline_access",
    });
    world.register(host, &metadata).await
}

pub async fn start(world: &World, host: usize, app: &App) -> Reply {
    let started =
        world.post(host, app, "device_authorization", &[("scope", "openid email offline_access")]).await;
    started.expect(StatusCode::OK)
}

/// The person types the code and says yes, each request at the next of these nodes. What they see then.
pub async fn let_in(world: &World, through: &[usize], user_code: &str) -> String {
    let mut browser = world.browser(through);
    let page = browser.open(&world.url("/device")).await.page();
    let login = browser.submit(&page, &[("user_code", user_code)], "").await.page();
    let consent = browser.log_in(&login, &world.person()).await.page();
    assert_eq!(consent.kind, PageKind::Consent, "{}", consent.html);
    browser.submit(&consent, &[], "allow").await.page().html
}

pub async fn poll(world: &World, host: usize, app: &App, started: &Reply) -> Result<Reply, reqwest::Error> {
    let code = started.text("device_code");
    let fields = [("grant_type", GRANT), ("device_code", code.as_str())];
    world.ask(host, app, "token", &fields, None).await
}

pub async fn a_device_is_let_in_elsewhere(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let app = television(world, d).await;
    let started = start(world, a, &app).await;
    refused(&poll(world, c, &app, &started).await.unwrap(), "authorization_pending");
    let done = let_in(world, &[b], &started.text("user_code")).await;
    assert!(done.contains("<h1>Your device is connected</h1>"), "{done}");
    let tokens = poll(world, c, &app, &started).await.unwrap().expect(StatusCode::OK);
    let again = poll(world, d, &app, &started).await.unwrap().expect(StatusCode::OK);
    assert_eq!(tokens.text("refresh_token"), again.text("refresh_token"), "docs/adr/0022: one family");
    let next = world.refresh(a, &app, &tokens.text("refresh_token"), None).await.unwrap();
    next.expect(StatusCode::OK);
    refused(&poll(world, b, &app, &started).await.unwrap(), "invalid_grant");
}
