//! Token exchange (RFC 8693).

use reqwest::StatusCode;
use serde_json::json;

use crate::cluster_guest::Reply;
use crate::oidc_support::relying_party::part;
use crate::world::{App, BOUND, CATCH_UP_MAX, World, refused};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A service that may exchange the tokens of `app`.
pub async fn gateway(world: &World, host: usize, app: &App) -> App {
    let metadata = json!({
        "client_name": "Gateway", "grant_types": [GRANT], "response_types": [], "scope": "openid",
        "token_exchange": { "scope": "openid", "subject_clients": [app.id] },
    });
    world.register(host, &metadata).await
}

pub async fn exchange(
    world: &World,
    host: usize,
    gateway: &App,
    subject: &str,
) -> Result<Reply, reqwest::Error> {
    let fields = [("grant_type", GRANT), ("subject_token", subject), ("subject_token_type", ACCESS_TOKEN)];
    world.ask(host, gateway, "token", &fields, None).await
}

pub async fn a_token_is_exchanged_elsewhere(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let app = world.app(d, &json!({})).await;
    let gateway = gateway(world, c, &app).await;
    let issued = world.tokens(a, &app).await;
    let given = exchange(world, b, &gateway, &issued.text("access_token")).await.unwrap();
    let token = given.expect(StatusCode::OK).text("access_token");
    assert_eq!(part(&token, 1)["act"]["sub"], gateway.id.as_str());
    world.shows(&at, &gateway, &token, true, CATCH_UP_MAX).await;
    // It falls with what it was exchanged for.
    let family = issued.text("refresh_token");
    let revoked = world.post(d, &app, "revoke", &[("token", family.as_str())]).await;
    revoked.expect(StatusCode::OK);
    world.shows(&at, &gateway, &token, false, BOUND).await;
    let late = exchange(world, c, &gateway, &issued.text("access_token")).await.unwrap();
    refused(&late, "invalid_request");
}
