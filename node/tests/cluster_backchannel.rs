//! Back-channel logout in a cluster: the next leader tells what the one before it could not.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_guest;
mod cluster_support;
mod oidc_support;

use std::time::Duration;

use cluster_guest::{CALLBACK, Guest, ada, browser};
use cluster_support::{Cluster, LOOK};
use oidc_support::logout_receiver::LogoutReceiver;
use oidc_support::relying_party::part;
use reqwest::{Method, StatusCode};
use serde_json::json;

/// How long a record may stay after its delivery.
const SETTLED_MAX: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_is_told_by_the_next_leader_after_the_one_that_took_it_is_killed() {
    let places = ["eu-central/a", "eu-central/b", "eu-central/c"];
    let mut cluster = Cluster::hosts_with(&places, "[egress]\nallow_networks = [\"127.0.0.0/8\"]\n");
    cluster.up(3).await;
    let placement = json!({ "regions": ["eu-central"], "survive": "zone" });
    let guest = Guest::create(&cluster, "acme", &placement, 3, &ada()).await;
    let mut receiver = LogoutReceiver::start().await;
    receiver.answer(503);
    let body = json!({
        "redirect_uris": [CALLBACK], "require_pkce": false, "backchannel_logout_uri": receiver.url,
        "grant_types": ["authorization_code", "refresh_token"],
    });
    let made = guest.admin(&cluster, 0, Method::POST, "/clients", None, Some(&body)).await.unwrap();
    let made = made.expect(StatusCode::CREATED);
    let guest = Guest { client: (made.text("client_id"), made.text("client_secret")), ..guest };

    let voters = guest.voters(&cluster, 0).await;
    let (leader, follower) = (voters[0], voters[1]);
    let callback = guest.log_in(&mut browser(&cluster, &guest, &[follower]), "").await;
    let tokens = guest.redeem(&cluster, follower, &callback).await;
    let sid = part(&tokens.text("id_token"), 1)["sid"].clone();
    let path = format!("/sessions/{}", guest.a_session(&cluster, follower).await);
    let ended = guest.admin(&cluster, follower, Method::DELETE, &path, None, None).await.unwrap();
    ended.expect(StatusCode::NO_CONTENT);
    let jwks = format!("{}/t/acme/oauth2/jwks", cluster.public(follower));
    let tried = receiver.next().await.verified(&jwks).await;
    assert_eq!(tried["sid"], sid);

    cluster.kill(leader);
    while !receiver.is_empty() {
        receiver.next().await;
    }
    receiver.answer(200);
    let told = receiver.next().await.verified(&jwks).await;
    assert_eq!((&told["sid"], &told["iss"]), (&sid, &guest.issuer.clone().into()));
    assert_ne!(told["jti"], tried["jti"]);
    // Once it is told, it is over: the record is gone on those that are left.
    for turn in voters.into_iter().filter(|turn| *turn != leader) {
        let settled = async {
            loop {
                let (_, metrics) = cluster.management(turn, "/metrics").await;
                if metrics.lines().any(|line| line == "domicile_logout_pending 0") {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(SETTLED_MAX, settled).await.expect("the record is still there");
    }
}
