//! Opaque tokens (docs/adr/0023): issued with no write, readable for their audience, revoked at once or within the
//! bound.

use std::time::Instant;

use reqwest::StatusCode;
use serde_json::json;

use crate::cluster_guest::Reply;
use crate::oidc_support::relying_party::part;
use crate::world::{App, BOUND, CATCH_UP_MAX, World, until};

/// A service with opaque tokens.
pub async fn service(world: &World, host: usize) -> App {
    let metadata = json!({
        "client_name": "Service", "grant_types": ["client_credentials"], "response_types": [],
        "access_token_format": "opaque",
    });
    world.register(host, &metadata).await
}

/// A token of the service itself for `api`.
pub async fn own_token(
    world: &World,
    host: usize,
    service: &App,
    api: &str,
) -> Result<Reply, reqwest::Error> {
    let fields = [("grant_type", "client_credentials"), ("resource", api)];
    world.ask(host, service, "token", &fields, None).await
}

/// What the resource server gets for the token: the JWT, or a status; a node that is not there says nothing.
async fn jwt(world: &World, host: usize, caller: &App, token: &str) -> Result<String, StatusCode> {
    let request = world.doors.http.post(world.at(host, "introspect")).header("accept", "application/jwt");
    let request = request.basic_auth(&caller.id, Some(&caller.secret)).form(&[("token", token)]);
    let Ok(answer) = request.send().await else { return Err(StatusCode::SERVICE_UNAVAILABLE) };
    if answer.status() == StatusCode::OK { Ok(answer.text().await.unwrap()) } else { Err(answer.status()) }
}

/// Until no node hands out the JWT of a token that was revoked at `since`: refused, or nothing said at all.
pub async fn is_refused_everywhere(world: &World, api: &App, token: &str, since: Instant) {
    for host in &world.hosts {
        let told = format!("host {host} still gives the JWT of a revoked token");
        until(since, BOUND, &told, async || jwt(world, *host, api, token).await.is_err()).await;
    }
}

pub async fn a_token_that_was_never_written_is_read_and_revoked_elsewhere(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let (api, name) = world.resource_server(d).await;
    let service = service(world, d).await;
    let issued = own_token(world, a, &service, &name).await.unwrap().expect(StatusCode::OK);
    let token = issued.text("access_token");
    assert!(token.starts_with("dat_"), "{token}");
    let since = Instant::now();
    for host in [b, c, d] {
        let told = format!("host {host} does not know the token");
        until(since, CATCH_UP_MAX, &told, async || match jwt(world, host, &api, &token).await {
            Ok(text) => part(&text, 1)["aud"] == json!([name]) && part(&text, 0)["typ"] == "at+jwt",
            Err(_) => false,
        })
        .await;
    }
    let revoked = world.post(c, &service, "revoke", &[("token", token.as_str())]).await;
    let since = Instant::now();
    revoked.expect(StatusCode::OK);
    // The leader took it back.
    assert_eq!(jwt(world, world.hosts[0], &api, &token).await, Err(StatusCode::FORBIDDEN));
    is_refused_everywhere(world, &api, &token, since).await;
}
