//! Three nodes of one region, made by `init` and `join`: they elect, replicate, go on without one, take it
//! back with the same state, and cut their logs on order.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod cluster_support;

use std::time::{Duration, Instant};

use cluster_support::{Cluster, LOOK, partition};
use futures::future::join_all;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_after_the_leader_is_killed_and_it_catches_up() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
    cluster.up(3).await;
    let all = [0, 1, 2];
    cluster.write(&all, "/v1/tenants", &json!({"slug": "acme"})).await;
    cluster.write(&all, "/v1/tenants/acme/users", &json!({"username": "ada"})).await;

    let seen = cluster.until(0, |cluster| partition(cluster, 1)["leader"].is_u64()).await;
    let dead = cluster.host_of(&seen, &partition(&seen, 1)["leader"]);
    cluster.kill(dead);
    let rest: Vec<usize> = all.into_iter().filter(|turn| *turn != dead).collect();
    cluster.write(&rest, "/v1/tenants/acme/users", &json!({"username": "bob"})).await;
    let seen = cluster.until(rest[0], |cluster| partition(cluster, 1)["available"] == true).await;
    assert_ne!(cluster.host_of(&seen, &partition(&seen, 1)["leader"]), dead);

    cluster.start(dead);
    cluster.ready(dead).await;
    let seen = cluster.until(rest[0], all_have_all).await;

    let digests = of_one_index(&cluster).await;
    for (turn, told) in digests.iter().enumerate() {
        assert_eq!(told["node"], cluster.node_of(&seen, turn), "{told}");
        for name in ["partition", "incarnation", "applied_term", "digest"] {
            assert_eq!(told[name], digests[0][name], "{told} {}", digests[0]);
        }
    }
    let before = digests[0]["digest"].as_str().unwrap();
    assert_eq!(before.len(), 64, "{before}");
    cluster.write(&all, "/v1/tenants/acme/users", &json!({"username": "eve"})).await;
    let after = of_one_index(&cluster).await;
    assert!(after.iter().all(|told| told["digest"] == after[0]["digest"]), "{after:?}");
    assert_ne!(after[0]["digest"], before);
    let shown = cluster.ok(0, &["partition", "digest", "1"]);
    assert!(shown.contains("applied_index") && shown.contains("digest"), "{shown}");
    assert!(cluster.fails(0, &["partition", "digest", "99"]).contains("nothing"), "nobody has it");
}

/// What each host says of its replica of partition 1, once all speak of one log index.
async fn of_one_index(cluster: &Cluster) -> Vec<Value> {
    let asking = async {
        loop {
            let asked = (0..3).map(|turn| cluster.get(turn, "/v1/partitions/1/digest"));
            let told: Result<Vec<Value>, String> = join_all(asked).await.into_iter().collect();
            if let Ok(told) = told
                && told.iter().all(|one| one["applied_index"] == told[0]["applied_index"])
            {
                return told;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asking).await.expect("the replicas come to no common index")
}

fn all_have_all(cluster: &Value) -> bool {
    let replicas = partition(cluster, 1)["replicas"].as_array().unwrap();
    replicas.len() == 3 && replicas.iter().all(|replica| replica["lag"] == 0)
}

/// Which state of the partition counts on a host; another one after a snapshot was installed.
fn state(cluster: &Cluster, turn: usize) -> String {
    std::fs::read_to_string(cluster.data(turn).join("partitions/1/CURRENT")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_cut_on_order_and_a_node_that_lacks_what_was_cut_gets_the_state() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
    cluster.up(3).await;
    let all = [0, 1, 2];
    cluster.write(&all, "/v1/tenants", &json!({"slug": "acme"})).await;
    let seen = cluster.until(0, all_have_all).await;
    let node = cluster.node_of(&seen, 0);
    // Its settings keep far more than there is.
    let cut = |cluster: &Cluster, turn: usize| -> Value {
        let told = cluster.ok(turn, &["partition", "snapshot", "1", "--json"]);
        serde_json::from_str(&told).unwrap()
    };
    let first = cut(&cluster, 0);
    assert_eq!(first["node"], node, "{first}");
    assert!(first["snapshot"].as_u64().unwrap() > 0, "{first}");
    assert!(cluster.fails(0, &["partition", "snapshot", "99"]).contains("nothing"), "nobody has it");

    let away = 2;
    let before = state(&cluster, away);
    cluster.kill(away);
    let rest = [0, 1];
    cluster.write(&rest, "/v1/tenants/acme/users", &json!({"username": "ada"})).await;
    let written = cluster.until(0, |cluster| partition(cluster, 1)["available"] == true).await;
    let written = partition(&written, 1)["committed"].as_u64().unwrap();
    for turn in rest {
        // While entries are on their way to somebody they stay: the order is repeated.
        let gone = (0..20).any(|_| cut(&cluster, turn)["purged"].as_u64() >= Some(written));
        assert!(gone, "host {turn} keeps what it was to cut");
    }
    cluster.start(away);
    cluster.ready(away).await;
    cluster.until(0, all_have_all).await;
    assert_ne!(state(&cluster, away), before, "it was caught up by log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_to_stop_hands_over_and_ends_in_time() {
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
    cluster.up(3).await;
    let seen = cluster.until(0, |cluster| partition(cluster, 1)["leader"].is_u64()).await;
    let leader = cluster.host_of(&seen, &partition(&seen, 1)["leader"]);
    let began = Instant::now();
    assert_eq!(cluster.stop(leader).await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let other = (leader + 1) % 3;
    let seen = cluster.until(other, |cluster| partition(cluster, 1)["available"] == true).await;
    assert_ne!(cluster.host_of(&seen, &partition(&seen, 1)["leader"]), leader);

    let text = cluster.ok(other, &["status"]);
    for word in ["2 of 3 nodes answer", "PARTITION", "TOLERANCE", "UPTIME", "eu-central"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    let shown = cluster.ok(other, &["partition", "show", "1"]);
    assert!(shown.contains("leader") && shown.contains("voter"), "{shown}");
}
