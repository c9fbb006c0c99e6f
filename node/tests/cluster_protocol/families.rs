//! Refresh tokens that stay, and such that rotate (docs/adr/0027).

use reqwest::StatusCode;
use serde_json::json;

use crate::world::{World, refused};

pub async fn a_refresh_token_stays_at_every_node(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let app = world.app(d, &json!({ "refresh_token_mode": "static" })).await;
    let token = world.tokens(a, &app).await.text("refresh_token");
    for host in [b, c, d, b] {
        let next = world.refresh(host, &app, &token, None).await.unwrap().expect(StatusCode::OK);
        assert_eq!(next.text("refresh_token"), token, "host {host}");
    }
    let revoked = world.post(c, &app, "revoke", &[("token", token.as_str())]).await;
    revoked.expect(StatusCode::OK);
    for host in at {
        // Nothing is written by a refresh, and yet a revocation counts at once.
        refused(&world.refresh(host, &app, &token, None).await.unwrap(), "invalid_grant");
    }
}

pub async fn a_refresh_token_rotates_over_nodes(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let app = world.app(d, &json!({})).await;
    let first = world.tokens(a, &app).await.text("refresh_token");
    let refresh = async |host: usize, token: &str| world.refresh(host, &app, token, None).await.unwrap();
    let second = refresh(b, &first).await.expect(StatusCode::OK).text("refresh_token");
    assert_ne!(second, first);
    // Who did not hear the answer asks again, wherever, and gets the same.
    assert_eq!(refresh(c, &first).await.expect(StatusCode::OK).text("refresh_token"), second);
    let third = refresh(d, &second).await.expect(StatusCode::OK).text("refresh_token");
    // Two behind is no retry: the family ends, on every node (RFC 9700 §4.14.2).
    refused(&refresh(a, &first).await, "invalid_grant");
    for host in at {
        refused(&refresh(host, &third).await, "invalid_grant");
    }
}
