//! The leader of a tenant's partition is killed while people and programs are at work.
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
use serde_json::json;

/// Others serve within this.
const SERVES_AGAIN_MAX: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn after_the_leader_is_killed_others_serve_soon_and_nothing_is_lost_or_done_twice() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
    cluster.assemble().await;
    let placement = json!({"regions": ["eu-central"], "survive": "zone"});
    let guest = Guest::create(&cluster, "acme", &placement, 3, &ada()).await;
    let all = [0, 1, 2];
    let mut visitor = browser(&cluster, &guest, &all);
    guest.log_in(&mut visitor, "").await;
    let mut load = Load::start(&cluster, &guest, &all).await;
    load.goes_on(5).await;

    let dead = guest.voters(&cluster, 0).await[0];
    let rest: Vec<usize> = all.into_iter().filter(|turn| *turn != dead).collect();
    cluster.kill(dead);
    let killed = Instant::now();
    // Somebody new, and somebody who is logged in since before.
    guest.log_in(&mut browser(&cluster, &guest, &rest), "").await;
    assert!(killed.elapsed() < SERVES_AGAIN_MAX, "a login took {:?}", killed.elapsed());
    let after = killed.elapsed();
    let mut session = browser(&cluster, &guest, &rest);
    session.cookies = visitor.cookies.clone();
    guest.go_on(&mut session).await;
    load.goes_on(5).await;

    // It comes back, and catches up while writes go on.
    cluster.start(dead);
    cluster.ready(dead).await;
    let seen = cluster.get(rest[0], "/v1/cluster").await.unwrap();
    let committed = partition(&seen, guest.partition)["committed"].as_u64().unwrap();
    cluster
        .until(rest[0], |seen| {
            let replicas = partition(seen, guest.partition)["replicas"].as_array().unwrap().clone();
            replicas.len() == 3
                && replicas.iter().all(|replica| replica["applied"].as_u64().unwrap_or(0) >= committed)
        })
        .await;
    load.goes_on(2).await;
    let done = load.stop().await;
    println!("a login was done {after:?} after the kill, the longest wait was {:?}", done.longest);
    assert!(done.longest < SERVES_AGAIN_MAX, "somebody waited {:?}", done.longest);
    done.holds(&cluster, &guest, &all).await;
    others_serve_for_a_damaged_replica(&mut cluster, &guest, dead).await;
}

/// A node that finds its replica damaged says so and keeps out of it; who asks there is served all the same.
async fn others_serve_for_a_damaged_replica(cluster: &mut Cluster, guest: &Guest, turn: usize) {
    cluster.kill(turn);
    cluster.damage(turn, guest.partition);
    cluster.start(turn);
    cluster.until(turn, |_| true).await;
    let (_, said) = cluster.management(turn, "/readyz?verbose").await;
    assert!(said.contains("quarantined"), "{said}");
    guest.log_in(&mut browser(cluster, guest, &[turn]), "").await;
}
