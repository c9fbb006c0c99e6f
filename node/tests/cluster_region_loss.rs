//! A tenant over three regions survives the loss of one, with its sessions.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_guest;
mod cluster_load;
mod cluster_support;
mod oidc_support;

use std::time::{Duration, Instant};

use cluster_guest::{Guest, ada, browser};
use cluster_load::Load;
use cluster_support::{Cluster, partition};
use reqwest::StatusCode;
use serde_json::json;

/// The bound of the contract; elections over regions take up to 6 s of it.
const SERVES_AGAIN_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn when_a_region_is_lost_the_others_serve_soon_with_all_sessions() {
    let places = ["eu-central/a", "eu-west/a", "eu-north/a", "eu-central/b", "eu-west/b"];
    let mut cluster = Cluster::hosts(&places);
    cluster.assemble().await;
    let placement = json!({"regions": ["eu-central", "eu-west", "eu-north"], "survive": "region"});
    let guest = Guest::create(&cluster, "acme", &placement, 5, &ada()).await;
    let all = [0, 1, 2, 3, 4];
    let mut visitor = browser(&cluster, &guest, &all);
    let callback = guest.log_in(&mut visitor, "").await;
    let tokens = guest.redeem(&cluster, 0, &callback).await;
    let mut load = Load::start(&cluster, &guest, &all).await;

    // The region of the leader, which is the worst.
    let leader = guest.voters(&cluster, 0).await[0];
    let lost = cluster.hosts[leader].region.clone();
    let (dead, rest): (Vec<usize>, Vec<usize>) =
        all.iter().partition(|turn| cluster.hosts[**turn].region == lost);
    for turn in &dead {
        cluster.kill(*turn);
    }
    let killed = Instant::now();
    let next = loop {
        match guest.refresh(&cluster, rest[0], &tokens.text("refresh_token")).await.unwrap() {
            next if next.status == StatusCode::OK => break next,
            waits => assert_eq!(waits.status, StatusCode::SERVICE_UNAVAILABLE, "{}", waits.body),
        }
        assert!(killed.elapsed() < SERVES_AGAIN_MAX, "nobody serves after {:?}", killed.elapsed());
    };
    assert!(killed.elapsed() < SERVES_AGAIN_MAX, "{:?}", killed.elapsed());
    println!("served again {:?} after region {lost} was lost", killed.elapsed());
    let mut session = browser(&cluster, &guest, &rest);
    session.cookies = visitor.cookies.clone();
    guest.go_on(&mut session).await;
    guest.log_in(&mut browser(&cluster, &guest, &rest), "").await;
    for turn in &rest {
        let shown = guest.introspect(&cluster, *turn, &next.text("access_token")).await;
        assert_eq!(shown.expect(StatusCode::OK).body["active"], true);
    }
    load.goes_on(3).await;

    for turn in &dead {
        cluster.start(*turn);
    }
    for turn in &dead {
        cluster.ready(*turn).await;
    }
    let done = load.stop().await;
    cluster
        .until(rest[0], |seen| {
            let replicas = partition(seen, guest.partition)["replicas"].as_array().unwrap().clone();
            replicas.len() == 5 && replicas.iter().all(|replica| replica["lag"] == 0)
        })
        .await;
    done.holds(&cluster, &guest, &all).await;
}
