//! The protocol on a cluster of processes: each step of a flow goes to another node, one of which holds nothing of
//! the tenant; then the leader is killed in the middle of all of them, and clients do what clients do.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod accounts;
mod assertions;
#[path = "../cluster_guest/mod.rs"]
mod cluster_guest;
#[path = "../cluster_support/mod.rs"]
mod cluster_support;
mod devices;
mod exchange;
mod families;
mod killed;
#[path = "../oidc_support/mod.rs"]
mod oidc_support;
mod opaque;
mod pushed;
mod registration;
mod under_way;
mod world;

use cluster_guest::{Guest, ada};
use cluster_support::Cluster;
use reqwest::{Method, StatusCode};
use serde_json::json;
use world::World;

/// One cluster for all: starting one takes most of the time.
#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_flow_may_go_to_another_node_and_the_leader_may_be_killed_in_between() {
    let places = ["eu-central/a", "eu-central/b", "eu-central/c", "us-east/a"];
    let mut cluster = Cluster::hosts_with(&places, "[egress]\nallow_networks = [\"127.0.0.0/8\"]\n");
    cluster.assemble().await;
    let placement = json!({ "regions": ["eu-central"], "survive": "zone" });
    let guest = Guest::create(&cluster, "acme", &placement, 3, &ada()).await;
    // Who did not hear an answer has time to ask again, also where a leader has to be elected first.
    let settings = json!({ "settings": {
        "registration": "open", "refresh_grace_ms": 60_000, "code_lifetime_ms": 300_000,
    } });
    let set = guest.admin(&cluster, 0, Method::PATCH, "", None, Some(&settings)).await.unwrap();
    set.expect(StatusCode::OK);

    let world = World::new(&cluster, guest).await;
    // The leader begins, and the node without a replica does.
    for turn in [0, 3] {
        let at = world.order(turn);
        Box::pin(pushed::what_was_pushed_is_opened_redeemed_and_refreshed_elsewhere(&world, at)).await;
        Box::pin(pushed::a_request_that_its_reference_carries_is_opened_elsewhere(&world, at)).await;
        Box::pin(devices::a_device_is_let_in_elsewhere(&world, at)).await;
        Box::pin(exchange::a_token_is_exchanged_elsewhere(&world, at)).await;
        Box::pin(assertions::a_trusted_issuer_is_believed_once(&world, at)).await;
        Box::pin(assertions::a_client_proves_itself_once(&world, &cluster, at)).await;
        Box::pin(opaque::a_token_that_was_never_written_is_read_and_revoked_elsewhere(&world, at)).await;
        Box::pin(registration::a_client_is_managed_elsewhere(&world, at)).await;
        Box::pin(families::a_refresh_token_stays_at_every_node(&world, at)).await;
        Box::pin(families::a_refresh_token_rotates_over_nodes(&world, at)).await;
        Box::pin(accounts::a_session_of_another_node_is_ended(&world, at)).await;
    }
    Box::pin(killed::the_leader_is_killed_in_the_middle_of_all(&mut cluster, world)).await;
}
